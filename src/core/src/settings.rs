//! The settings: one table, from which the library reads its environment and the command its flags.

use crate::glob;
use crate::text::Text;

/// One setting: an environment variable of the library, and the flag of `tmpshim run` with the same meaning.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What it accepts.
    pub values: Values,
    /// What holds where it is not set.
    pub default: &'static str,
    /// One sentence for people.
    pub help: &'static str,
}

/// What a setting accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Globs, separated by colons.
    Globs,
    /// Program names, separated by colons.
    Names,
    /// An absolute path.
    Directory,
    /// `stderr`, or an absolute path.
    Log,
}

impl Values {
    /// For people: what is accepted.
    pub fn describe(self) -> &'static str {
        match self {
            Self::OneOf(["on", "off"]) => "on or off",
            Self::OneOf(["auto", "always", "off"]) => "auto, always or off",
            Self::OneOf(["all", "empty", "failed", "off"]) => "all, empty, failed or off",
            Self::OneOf(_) => "one of the listed words",
            Self::Globs => "globs separated by colons, at most 4000 bytes",
            Self::Names => "program names separated by colons, at most 4000 bytes",
            Self::Directory => "an absolute path",
            Self::Log => "stderr or an absolute path",
        }
    }

    /// Whether `value` is accepted. An empty one stands for "not set" everywhere.
    pub fn accepts(self, value: &[u8]) -> bool {
        let absolute = value.first() == Some(&b'/') && value.len() < crate::text::PATH_MAX;
        value.is_empty()
            || match self {
                Self::OneOf(words) => words.iter().any(|word| word.as_bytes() == value),
                Self::Globs | Self::Names => value.len() <= 4000,
                Self::Directory => absolute,
                Self::Log => absolute || value == b"stderr",
            }
    }
}

/// Every setting, in the order in which people are shown them.
pub static TABLE: [Setting; 10] = [
    Setting {
        variable: "TMPSHIM",
        flag: "shim",
        values: Values::OneOf(&["on", "off"]),
        default: "on",
        help: "off: the library does nothing at all",
    },
    Setting {
        variable: "TMPSHIM_TMPFILE",
        flag: "tmpfile",
        values: Values::OneOf(&["auto", "always", "off"]),
        default: "auto",
        help: "when to stand in for O_TMPFILE: where the filesystem has none, always without asking it, or never",
    },
    Setting {
        variable: "TMPSHIM_CLEANUP",
        flag: "cleanup",
        values: Values::OneOf(&["all", "empty", "failed", "off"]),
        default: "all",
        help: "which directories to remove: with their contents, only empty ones, only after a signal or a non-zero exit, none",
    },
    Setting {
        variable: "TMPSHIM_ONLY",
        flag: "only",
        values: Values::Globs,
        default: "all",
        help: "track only directories that match, by last component or, with a slash in the glob, by absolute path",
    },
    Setting {
        variable: "TMPSHIM_SKIP",
        flag: "skip",
        values: Values::Globs,
        default: "none",
        help: "never track directories that match",
    },
    Setting {
        variable: "TMPSHIM_TRACK",
        flag: "track",
        values: Values::Globs,
        default: "none",
        help: "track directories made by mkdir that match, too",
    },
    Setting {
        variable: "TMPSHIM_SKIP_PROGRAMS",
        flag: "skip-programs",
        values: Values::Names,
        default: "none",
        help: "programs whose directories are meant to stay, added to the built-in list (mktemp and its kin)",
    },
    Setting {
        variable: "TMPSHIM_STATE_DIR",
        flag: "state-dir",
        values: Values::Directory,
        default: "$XDG_RUNTIME_DIR/tmpshim, /run/tmpshim for root, else /dev/shm/tmpshim-UID",
        help: "where tmpshim keeps its own state",
    },
    Setting {
        variable: "TMPSHIM_REEXEC",
        flag: "reexec",
        values: Values::OneOf(&["on", "off"]),
        default: "on",
        help: "off: never start a Go program again under `tmpshim run`",
    },
    Setting {
        variable: "TMPSHIM_LOG",
        flag: "log",
        values: Values::Log,
        default: "none",
        help: "where to write what was done, one JSON object a line",
    },
];

