//! What is looked at for which arguments, and how it is told: the document, the table, the exit status.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::ground::{Ground, TMPSHIM, assert_empty};
use super::report::{Report, command, finding, schema, validator, verdict};

#[test]
fn the_schema_names_what_can_be_found() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let help = Command::new(TMPSHIM).args(["doctor", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("docs/doctor.schema.json"));
    // A document that is none is refused: the check checks.
    assert!(!validator().is_valid(&serde_json::json!({ "version": 1 })));
}

/// Its command is run with the other guides' (c-tests/real/guides.sh).
#[test]
fn the_example_of_the_document_about_the_document_is_one() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor-json.md")).unwrap();
    let (_, rest) = page.split_once("```json\n").unwrap();
    let example: Value = serde_json::from_str(rest.split_once("```").unwrap().0).unwrap();
    assert!(validator().is_valid(&example));
}

#[test]
fn without_arguments_it_looks_where_temporary_files_are_made() {
    let ground = Ground::new();
    let (temporary, current) = (ground.make("temporary"), ground.make("current"));
    let report = Report::of(command().env("TMPDIR", &temporary).current_dir(&current));
    let names: Vec<_> = report.subjects().iter().map(|subject| subject["name"].as_str().unwrap()).collect();
    assert_eq!(names, [temporary.to_str().unwrap(), "/tmp", "/var/tmp", current.to_str().unwrap(), ""]);
    let system = report.first("system");
    for name in ["kernel", "user", "supervisor", "library", "state-directory"] {
        assert!(!finding(system, name).is_null(), "{name}");
    }
    // One that is not there is a failure: programs go by it.
    let report = Report::of(command().env("TMPDIR", ground.path("absent")).current_dir(&current));
    assert_eq!(report.status, 1);
    assert_eq!(finding(report.directory(&ground.path("absent")), "answer")["errno"], "ENOENT");
    assert_empty(&temporary);
    assert_empty(&current);
}

#[test]
fn what_is_neither_is_told_and_the_rest_is_looked_at() {
    let ground = Ground::new();
    let (open, file) = (ground.make("open"), ground.path("file"));
    fs::write(&file, "").unwrap();
    let report = Report::of(command().args([&ground.path("absent"), &file, &open]).arg("no-such-program"));
    assert_eq!(report.status, 2);
    let why: Vec<_> = report.subjects().iter().map(|subject| finding(subject, "argument")["found"].as_str()).collect();
    assert!(why[0].unwrap().contains("No such file") && why[1].unwrap().contains("EACCES"), "{why:?}");
    assert!(why[2].is_none() && why[3].unwrap().contains("PATH"), "{why:?}");
    assert_eq!(verdict(report.directory(&open), "tmpfile"), "well");
    for wrong in [&["--pid", "x"][..], &["--pid"], &["--unknown"]] {
        let output = Command::new(TMPSHIM).arg("doctor").args(wrong).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong:?}");
    }
    assert_empty(&open);
}

#[test]
fn the_table_says_the_same_and_moves_no_cursor() {
    let ground = Ground::new();
    let path = ground.make("a\u{1b}[2J\u{9b}b");
    let run = |colour: &[(&str, &str)]| -> Output {
        let mut command = Command::new(TMPSHIM);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(colour.iter().copied());
        command.arg("doctor").args([&path, &ground.path("absent")]).output().unwrap()
    };
    let plain = run(&[]);
    let text = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(plain.status.code(), Some(2));
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
    for part in ["Directory ", "open with O_TMPFILE", "works", "could not tell", "System\n", "state directory"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let coloured = String::from_utf8(run(&[("CLICOLOR_FORCE", "1")]).stdout).unwrap();
    assert!(coloured.contains("\u{1b}[32mwell\u{1b}[0m"), "{coloured}");
    assert!(!coloured.contains("\u{1b}[2J"), "{coloured}");
    let plain = String::from_utf8(run(&[("NO_COLOR", "1")]).stdout).unwrap();
    assert!(plain.contains("works") && !plain.contains('\u{1b}'), "{plain}");
    // Whoever has closed its input and errors is told the same.
    let line = format!("exec {TMPSHIM} doctor --json '{}' <&- 2>&-", ground.path("open").display());
    ground.make("open");
    assert_eq!(Report::of(Command::new("sh").args(["-c", &line])).status, 0);
    // A reader that cannot take it is told of.
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let output = Command::new(TMPSHIM).arg("doctor").arg(&path).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write standard output"));
    }
    assert_empty(&path);
}
