//! Running `tmpshim doctor`, and what it has found.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::ground::{AS_NOBODY, Ground, TMPSHIM};

/// What a document is to look like.
pub(crate) fn validator() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| jsonschema::validator_for(&schema()).unwrap())
}

pub(crate) fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.schema.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What the command has found.
pub(crate) struct Report {
    pub(crate) status: i32,
    pub(crate) document: Value,
}

impl Report {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.env_remove("TMPSHIM_LOG").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let wrong: Vec<_> = validator().iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?} in {text}");
        let status = output.status.code().unwrap_or_else(|| panic!("{output:?}"));
        assert_eq!(document["exit"], status);
        let verdict = ["well", "will-fail", "could-not-tell"][status as usize];
        assert_eq!(document["verdict"], verdict);
        assert!(output.stderr.is_empty(), "{output:?}");
        Self { status, document }
    }

    pub(crate) fn subjects(&self) -> &[Value] {
        self.document["subjects"].as_array().unwrap()
    }

    /// The first subject of a kind.
    pub(crate) fn first(&self, kind: &str) -> &Value {
        let found = self.subjects().iter().find(|subject| subject["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {:#}", self.document))
    }

    /// The directory of this name.
    pub(crate) fn directory(&self, path: &Path) -> &Value {
        let name = path.to_str().unwrap();
        let found = self.subjects().iter().find(|subject| subject["kind"] == "directory" && subject["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}", self.document))
    }
}

/// A finding of a subject; null where there is none.
pub(crate) fn finding<'a>(subject: &'a Value, name: &str) -> &'a Value {
    let all = subject["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["name"] == name).unwrap_or(&Value::Null)
}

pub(crate) fn verdict<'a>(subject: &'a Value, name: &str) -> &'a str {
    finding(subject, name)["verdict"].as_str().unwrap_or("absent")
}

pub(crate) fn commands(subject: &Value) -> Vec<&str> {
    subject["cures"].as_array().unwrap().iter().filter_map(|cure| cure["command"].as_str()).collect()
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(TMPSHIM);
    command.args(["doctor", "--json"]);
    command
}

pub(crate) fn doctor(argument: impl AsRef<std::ffi::OsStr>) -> Report {
    Report::of(command().arg(argument))
}

/// The same as another user.
pub(crate) fn as_nobody(ground: &Ground) -> Command {
    let mut command = Command::new(AS_NOBODY[0]);
    command.args(&AS_NOBODY[1..]).arg(ground.command()).args(["doctor", "--json"]);
    command
}

pub(crate) fn pid(pid: u32) -> Report {
    Report::of(command().args(["--pid", &pid.to_string()]))
}