/// When to stand in for O_TMPFILE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tmpfile {
    /// Where the filesystem has none.
    #[default]
    Auto,
    /// Without asking the filesystem.
    Always,
    /// Never.
    Off,
}

/// Which tracked directories to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// All, with their contents.
    #[default]
    All,
    /// Empty ones.
    Empty,
    /// All, but only where the program was ended by a signal or said non-zero.
    Failed,
    /// None.
    Off,
}

/// Where events go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log<'a> {
    /// Nowhere.
    #[default]
    None,
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(&'a [u8]),
}

/// What was set. Text is borrowed from where it was read.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// `TMPSHIM`.
    pub enabled: bool,
    /// `TMPSHIM_TMPFILE`.
    pub tmpfile: Tmpfile,
    /// `TMPSHIM_CLEANUP`.
    pub cleanup: Cleanup,
    /// `TMPSHIM_ONLY`, empty for all.
    pub only: &'a [u8],
    /// `TMPSHIM_SKIP`.
    pub skip: &'a [u8],
    /// `TMPSHIM_TRACK`.
    pub track: &'a [u8],
    /// `TMPSHIM_SKIP_PROGRAMS`.
    pub skip_programs: &'a [u8],
    /// `TMPSHIM_STATE_DIR`, empty for the default.
    pub state_directory: &'a [u8],
    /// `TMPSHIM_REEXEC`.
    pub reexec: bool,
    /// `TMPSHIM_LOG`.
    pub log: Log<'a>,
}

impl Settings<'_> {
    /// What holds where nothing is set.
    pub const DEFAULT: Self = Self {
        enabled: true,
        tmpfile: Tmpfile::Auto,
        cleanup: Cleanup::All,
        only: b"",
        skip: b"",
        track: b"",
        skip_programs: b"",
        state_directory: b"",
        reexec: true,
        log: Log::None,
    };
}

/// What is wrong with a setting.
#[derive(Clone, Copy, Debug)]
pub enum Problem<'a> {
    /// No setting has this name.
    Unknown(&'a [u8]),
    /// The setting does not take this value.
    Value(&'static Setting, &'a [u8]),
}

impl Problem<'_> {
    /// One line for people: what is wrong, what is accepted, what happens now.
    pub fn describe(&self) -> Text<1024> {
        let mut line = Text::new();
        line.push(b"libtmpshim: ");
        match self {
            Self::Unknown(name) => {
                line.push_json(name.get(..64).unwrap_or(name))
                    .push(b" is not a setting and is ignored; the settings are");
                for (index, setting) in TABLE.iter().enumerate() {
                    line.push(if index == 0 { b" " } else { b", " }).push(setting.variable.as_bytes());
                }
            }
            Self::Value(setting, value) => {
                line.push(setting.variable.as_bytes()).push(b"=\"").push_json(value.get(..64).unwrap_or(value));
                line.push(b"\" is not accepted, the default holds (").push(setting.default.as_bytes());
                line.push(b"); accepted: ").push(setting.values.describe().as_bytes());
            }
        }
        line.push(b"\n");
        line
    }
}

/// Whether an environment variable claims to be a setting.
pub fn is_ours(variable: &[u8]) -> bool {
    variable.strip_prefix(b"TMPSHIM").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_"))
}

