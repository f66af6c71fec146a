//! The matrix as it is written down: `c-tests/matrix/*.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::compile::Reach;
use crate::engine::Engine;
use crate::mounts::Filesystem;

/// The two files that hold no tests: cells that may be skipped, and those that no emulator can run.
const SKIPS: &str = "skips.toml";
pub(crate) const EMULATED: &str = "emulated.toml";

/// What a cell without any engine must show.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Control {
    /// Fails where the filesystem lacks `O_TMPFILE`, passes where it has it: the usual test of T.
    #[default]
    NeedsTmpfile,
    /// Fails on every filesystem: the usual test of D.
    Fails,
    /// Passes on every filesystem; `why` says what the test shows then.
    Passes,
}

/// One behaviour and the cells in which it must show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the matrix")]
pub(crate) struct Test {
    pub(crate) label: String,
    pub(crate) name: String,
    /// A file in `c-tests/programs`.
    pub(crate) program: Option<String>,
    /// A script, as a path below the repository's root; given instead of a program.
    pub(crate) script: Option<PathBuf>,
    /// Says "script" for a script; checked against the two fields above.
    kind: Option<String>,
    #[serde(default)]
    pub(crate) reach: Vec<Reach>,
    pub(crate) engines: Vec<Engine>,
    pub(crate) filesystems: Vec<Filesystem>,
    /// Under a supervisor too, every reach on every filesystem. Else only static C is on all of them, and what else it
    /// could be is on the first one.
    #[serde(default)]
    everywhere: bool,
    /// Given to the program after the directory.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// The program runs with this user and group id, and no other groups.
    pub(crate) user: Option<u32>,
    #[serde(default)]
    pub(crate) control: Control,
    /// Why the control passes.
    why: Option<String>,
    #[serde(default)]
    pub(crate) expect_status: i32,
    /// Number of the signal that must end the program, in place of `expect_status`.
    pub(crate) expect_signal: Option<i32>,
    /// Names that must be in the directory afterwards; everything else must not.
    #[serde(default)]
    pub(crate) leaves: Vec<String>,
    /// A program that passes is silent, unless this is set.
    #[serde(default)]
    pub(crate) may_print: bool,
    /// The fault injector is preloaded as well, after the library.
    #[serde(default)]
    pub(crate) injector: bool,
    /// It leaves a journal, rightly: `tmpshim sweep` comes before the state directory has to be empty.
    #[serde(default)]
    pub(crate) sweep: bool,
    /// The program finds the path of c-tests/killer in `KILL_AT`.
    #[serde(default)]
    pub(crate) killer: bool,
    /// Seconds after which the program is killed.
    #[serde(default = "one_minute")]
    pub(crate) time_limit: u32,
}

fn one_minute() -> u32 {
    60
}

impl Test {
    fn check(&self) -> Result<(), &'static str> {
        let is_script = match (&self.program, &self.script) {
            (Some(_), None) => false,
            (None, Some(_)) => true,
            _ => return Err("give either a program or a script"),
        };
        if self.kind.as_deref().is_some_and(|kind| is_script != (kind == "script")) {
            return Err("the kind does not fit");
        }
        if is_script != self.reach.is_empty() {
            return Err("programs have a reach, scripts have none");
        }
        if self.control == Control::Passes && self.why.is_none() {
            return Err("a control that passes needs a why");
        }
        Ok(())
    }

    /// Whether the cell is worth its time. How a program makes its calls is all the same to a supervisor, and a supervisor
    /// is all there is for a program without a shared libc.
    pub(crate) fn wants(&self, reach: Option<Reach>, engine: Engine, filesystem: Filesystem) -> bool {
        self.everywhere
            || match reach {
                Some(Reach::Go | Reach::Cgo) => filesystem == self.filesystems[0],
                Some(Reach::Static | Reach::I386) | None => true,
                _ => !engine.is_supervisor() || filesystem == self.filesystems[0],
            }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    #[serde(default)]
    test: Vec<Test>,
}

/// Reads every file of the matrix; an entry that makes no sense is an error that names it.
pub(crate) fn read(root: &Path) -> Result<Vec<Test>, String> {
    let directory = root.join("c-tests/matrix");
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))? {
        let path = entry.map_err(|error| format!("{}: {error}", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml")
            && !path.ends_with(SKIPS)
            && !path.ends_with(EMULATED)
        {
            files.push(path);
        }
    }
    files.sort();
    let mut tests = Vec::new();
    for path in files {
        for test in parse::<Matrix>(&path)?.test {
            test.check().map_err(|what| format!("{}: {}: {what}", path.display(), test.name))?;
            tests.push(test);
        }
    }
    Ok(tests)
}

pub(crate) fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The cells that may be skipped where CI runs.
#[derive(Clone, Default)]
pub(crate) struct Skips {
    strict: bool,
    allowed: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SkipFile {
    #[serde(default)]
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    /// A part of the trials' names.
    cells: String,
    #[serde(rename = "reason")]
    _reason: String,
}

impl Skips {
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let path = root.join("c-tests/matrix").join(SKIPS);
        let allowed = parse::<SkipFile>(&path)?.skip.into_iter().map(|skip| skip.cells).collect();
        Ok(Self { strict: std::env::var_os("CI").is_some_and(|value| value == "true"), allowed })
    }

    pub(crate) fn forbid(&self, cell: &str) -> bool {
        self.strict && !self.allowed.iter().any(|part| cell.contains(part.as_str()))
    }
}
