//! The settings: one table, from which the library reads its environment and the command its flags.

use crate::glob;
use crate::text::{Parts, Text, part};

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
    /// One of two words.
    Switch,
    /// One word for each [`Tmpfile`].
    Tmpfile,
    /// One word for each [`Cleanup`].
    Cleanup,
    /// Globs, separated by colons.
    Globs,
    /// Program names, separated by colons.
    Names,
    /// An absolute path.
    Directory,
    /// `stderr`, `stdout`, or an absolute path.
    Log,
}

/// What is accepted, for people: a line for each of [`Values`], in their order. Where it is one of several words, they
/// are told from this line, and stand in the order of what they mean.
const ACCEPTED: &str = "on or off
auto, always or off
all, empty, failed or off
globs separated by colons, at most 4000 bytes
program names separated by colons, at most 4000 bytes
an absolute path
stderr, stdout or an absolute path";

impl Values {
    /// For people: what is accepted.
    pub fn describe(self) -> &'static str {
        ACCEPTED.split('\n').nth(self as usize).unwrap_or("")
    }

    fn line(self) -> &'static [u8] {
        part(ACCEPTED.as_bytes(), b'\n', self as usize)
    }

    /// The words it may be, none where it is not one of several words.
    pub fn words(self) -> impl Iterator<Item = &'static [u8]> {
        let line = if matches!(self, Self::Switch | Self::Tmpfile | Self::Cleanup) { self.line() } else { b"" };
        let words = Parts::new(line, b' ').map(|word| if let [word @ .., b','] = word { word } else { word });
        words.filter(|word| !word.is_empty() && *word != b"or")
    }

    /// Whether `value` is accepted. An empty one stands for "not set" everywhere.
    pub fn accepts(self, value: &[u8]) -> bool {
        value.is_empty() || self.choice(value).is_some()
    }

    /// Which of the words it is, 0 for any other text; nothing where it is not accepted.
    #[inline(never)]
    fn choice(self, value: &[u8]) -> Option<usize> {
        let accepted = match self {
            Self::Globs | Self::Names => value.len() <= 4000,
            // The number of the descriptor that the word means.
            Self::Log if value == b"stdout" => return Some(1),
            Self::Log if value == b"stderr" => return Some(2),
            Self::Directory | Self::Log => value.first() == Some(&b'/') && value.len() < crate::text::PATH_MAX,
            Self::Switch | Self::Tmpfile | Self::Cleanup => return self.words().position(|word| word == value),
        };
        accepted.then_some(0)
    }
}

/// Makes one table into two things: the whole for the command, and for the library, where every pointer to a text would
/// cost 40 bytes of the file, three constants without any.
macro_rules! table {
    ($($name:ident: $variable:literal, $flag:literal, $values:ident, $default:literal, $help:literal;)*) => {
        #[derive(Clone, Copy)]
        enum Name { $($name),* }

        /// Every setting, in the order in which people are shown them.
        pub static TABLE: [Setting; NAMES.len()] = [$(
            Setting { variable: $variable, flag: $flag, values: Values::$values, default: $default, help: $help },
        )*];

        static NAMES: [(Name, Values); [$($variable),*].len()] = [$((Name::$name, Values::$values)),*];
        /// The variables as a sentence lists them: a comma and a space in front of each but the first, which has the space.
        const VARIABLES: &[u8] = concat!($(", ", $variable),*).as_bytes().split_at(1).1;
        const DEFAULTS: &[u8] = concat!($($default, "\n"),*).as_bytes();
    };
}

