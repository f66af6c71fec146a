//! Runs one program in one cell, and tells what was not as the model says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{WaitOptions, wait};

use crate::arguments::{Engine, Filesystem, Reach, name};
use crate::board;
use crate::cell::Cell;
use crate::judge;
use crate::model::{Expected, expected};
use crate::script::{Line, Program, SIGNALLED};
use crate::watchdog::Watchdog;

/// A program has so long, which is far more than any takes.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// What may be late now and then is not late so many times more.
const AGAIN: u32 = 4;

/// The place that one worker has for itself.
pub(crate) struct Place {
    /// On a tmpfs: script, board, output, state directory.
    pub(crate) own: PathBuf,
    /// Holds the filesystems and the built interpreters.
    pub(crate) scratch: PathBuf,
    pub(crate) library: PathBuf,
    pub(crate) command: PathBuf,
    pub(crate) broken: Option<String>,
    pub(crate) watchdog: Watchdog,
    pub(crate) worker: u64,
    pub(crate) deadline: Duration,
}

/// What was not as it must be, or that the program is none to be judged.
pub(crate) enum Outcome {
    Fine,
    /// Only the sweep has removed this, which may be so now and then.
    Late(Vec<String>),
    Invalid,
    Different(Vec<String>),
}

impl Place {
    pub(crate) fn mount(&self, filesystem: Filesystem) -> PathBuf {
        mount(&self.scratch, filesystem)
    }

    /// Runs it until it says something for certain.
    pub(crate) fn run(&self, program: &Program, cell: Cell) -> io::Result<Outcome> {
        let mut outcome = self.run_once(program, cell)?;
        for _ in 0..AGAIN {
            match outcome {
                Outcome::Late(_) => outcome = self.run_once(program, cell)?,
                _ => return Ok(outcome),
            }
        }
        Ok(match outcome {
            Outcome::Late(late) => Outcome::Different(late),
            outcome => outcome,
        })
    }

    fn run_once(&self, program: &Program, cell: Cell) -> io::Result<Outcome> {
        let Ok(expected) = expected(program, cell.rules()) else { return Ok(Outcome::Invalid) };
        let above = self.mount(cell.filesystem).join(format!("worker.{}", self.worker));
        let arena = above.join("arena");
        fs::create_dir_all(&arena)?;
        make_canary(&above.join("canary"))?;
        let state = self.own.join("state");
        fs::create_dir_all(&state)?;
        fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        fs::write(self.own.join("script"), text(program, &expected))?;
        board::prepare(&self.own.join("board"))?;

        let mut differences = vec![];
        let status = self.start_and_wait(cell, &arena, &state, &mut differences)?;
        if status != Some(expected.status) {
            differences.push(format!("it ended with {status:?}, must be {}", expected.status));
        }
        differences.extend(board::reports(&self.own.join("board"), program, &expected)?);
        let output = fs::read_to_string(self.own.join("output")).unwrap_or_default();
        if !output.is_empty() {
            differences.push(format!("it was printed: {}", output.trim_end()));
        }
        let must_be = judge::Judge {
            arena: &arena,
            state: &state,
            expected: &expected,
            names: &board::names(&self.own.join("board"))?,
        };
        let is_swept = cell.engine == Engine::Preload;
        let mut late = vec![];
        if differences.is_empty() {
            let seen = must_be.compare(!is_swept);
            if is_swept && expected.may_be_late { &mut late } else { &mut differences }.extend(seen);
        }
        if differences.is_empty() && is_swept && (must_be.needs_sweep() || !late.is_empty()) {
            if self.broken.as_deref() != Some("sweep") {
                differences.extend(self.sweep(&state, must_be.may_keep_something()));
            }
            differences.extend(must_be.compare(true).into_iter().map(|what| format!("after the sweep: {what}")));
        }
        if let Err(error) = canary_is_untouched(&above.join("canary")) {
            differences.push(format!("the canary: {error}"));
        }
        clear(&above)?;
        clear(&state)?;
        Ok(match (differences.is_empty(), late.is_empty()) {
            (true, true) => Outcome::Fine,
            (true, false) => Outcome::Late(late),
            (false, _) => Outcome::Different(differences),
        })
    }

