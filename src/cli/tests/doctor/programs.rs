//! Programs: what they are, and who reaches them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::ground::{Ground, TMPSHIM, set_mode};
use super::report::{Report, as_nobody, commands, doctor, finding, verdict};
use super::rights::is_root;

/// `program` is found to be this: linkage, libc, reach of library and supervisor, exit status.
#[track_caller]
fn assert_program(program: &Path, linkage: &str, libc: Option<&str>, library: bool, supervisor: bool) -> Report {
    let report = doctor(program);
    let found = report.first("program");
    assert_eq!(finding(found, "linkage")["value"], linkage, "{found:#}");
    assert_eq!(finding(found, "libc")["value"]["libc"].as_str(), libc, "{found:#}");
    assert_eq!(finding(found, "library")["value"], library, "{found:#}");
    assert_eq!(finding(found, "supervisor")["value"], supervisor, "{found:#}");
    let commands = commands(found);
    assert!(commands[0].ends_with(&format!("run -- {}", program.display())), "{commands:?}");
    assert_eq!(commands.iter().any(|command| command.contains("LD_PRELOAD=")), library, "{commands:?}");
    report
}

const NOTHING: &str = "int main(void) { return 0; }";

#[test]
fn programs_of_all_kinds() {
    let ground = Ground::new();
    let glibc = Some("glibc");
    // The command itself.
    let report = assert_program(Path::new(TMPSHIM), "static", None, false, true);
    assert_eq!(report.status, 0, "to be static is no failure");
    let Some(program) = ground.build("dynamic", &["gcc"], NOTHING) else { return };
    let report = assert_program(&program, "dynamic", glibc, true, true);
    let found = finding(report.first("program"), "libc");
    let installed = found["value"]["installed"].as_str().unwrap();
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), format!("glibc {installed}"));
    assert!(found["value"]["needs"].as_str().unwrap().starts_with("2."));
    // The libc is the loader's, so a script's interpreter counts.
    let script = ground.path("script");
    fs::write(&script, format!("#!{}\n", program.display())).unwrap();
    set_mode(&script, 0o755);
    let report = assert_program(&script, "dynamic", glibc, true, true);
    let chain = [script.to_str().unwrap(), program.to_str().unwrap()];
    assert_eq!(finding(report.first("program"), "file")["value"], Value::from(chain.to_vec()));
    if let Some(program) = ground.build("musl", &["musl-gcc"], NOTHING) {
        let report = assert_program(&program, "dynamic", Some("musl"), true, true);
        let version = &finding(report.first("program"), "libc")["value"]["installed"];
        assert!(version.as_str().unwrap().starts_with("1."), "{version}");
    }
    if cfg!(target_arch = "x86_64")
        && let Some(program) = ground.build("i386", &["gcc", "-m32"], NOTHING)
    {
        let report = assert_program(&program, "dynamic", glibc, false, true);
        assert_eq!(finding(report.first("program"), "architecture")["value"], "i386");
    }
}

#[test]
fn go_is_known_with_and_without_cgo() {
    let ground = Ground::new();
    let source = ground.path("program.go");
    for (cgo, text, value) in
        [("0", "package main\nfunc main() {}\n", "go"), ("1", "package main\nimport \"C\"\nfunc main() {}\n", "cgo")]
    {
        fs::write(&source, text).unwrap();
        let program = ground.path(value);
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(&source).current_dir(ground.directory.path());
        go.env("CGO_ENABLED", cgo).env("GO111MODULE", "off").env("GOCACHE", ground.path("cache"));
        match go.status() {
            Err(error) => return eprintln!("not shown: it takes go: {error}"),
            Ok(status) => assert!(status.success()),
        }
        let (linkage, libc) = if value == "go" { ("static", None) } else { ("dynamic", Some("glibc")) };
        let report = assert_program(&program, linkage, libc, false, true);
        assert_eq!((report.status, &finding(report.first("program"), "go")["value"]), (0, &Value::from(value)));
    }
}

#[test]
fn a_program_that_gains_rights_is_reached_by_those_who_have_them() {
    if !is_root("a set-user-ID program") {
        return;
    }
    let ground = Ground::new();
    let Some(program) = ground.build("set-uid", &["gcc"], NOTHING) else { return };
    set_mode(&program, 0o4755);
    // For root it changes nothing.
    let report = assert_program(&program, "dynamic", Some("glibc"), true, true);
    assert_eq!((report.status, &finding(report.first("program"), "rights")["value"]), (0, &Value::from(false)));
    let report = Report::of(as_nobody(&ground).arg(&program));
    let found = report.first("program");
    assert_eq!((report.status, &finding(found, "rights")["value"]), (1, &Value::from(true)));
    assert_eq!([verdict(found, "library"), verdict(found, "supervisor")], ["will-fail"; 2]);
    assert!(commands(found).is_empty(), "{found:#}");
}
