//! Nothing goes before somebody has said yes, and Ctrl-C is heard.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::site::{Site, paths, using, within};
use super::sweeping::{lines, text};
use super::terminal::Terminal;

#[test]
fn d6_nothing_is_changed_without_a_yes() {
    let site = Site::new();
    for number in 0..8 {
        site.leak(&format!("leak-{number}"));
    }
    site.full("leak-full");
    let before = site.names();
    for arguments in [&["--dry-run"][..], &["--dry-run", "--yes"]] {
        let output = within(&mut site.command(&[&["--older-than", "0s"], arguments].concat()));
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("to remove: 8 directories (8 of "), "{said}");
        assert!(said.contains("\n  … and 3 more\n") && said.contains("skipped 1: not empty;"), "{said}");
        assert!(said.ends_with("to be removed: 8 directories; skipped: 1\n"), "{said}");
        assert_eq!(site.names(), before);
    }
    let output = within(&mut site.command(&["--older-than", "0s", "--contents"]));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("to remove: 9 directories") && said.contains("of contents"), "{said}");
    assert!(said.contains("nothing was removed: standard input is no terminal to ask on; give --yes"), "{said}");
    let mut output = within(&mut site.command(&["--older-than", "0s", "--json"]));
    let said = String::from_utf8(std::mem::take(&mut output.stderr)).unwrap();
    assert!(said.contains("give --yes"), "{said}");
    assert_eq!((output.status.code(), paths(&lines(&output), "would-remove").len()), (Some(1), 8));
    assert_eq!(site.names(), before);
    // Where there is nothing to do nobody has to be asked.
    let output = within(site.command(&[]).args(["--owner", "0"]));
    assert_eq!((output.status.code(), site.names()), (Some(0), before), "{output:?}");
}

/// Starts the command on this terminal, `stdin` being the terminal or nothing.
fn start(terminal: &Terminal, command: &mut Command, reads: bool) -> Child {
    terminal.lead(command);
    command.stdin(if reads { terminal.stdio() } else { Stdio::null() });
    command.stdout(terminal.stdio()).stderr(terminal.stdio()).spawn().unwrap()
}

#[test]
fn d6_on_a_terminal_it_asks_and_no_is_the_default() {
    for (keys, reads, status) in [
        ("y\n", true, 0),
        ("yes\n", false, 0),
        ("n\n", true, 1),
        ("\n", true, 1),
        ("\u{4}", true, 1),
        ("ye\n", false, 1),
    ] {
        let site = Site::new();
        for number in 0..3 {
            site.leak(&format!("leak-{number}"));
        }
        fs::create_dir(site.piled("canary")).unwrap();
        let mut terminal = Terminal::open();
        let mut child = start(&terminal, &mut site.command(&["--older-than", "0s"]), reads);
        terminal.expect("to remove: 3 directories (3 of ");
        terminal.expect("leak-");
        terminal.expect("Remove 3 directories? [y/N] ");
        assert_eq!(site.names().len(), 4);
        terminal.keys(keys);
        let removed = if status == 0 { 3 } else { 0 };
        terminal.expect(&format!("removed: {removed} directories"));
        assert_eq!(child.wait().unwrap().code(), Some(status), "{keys:?}");
        assert_eq!(site.names().len(), 4 - removed);
        assert!(site.piled("canary").is_dir());
    }
}

#[test]
fn d6_everything_is_looked_at_again_after_the_answer() {
    let site = Site::new();
    for name in ["leak-1", "leak-filled", "leak-gone", "leak-replaced", "leak-used"] {
        site.leak(name);
    }
    let mut terminal = Terminal::open();
    let mut child = start(&terminal, &mut site.command(&["--older-than", "0s"]), true);
    terminal.expect("Remove 5 directories? [y/N] ");
    fs::write(site.piled("leak-filled/file"), "x").unwrap();
    fs::remove_dir(site.piled("leak-gone")).unwrap();
    fs::rename(site.piled("leak-replaced"), site.path("moved")).unwrap();
    site.leak("leak-replaced");
    let holder = using(&["cwd".as_ref(), site.piled("leak-used").as_os_str()]);
    terminal.keys("y\n");
    terminal.expect("removed: 1 directory; skipped: 2");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(site.names(), ["leak-filled", "leak-replaced", "leak-used"]);
    assert!(site.path("moved").is_dir());
    holder.end();
}

#[test]
fn d6_ctrl_c_stops_between_two_directories_and_what_was_done_is_told() {
    let site = Site::new_in(Path::new("/dev/shm"));
    for number in 0..30_000 {
        site.leak(&format!("leak-{number}"));
    }
    let mut child = site.command(&["--older-than", "0s", "--yes", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
    let summary: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    let removed = 30_000 - site.names().len();
    assert!(removed > 0 && removed < 30_000, "{removed}");
    assert_eq!((&summary["event"], &summary["counts"]["directories"]), (&"summary".into(), &removed.into()));
    assert_eq!(rest.lines().count(), removed);
}