    fn command(&self, cell: Cell) -> Command {
        let interpreter = interpreter(&self.scratch, cell.reach);
        let always = cell.filesystem == Filesystem::Always;
        let mut command;
        if matches!(cell.engine, Engine::Preload | Engine::None) {
            command = Command::new(interpreter);
        } else {
            command = Command::new(&self.command);
            let engine = if cell.engine == Engine::Keeper { "preload".to_owned() } else { name(cell.engine) };
            command.args(["run", "--engine", &engine, "--"]).arg(interpreter);
        }
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TMPSHIM_STATE_DIR", self.own.join("state"));
        command.env("TMPSHIM_TRACK", "k-*:m-*");
        if cell.engine == Engine::Preload {
            command.env("LD_PRELOAD", &self.library);
        }
        match self.broken.as_deref() {
            Some("shim") => command.env("TMPSHIM", "off"),
            Some("cleanup") => command.env("TMPSHIM_CLEANUP", "off"),
            Some("tmpfile") => command.env("TMPSHIM_TMPFILE", "off"),
            _ if always => command.env("TMPSHIM_TMPFILE", "always"),
            _ => &mut command,
        };
        command
    }

    /// The status of the program, when all that it started has ended.
    fn start_and_wait(
        &self,
        cell: Cell,
        arena: &Path,
        state: &Path,
        differences: &mut Vec<String>,
    ) -> io::Result<Option<i32>> {
        let output = File::create(self.own.join("output"))?;
        let mut command = self.command(cell);
        command.arg(self.own.join("script")).arg(self.own.join("board")).arg(arena).arg("0");
        command.current_dir(arena).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let _ = state;
        self.watchdog.set(self.deadline);
        let child = command.spawn()?;
        let (root, mut status) = (child.id(), None);
        // Orphans come to this process, which is their subreaper.
        while let Ok(ended) = wait(WaitOptions::empty()) {
            if let Some((pid, ended)) = ended
                && pid.as_raw_nonzero().get() == root as i32
            {
                let ended = ExitStatus::from_raw(ended.as_raw());
                status = ended.signal().map(|signal| SIGNALLED + signal).or(ended.code());
            }
        }
        if self.watchdog.clear() {
            differences.push(format!("it was still running after {} s", self.deadline.as_secs()));
        }
        Ok(status)
    }

    fn sweep(&self, state: &Path, may_keep: bool) -> Option<String> {
        self.watchdog.set(self.deadline);
        let output = Command::new(&self.command).env_clear().arg("sweep").arg("--state-dir").arg(state).output();
        if self.watchdog.clear() {
            return Some("the sweep took too long".to_owned());
        }
        match output {
            Ok(output) if output.status.success() || may_keep => None,
            Ok(output) => Some(format!(
                "tmpshim sweep: {}: {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
            Err(error) => Some(format!("tmpshim sweep: {error}")),
        }
    }
}

/// Where a filesystem is mounted.
pub(crate) fn mount(scratch: &Path, filesystem: Filesystem) -> PathBuf {
    let filesystem = if filesystem == Filesystem::Always { Filesystem::Tmpfs } else { filesystem };
    scratch.join(name(filesystem))
}

/// Where the built interpreter lies.
pub(crate) fn interpreter(scratch: &Path, reach: Reach) -> PathBuf {
    scratch.join(format!("interpreter-{}", name(reach)))
}

/// The script, as the interpreter reads it.
pub(crate) fn text(program: &Program, expected: &Expected) -> String {
    let mut lines = String::new();
    for (list, ops) in program.lists.iter().enumerate() {
        for (place, op) in ops.iter().enumerate() {
            lines.extend([format!("{list} {}\n", Line(op, expected.answers[list][place]))]);
        }
    }
    lines
}

const CANARY: [(&str, &str); 3] = [("one", "untouched"), ("k-two", "as well"), (".tmpshim-three", "not ours")];

fn make_canary(canary: &Path) -> io::Result<()> {
    fs::create_dir_all(canary.join("k-below"))?;
    CANARY.iter().try_for_each(|(name, text)| File::create(canary.join(name))?.write_all(text.as_bytes()))
}

fn canary_is_untouched(canary: &Path) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(canary).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let text = if path.is_dir() { String::new() } else { fs::read_to_string(&path).map_err(told)? };
        names.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text);
    }
    let mut must_be: BTreeMap<String, String> =
        CANARY.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    must_be.insert("k-below".to_owned(), String::new());
    if names == must_be { Ok(()) } else { Err(format!("{names:?}")) }
}

/// Whatever was left goes before the next program.
fn clear(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}
