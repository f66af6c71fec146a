//! Running a program under a supervisor: three processes. This one, the front, passes signals on and ends as the program
//! ends (front.rs). Its child, the overseer, is the program's parent, answers its calls, and stays as long as anybody who
//! has the filter (overseer.rs): an ancestor may read the program's memory and trace it where Yama forbids it to others,
//! and must not stop when the terminal stops the program.
//!
//! The kernel tells the overseer of a call in one of two ways: by the filter's listener (notified.rs), or as the program's
//! tracer (traced.rs).

use std::fmt;

use libc::sock_filter;
use tmpshim_supervise::filter::{self, Told, Watch};
use tmpshim_supervise::install::{self, Refusal};
use tmpshim_supervise::trace;

use super::notified;

/// A filter that this system accepts, and what else it takes.
pub(super) enum Supervision {
    Notify(notified::Supervision),
    Trace(Vec<sock_filter>),
}

/// How the kernel tells of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Notify,
    Trace,
}

impl Kind {
    /// In the order in which they are tried.
    pub(crate) const ALL: [Self; 2] = [Self::Notify, Self::Trace];

    /// As `--engine` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Trace => "trace",
        }
    }

    fn filter(self, watch: Watch) -> Vec<sock_filter> {
        filter::program(watch, if self == Self::Notify { Told::Listener } else { Told::Tracer })
    }

    /// Tries everything beforehand, so that a program is not started in vain.
    pub(crate) fn probe(self, watch: Watch) -> Result<(), Refusal> {
        let filter = self.filter(watch);
        match self {
            Self::Notify => install::probe(&filter),
            Self::Trace => trace::probe(&filter),
        }
    }

    /// Whether set-uid programs, which could do so now, will no longer gain rights.
    pub(crate) fn costs_rights(self) -> bool {
        match self {
            Self::Notify => install::costs_new_privileges() && !rustix::thread::no_new_privs().unwrap_or(false),
            Self::Trace => trace::costs_rights(),
        }
    }

    /// What to say where it does.
    pub(super) fn cost(self) -> &'static str {
        match self {
            Self::Notify => "without CAP_SYS_ADMIN the supervisor takes no_new_privs: set-uid programs gain no rights",
            Self::Trace => {
                "without CAP_SYS_ADMIN and CAP_SYS_PTRACE set-uid programs gain no rights below the supervisor (ptrace)"
            }
        }
    }
}

/// Why there can be no supervisor, of any of the kinds that were tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(Vec<(Kind, Refusal)>);

impl Refused {
    /// The first of these kinds that can be had.
    pub(crate) fn or_first(kinds: &[Kind], watch: Watch) -> Result<(Kind, Self), Self> {
        let mut refused = Self(Vec::new());
        for &kind in kinds {
            match kind.probe(watch) {
                Ok(()) => return Ok((kind, refused)),
                Err(refusal) => refused.0.push((kind, refusal)),
            }
        }
        Err(refused)
    }

    /// Without what to do.
    pub(crate) fn why(&self) -> String {
        self.join(Refusal::why, ", and ")
    }

    fn join<T: AsRef<str>>(&self, part: fn(&Refusal) -> T, between: &str) -> String {
        let mut parts: Vec<String> = Vec::new();
        for (_, refusal) in &self.0 {
            let part = part(refusal).as_ref().to_owned();
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts.join(between)
    }
}

impl fmt::Display for Refused {
    /// Why, and what to do.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.why(), self.join(Refusal::remedy, "; or "))
    }
}

impl Supervision {
    /// By the first of these kinds that can be had. Without `killable`, as on Linux before 5.19.
    pub(super) fn prepare(kinds: &[Kind], watch: Watch, killable: bool) -> Result<Self, Refused> {
        let (kind, _) = Refused::or_first(kinds, watch)?;
        let filter = kind.filter(watch);
        Ok(match kind {
            Kind::Notify => {
                let made = notified::Supervision::new(filter, killable);
                Self::Notify(made.map_err(|errno| Refused(vec![(kind, Refusal::Other(errno))]))?)
            }
            Kind::Trace => Self::Trace(filter),
        })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Notify(_) => Kind::Notify,
            Self::Trace(_) => Kind::Trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_every_reason_is_named_once_and_in_one_line() {
        let refused = Refused(vec![(Kind::Notify, Refusal::Old), (Kind::Trace, Refusal::Traced)]);
        let text = refused.to_string();
        for part in ["older than 5.14", "EINVAL", "ptrace", "EPERM", "; use a newer kernel", "; or "] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\n'));
        let both = Refused(vec![(Kind::Notify, Refusal::Missing), (Kind::Trace, Refusal::Missing)]);
        assert_eq!(both.to_string(), Refusal::Missing.to_string());
    }

    #[test]
    fn s5_kinds_are_told_apart_in_what_they_cost() {
        assert!(Kind::ALL.iter().all(|kind| kind.cost().contains("set-uid programs gain no rights")));
        assert_ne!(Kind::Notify.cost(), Kind::Trace.cost());
    }
}
