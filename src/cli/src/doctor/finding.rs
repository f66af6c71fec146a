//! What the doctor finds: data first, of which a table or a document is made elsewhere.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::errno;

/// What a finding means for programs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// A fact, neither good nor bad.
    Note,
    Well,
    /// Nothing fails because of it, so far.
    Beware,
    /// Nobody here can say.
    CouldNotTell,
    WillFail,
}

impl Verdict {
    /// For people.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Note => "",
            Self::Well => "well",
            Self::Beware => "beware",
            Self::CouldNotTell => "could not tell",
            Self::WillFail => "WILL FAIL",
        }
    }

    /// What several of them come to: well, could not tell, or will fail.
    pub(super) fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::Well, |sum, one| match (sum, one) {
            (Self::WillFail, _) | (_, Self::WillFail) => Self::WillFail,
            (Self::CouldNotTell, _) | (_, Self::CouldNotTell) => Self::CouldNotTell,
            _ => Self::Well,
        })
    }

    /// The command's exit status, where it came to this.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::WillFail => 1,
            Self::CouldNotTell => 2,
            _ => 0,
        }
    }
}

/// Makes the names of findings: as a document has them, and as people read them.
macro_rules! names {
    ($($name:ident: $label:literal;)*) => {
        /// What a finding is about.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub(super) enum Name { $($name),* }

        impl Name {
            /// For people.
            pub(super) fn label(self) -> &'static str {
                match self { $(Self::$name => $label),* }
            }

            pub(super) const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

names! {
    // What stands in the way of looking.
    Argument: "argument";
    Answer: "answer";
    // A directory.
    Mount: "mount";
    MountOptions: "mount options";
    Access: "permissions";
    Space: "free space";
    Inodes: "free inodes";
    Tmpfile: "open with O_TMPFILE";
    Linkat: "linkat of such a file";
    Reopen: "re-open by /proc/self/fd";
    Unlinked: "create, unlink, use";
    StandIn: "O_TMPFILE with tmpshim";
    Left: "left behind";
    // A program.
    File: "file";
    Architecture: "architecture";
    Linkage: "linked";
    Libc: "libc";
    Go: "Go";
    Rights: "rights at start";
    Library: "library (LD_PRELOAD)";
    Supervisor: "supervisor (tmpshim run)";
    Engine: "engine (auto)";
    // A process.
    Process: "process";
    Namespaces: "namespaces";
    Preloaded: "library in it";
    Supervised: "supervisor above it";
    Seccomp: "seccomp";
    NoNewPrivileges: "no_new_privs";
    TemporaryDirectory: "TMPDIR";
    Settings: "settings";
    InUse: "temporary files in use";
    Journal: "made with tmpshim";
    // The system.
    Kernel: "kernel";
    User: "user";
    Yama: "Yama ptrace_scope";
    Container: "container";
    StateDirectory: "state directory";
}

/// One line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) name: Name,
    /// For people.
    pub(super) found: String,
    pub(super) verdict: Verdict,
    /// What a call answered, by name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) errno: Option<String>,
    /// For programs; what it is depends on the name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) value: Option<Value>,
}

impl Finding {
    pub(super) fn new(name: Name, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { name, found: found.into(), verdict, errno: None, value: None }
    }

    pub(super) fn note(name: Name, found: impl Into<String>) -> Self {
        Self::new(name, Verdict::Note, found)
    }

    pub(super) fn well(name: Name, found: impl Into<String>) -> Self {
        Self::new(name, Verdict::Well, found)
    }

    /// A call's answer in front, what it means behind.
    pub(super) fn refused(name: Name, verdict: Verdict, error: Errno, what: &str) -> Self {
        let found = if what.is_empty() { errno::said(error) } else { format!("{}: {what}", errno::said(error)) };
        Self { errno: Some(errno::name(error)), ..Self::new(name, verdict, found) }
    }

    pub(super) fn with(self, value: impl Into<Value>) -> Self {
        Self { value: Some(value.into()), ..self }
    }
}

/// What to do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Cure {
    /// For people.
    pub(super) why: String,
    /// To be typed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) command: Option<String>,
}

impl Cure {
    pub(super) fn new(why: impl Into<String>, command: impl Into<String>) -> Self {
        Self { why: why.into(), command: Some(command.into()) }
    }

    pub(super) fn advice(why: impl Into<String>) -> Self {
        Self { why: why.into(), command: None }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Directory,
    Program,
    Process,
    System,
    /// Neither a directory nor a program.
    Argument,
}

/// Something that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Subject {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The process through whose eyes it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    pub(super) verdict: Verdict,
    pub(super) findings: Vec<Finding>,
    pub(super) cures: Vec<Cure>,
}

impl Subject {
    pub(super) fn new(kind: Kind, name: impl Into<String>, pid: Option<u32>) -> Self {
        Self { kind, name: name.into(), pid, verdict: Verdict::Well, findings: Vec::new(), cures: Vec::new() }
    }

    pub(super) fn find(&mut self, finding: Finding) {
        self.verdict = Verdict::of_all([self.verdict, finding.verdict]);
        self.findings.push(finding);
    }

    pub(super) fn cure(&mut self, cure: Cure) {
        if !self.cures.contains(&cure) {
            self.cures.push(cure);
        }
    }

    #[cfg(test)]
    pub(super) fn found(&self, name: Name) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_outweighs_what_could_not_be_told() {
        use Verdict::{Beware, CouldNotTell, Note, Well, WillFail};
        for (all, sum, status) in [
            (&[][..], Well, 0),
            (&[Note, Beware, Well], Well, 0),
            (&[Well, CouldNotTell], CouldNotTell, 2),
            (&[CouldNotTell, WillFail, Well], WillFail, 1),
            (&[WillFail, CouldNotTell], WillFail, 1),
        ] {
            assert_eq!(Verdict::of_all(all.iter().copied()), sum);
            assert_eq!(sum.status(), status);
        }
    }

    #[test]
    fn a_finding_goes_through_json_and_back() {
        let finding = Finding::refused(Name::Tmpfile, Verdict::WillFail, Errno::OPNOTSUPP, "").with(true);
        let text = serde_json::to_string(&finding).unwrap();
        assert!(
            text.contains(r#""name":"tmpfile","found":"EOPNOTSUPP (Operation not supported)","verdict":"will-fail""#)
        );
        assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
    }

    #[test]
    fn no_two_names_read_the_same() {
        let labels: std::collections::HashSet<_> = Name::ALL.iter().map(|name| name.label()).collect();
        assert_eq!(labels.len(), Name::ALL.len());
    }
}