table! {
    Shim: "TMPSHIM", "shim", Switch, "on",
        "off: the library does nothing at all";
    Tmpfile: "TMPSHIM_TMPFILE", "tmpfile", Tmpfile, "auto",
        "when to stand in for O_TMPFILE: where the filesystem has none, always without asking it, or never";
    Cleanup: "TMPSHIM_CLEANUP", "cleanup", Cleanup, "all",
        "which directories to remove: with their contents, only empty ones, only after a signal or a non-zero exit, none";
    Only: "TMPSHIM_ONLY", "only", Globs, "all",
        "track only directories that match, by last component or, with a slash in the glob, by absolute path";
    Skip: "TMPSHIM_SKIP", "skip", Globs, "none",
        "never track directories that match";
    Track: "TMPSHIM_TRACK", "track", Globs, "none",
        "track directories made by mkdir that match, too";
    SkipPrograms: "TMPSHIM_SKIP_PROGRAMS", "skip-programs", Names, "none",
        "programs whose directories are meant to stay, added to the built-in list (mktemp and its kin)";
    StateDirectory: "TMPSHIM_STATE_DIR", "state-dir", Directory,
        "$XDG_RUNTIME_DIR/tmpshim, /run/tmpshim for root, else /dev/shm/tmpshim-UID",
        "where tmpshim keeps its own state";
    Reexec: "TMPSHIM_REEXEC", "reexec", Switch, "on",
        "off: never start a Go program again under `tmpshim run`";
    Log: "TMPSHIM_LOG", "log", Log, "none",
        "where to write what was done, one JSON object a line";
}

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
    /// This descriptor: standard output or standard error.
    Stream(i32),
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
    /// `XDG_RUNTIME_DIR`, which is no setting of ours; empty where it is not set.
    pub runtime_directory: &'a [u8],
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
        runtime_directory: b"",
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
    Value {
        /// Where it stands in [`TABLE`].
        index: usize,
        /// Its environment variable.
        variable: &'a [u8],
        /// What it does not take.
        value: &'a [u8],
    },
}

impl Problem<'_> {
    /// One line for people: what is wrong, what is accepted, what happens now.
    pub fn describe(&self) -> Text<1024> {
        let mut line = Text::new();
        line.push(b"libtmpshim: ");
        match *self {
            Self::Unknown(name) => {
                line.push_json(name.get(..64).unwrap_or(name))
                    .push(b" is not a setting and is ignored; the settings are")
                    .push(VARIABLES);
            }
            Self::Value { index, variable, value } => {
                line.push(variable).push(b"=\"").push_json(value.get(..64).unwrap_or(value));
                line.push(b"\" is not accepted, the default holds (");
                line.push(part(DEFAULTS, b'\n', index));
                line.push(b"); accepted: ").push(NAMES.get(index).map_or(b"", |(_, values)| values.line()));
            }
        }
        line.push(b"\n");
        line
    }
}

/// Whether an environment variable claims to be a setting.
pub fn is_ours(variable: &[u8]) -> bool {
    variable.get(..7) == Some(b"TMPSHIM") && matches!(variable.get(7), None | Some(b'_'))
}

impl<'a> Settings<'a> {
    /// Sets one variable.
    ///
    /// # Errors
    /// Where there is no such setting or it does not take the value; nothing is changed then.
    pub fn set(&mut self, variable: &'a [u8], value: &'a [u8]) -> Result<(), Problem<'a>> {
        let index = Parts::new(VARIABLES, b',').position(|listed| listed.get(1..) == Some(variable));
        let (index, &(name, values)) =
            index.and_then(|index| Some((index, NAMES.get(index)?))).ok_or(Problem::Unknown(variable))?;
        if value.is_empty() {
            return Ok(());
        }
        let choice = values.choice(value).ok_or(Problem::Value { index, variable, value })?;
        let mut unused: &[u8] = b"";
        let mut text = &mut unused;
        match name {
            Name::Shim => self.enabled = choice == 0,
            Name::Tmpfile => {
                self.tmpfile = match choice {
                    0 => Tmpfile::Auto,
                    1 => Tmpfile::Always,
                    _ => Tmpfile::Off,
                }
            }
            Name::Cleanup => {
                self.cleanup = match choice {
                    0 => Cleanup::All,
                    1 => Cleanup::Empty,
                    2 => Cleanup::Failed,
                    _ => Cleanup::Off,
                }
            }
            Name::Only => text = &mut self.only,
            Name::Skip => text = &mut self.skip,
            Name::Track => text = &mut self.track,
            Name::SkipPrograms => text = &mut self.skip_programs,
            Name::StateDirectory => text = &mut self.state_directory,
            Name::Reexec => self.reexec = choice == 0,
            Name::Log => {
                self.log = match choice {
                    0 => Log::File(value),
                    stream => Log::Stream(stream as i32),
                }
            }
        }
        *text = value;
        Ok(())
    }

    /// Whether a directory at this absolute path is to be tracked.
    pub fn wants(&self, path: &[u8]) -> bool {
        (self.only.is_empty() || glob::any_matches(self.only, path)) && !glob::any_matches(self.skip, path)
    }

    /// Whether the directories of the program of this name are meant to stay (D8).
    pub fn skips_program(&self, name: &[u8]) -> bool {
        let listed = |names| Parts::new(names, b':').any(|skipped| skipped == name);
        !name.is_empty() && (listed(self.skip_programs) || listed(HAND_OVER))
    }
}