impl<'a> Settings<'a> {
    /// Sets one variable.
    ///
    /// # Errors
    /// Where there is no such setting or it does not take the value; nothing is changed then.
    pub fn set(&mut self, variable: &'a [u8], value: &'a [u8]) -> Result<(), Problem<'a>> {
        let setting = TABLE.iter().find(|setting| setting.variable.as_bytes() == variable);
        let setting = setting.ok_or(Problem::Unknown(variable))?;
        if !setting.values.accepts(value) {
            return Err(Problem::Value(setting, value));
        }
        if value.is_empty() {
            return Ok(());
        }
        match setting.flag {
            "shim" => self.enabled = value == b"on",
            "tmpfile" => {
                self.tmpfile = match value {
                    b"always" => Tmpfile::Always,
                    b"off" => Tmpfile::Off,
                    _ => Tmpfile::Auto,
                }
            }
            "cleanup" => {
                self.cleanup = match value {
                    b"empty" => Cleanup::Empty,
                    b"failed" => Cleanup::Failed,
                    b"off" => Cleanup::Off,
                    _ => Cleanup::All,
                }
            }
            "only" => self.only = value,
            "skip" => self.skip = value,
            "track" => self.track = value,
            "skip-programs" => self.skip_programs = value,
            "state-dir" => self.state_directory = value,
            "reexec" => self.reexec = value == b"on",
            _ => self.log = if value == b"stderr" { Log::Stderr } else { Log::File(value) },
        }
        Ok(())
    }

    /// Whether a directory at this absolute path is to be tracked.
    pub fn wants(&self, path: &[u8]) -> bool {
        (self.only.is_empty() || glob::any_matches(self.only, path)) && !glob::any_matches(self.skip, path)
    }

    /// Whether the directories of the program of this name are meant to stay (D8).
    pub fn skips_program(&self, name: &[u8]) -> bool {
        let listed = self.skip_programs.split(|&byte| byte == b':').any(|skipped| skipped == name && !name.is_empty());
        listed || HAND_OVER.iter().any(|program| program.as_bytes() == name)
    }
}

/// Programs that exist to make a directory and leave it to somebody else (D8).
const HAND_OVER: [&str; 7] = ["mktemp", "gmktemp", "tempfile", "mkdtemp", "systemd-tmpfiles", "mkdir", "install"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_what_its_table_line_says_and_nothing_else() {
        for setting in &TABLE {
            assert!(is_ours(setting.variable.as_bytes()));
            let (good, bad): (Vec<&[u8]>, Vec<&[u8]>) = match setting.values {
                Values::OneOf(words) => {
                    for word in words {
                        assert!(setting.values.describe().contains(word), "{}", setting.variable);
                    }
                    (words.iter().map(|word| word.as_bytes()).collect(), vec![b"ON", b"yes", b" on"])
                }
                Values::Globs | Values::Names => (vec![b"a:b*"], vec![&[b'x'; 4001]]),
                Values::Directory => (vec![b"/x"], vec![b"x", b"./x", &[b'/'; 4096]]),
                Values::Log => (vec![b"/x", b"stderr"], vec![b"stdout", b"x"]),
            };
            for value in good {
                assert!(Settings::DEFAULT.clone().set(setting.variable.as_bytes(), value).is_ok());
            }
            for value in bad {
                let mut settings = Settings::DEFAULT;
                let problem = settings.set(setting.variable.as_bytes(), value).unwrap_err().describe();
                let line = String::from_utf8(problem.as_bytes().to_vec()).unwrap();
                assert!(line.contains(setting.variable) && line.contains(setting.values.describe()), "{line}");
                assert_eq!(line.matches('\n').count(), 1, "{line}");
                assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::DEFAULT));
            }
            assert!(Settings::DEFAULT.clone().set(setting.variable.as_bytes(), b"").is_ok());
        }
        let mut settings = Settings::DEFAULT;
        let problem = settings.set(b"TMPSHIM_FOO", b"1").unwrap_err().describe();
        assert!(!problem.is_cut() && problem.as_bytes().ends_with(b"TMPSHIM_LOG\n"));
    }

    #[test]
    fn only_and_skip() {
        let mut settings = Settings::DEFAULT;
        assert!(settings.wants(b"/tmp/x"));
        settings.set(b"TMPSHIM_ONLY", b".criu*:/var/tmp/*").unwrap();
        settings.set(b"TMPSHIM_SKIP", b"*keep*").unwrap();
        assert!(settings.wants(b"/tmp/.criu.temp"));
        assert!(settings.wants(b"/var/tmp/a"));
        assert!(!settings.wants(b"/tmp/x"));
        assert!(!settings.wants(b"/var/tmp/a-keep"));
    }

    #[test]
    fn d8_hand_over_programs() {
        let mut settings = Settings::DEFAULT;
        assert!(settings.skips_program(b"mktemp") && !settings.skips_program(b"criu") && !settings.skips_program(b""));
        settings.set(b"TMPSHIM_SKIP_PROGRAMS", b"a:criu").unwrap();
        assert!(settings.skips_program(b"criu") && settings.skips_program(b"mktemp"));
    }
}