/// Programs that exist to make a directory and leave it to somebody else (D8).
pub const HAND_OVER: &[u8] = b"mktemp:gmktemp:tempfile:mkdtemp:systemd-tmpfiles:mkdir:install";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_what_its_table_line_says_and_nothing_else() {
        for setting in &TABLE {
            assert!(is_ours(setting.variable.as_bytes()));
            let (good, bad): (Vec<&[u8]>, Vec<&[u8]>) = match setting.values {
                Values::Switch | Values::Tmpfile | Values::Cleanup => {
                    let words: Vec<_> = setting.values.words().collect();
                    assert!(words.contains(&setting.default.as_bytes()));
                    (words, vec![b"ON", b"yes", b" on", b"or", b"on,", b","])
                }
                Values::Globs | Values::Names => (vec![b"a:b*"], vec![&[b'x'; 4001]]),
                Values::Directory => (vec![b"/x"], vec![b"x", b"./x", &[b'/'; 4096]]),
                Values::Log => (vec![b"/x", b"stderr", b"stdout"], vec![b"stdin", b"x"]),
            };
            for value in good {
                assert!(Settings::DEFAULT.clone().set(setting.variable.as_bytes(), value).is_ok());
            }
            for value in bad {
                let mut settings = Settings::DEFAULT;
                let problem = settings.set(setting.variable.as_bytes(), value).unwrap_err().describe();
                let line = String::from_utf8(problem.as_bytes().to_vec()).unwrap();
                assert!(line.contains(setting.variable) && line.contains(setting.values.describe()), "{line}");
                assert!(line.contains(&format!("({})", setting.default)), "{line}");
                assert_eq!(line.matches('\n').count(), 1, "{line}");
                assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::DEFAULT));
            }
            assert!(Settings::DEFAULT.clone().set(setting.variable.as_bytes(), b"").is_ok());
        }
        let mut settings = Settings::DEFAULT;
        let problem = settings.set(b"TMPSHIM_FOO", b"1").unwrap_err().describe();
        let names = TABLE.each_ref().map(|setting| setting.variable).join(", ");
        let expected = format!("libtmpshim: TMPSHIM_FOO is not a setting and is ignored; the settings are {names}\n");
        assert!(!problem.is_cut() && problem.as_bytes() == expected.as_bytes());
    }

    #[test]
    fn every_word_means_what_it_says() {
        let set = |variable: &'static str, value: &'static str| {
            let mut settings = Settings::DEFAULT;
            settings.set(variable.as_bytes(), value.as_bytes()).unwrap();
            settings
        };
        for word in ["on", "off"] {
            assert_eq!(set("TMPSHIM", word).enabled, word == "on");
            assert_eq!(set("TMPSHIM_REEXEC", word).reexec, word == "on");
        }
        for (word, meant) in [("auto", Tmpfile::Auto), ("always", Tmpfile::Always), ("off", Tmpfile::Off)] {
            assert_eq!(set("TMPSHIM_TMPFILE", word).tmpfile, meant);
        }
        let all =
            [("all", Cleanup::All), ("empty", Cleanup::Empty), ("failed", Cleanup::Failed), ("off", Cleanup::Off)];
        for (word, meant) in all {
            assert_eq!(set("TMPSHIM_CLEANUP", word).cleanup, meant);
        }
        assert_eq!(set("TMPSHIM_STATE_DIR", "/s").state_directory, b"/s");
        assert_eq!(set("TMPSHIM_TRACK", "t*").track, b"t*");
        assert_eq!(set("TMPSHIM_LOG", "stderr").log, Log::Stream(2));
        assert_eq!(set("TMPSHIM_LOG", "stdout").log, Log::Stream(1));
        assert_eq!(set("TMPSHIM_LOG", "/l").log, Log::File(b"/l"));
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
