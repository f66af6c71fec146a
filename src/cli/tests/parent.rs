//! S4: `tmpshim run` is a good parent under every engine, as PID 1 too. The programs are parent.c's; what they find and do
//! without us is the measure.

mod terminal;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, waitpid};
use rustix::stdio::{dup2_stderr, stdout};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;
use terminal::Terminal;

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");

const PATIENCE: Duration = Duration::from_secs(30);

const LAST: i32 = 64;

const STOPPING: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// What makes a command PID 1 of a namespace of its own.
const AS_PID_1: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Under {
    Nothing,
    Preload,
    Notify,
    Trace,
    Auto,
}

use Under::{Auto, Nothing, Notify, Preload, Trace};

const ENGINES: [Under; 4] = [Preload, Notify, Trace, Auto];

const WITH_AND_WITHOUT: [Under; 5] = [Nothing, Preload, Notify, Trace, Auto];

impl Under {
    fn flag(self) -> &'static str {
        match self {
            Nothing => unreachable!("no command"),
            Preload => "preload",
            Notify => "notify",
            Trace => "trace",
            Auto => "auto",
        }
    }

    /// Static where the library is not to be in the way.
    fn program(self) -> &'static str {
        static BUILT: OnceLock<[String; 2]> = OnceLock::new();
        let [dynamic, linked] = BUILT.get_or_init(|| [build("parent", &[]), build("parent-static", &["-static"])]);
        if matches!(self, Notify | Trace) { linked } else { dynamic }
    }

    fn has_supervisor(self) -> bool {
        matches!(self, Notify | Trace | Auto)
    }
}

/// Builds parent.c, under a name of its own first: another run of these tests may use the last one.
fn build(name: &str, flags: &[&str]) -> String {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (new, program) = (place.join(format!("{name}.{}", std::process::id())), place.join(name));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parent.c");
    let mut gcc = Command::new("gcc");
    let built = gcc.args(["-O1", "-Wall", "-Wextra", "-Werror"]).args(flags).arg("-o").arg(&new).arg(source).status();
    assert!(built.expect("it takes gcc: scripts/setup").success());
    fs::rename(new, &program).unwrap();
    program.to_str().unwrap().to_owned()
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not shown: it takes root");
    }
    root
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for an end that a mistake of ours may put off for ever.
fn end_of(child: &mut Child) -> ExitStatus {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ended, 1, "it ends");
    child.wait().unwrap()
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: kill(2) touches no memory.
    let answer = unsafe { libc::kill(pid, signal) };
    assert_eq!(answer, 0, "{pid} {signal}");
}

/// Every process: its number, its parent's and its state.
fn processes() -> Vec<(i32, i32, char)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter_map(|stat| {
            let (pid, rest) = stat.split_once(' ')?;
            let mut fields = rest.rsplit_once(") ")?.1.split(' ');
            let state = fields.next()?.chars().next()?;
            Some((pid.parse().ok()?, fields.next()?.parse().ok()?, state))
        })
        .collect()
}

/// Everybody below a process: numbers and states.
fn descendants(of: i32) -> Vec<(i32, char)> {
    let all = processes();
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(above) = parents.pop() {
        for &(pid, _, state) in all.iter().filter(|(_, parent, _)| *parent == above) {
            found.push((pid, state));
            parents.push(pid);
        }
    }
    found
}

fn state_of(pid: i32) -> Option<char> {
    processes().into_iter().find(|(number, _, _)| *number == pid).map(|(_, _, state)| state)
}

/// Stopped by a signal, and where somebody traces it, by the tracer's leave.
fn is_stopped(pid: i32) -> bool {
    matches!(state_of(pid), Some('T' | 't'))
}

/// Below a process, the first that runs this file.
fn running(file: &str, below: i32) -> Option<i32> {
    let runs = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(file));
    descendants(below).into_iter().map(|(pid, _)| pid).find(runs)
}

/// Where one test happens, and how what it has started is known.
struct Stage {
    directory: TempDir,
    mark: String,
}

impl Stage {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { directory: tempfile::Builder::new().prefix("tmpshim-parent-").tempdir().unwrap(), mark }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What comes before, `tmpshim run`, and parent.c's program with its arguments.
    fn line(before: &[&str], under: Under, arguments: &[&str]) -> Vec<String> {
        let ours = [TMPSHIM, "run", "--engine"];
        let ours = if under == Nothing { vec![] } else { [&ours[..], &[under.flag(), "--"]].concat() };
        [before, &ours, &[under.program()], arguments].concat().into_iter().map(str::to_owned).collect()
    }

    fn prepared(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        // Whatever tmpshim keeps, it keeps here.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("XDG_RUNTIME_DIR", self.directory.path());
        command.env("PARENT_TEST", &self.mark);
        command
    }

    fn command_after(&self, before: &[&str], under: Under, arguments: &[&str]) -> Command {
        let line = Self::line(before, under, arguments);
        let mut command = self.prepared(&line[0]);
        command.args(&line[1..]);
        command
    }

    fn command(&self, under: Under, arguments: &[&str]) -> Command {
        self.command_after(&[], under, arguments)
    }

    fn end(&self, before: &[&str], under: Under, arguments: &[&str]) -> ExitStatus {
        end_of(&mut self.command_after(before, under, arguments).spawn().unwrap())
    }

    /// The living processes that were started here.
    fn family(&self) -> Vec<i32> {
        let wanted = format!("PARENT_TEST={}", self.mark);
        let is_marked = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        };
        processes().into_iter().map(|(pid, _, _)| pid).filter(|&pid| is_marked(pid)).collect()
    }

    /// That nobody and nothing is left.
    fn assert_clear(self) {
        eventually("everybody has ended", || self.family().is_empty());
        let state = self.path("tmpshim");
        let left = fs::read_dir(&state).into_iter().flatten().flatten().map(|entry| entry.path());
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
        let _ = fs::remove_dir(state);
        let left = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pid in self.family() {
                // SAFETY: kill(2) touches no memory; it was started by this test.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }
}

/// A program that speaks with us.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Program {
    /// Starts it, and says which process it is.
    fn start(mut command: Command) -> (Self, i32) {
        Self::with_input(command.stdin(Stdio::piped()))
    }

    fn with_input(command: &mut Command) -> (Self, i32) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let program = Self { input: child.stdin.take(), child, lines };
        let pid = program.number_after("ready");
        (program, pid)
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }

    fn expect_signal(&self, signal: i32, when: &str) {
        let line = self.lines.recv_timeout(PATIENCE);
        assert_eq!(line.as_deref(), Ok(signal.to_string().as_str()), "{when}, signal {signal}");
    }

    fn number_after(&self, word: &str) -> i32 {
        let line = self.next();
        line.strip_prefix(word).and_then(|rest| rest.trim().parse().ok()).unwrap_or_else(|| panic!("{word}: {line}"))
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.next()
    }

    fn end(&mut self) -> ExitStatus {
        end_of(&mut self.child)
    }

    /// Ends a program that counts signals; what it had still to say.
    fn end_count(&mut self) -> Vec<String> {
        drop(self.input.take());
        assert_eq!(self.end().code(), Some(0));
        self.lines.iter().collect()
    }
}

fn shown(status: ExitStatus) -> (Option<i32>, Option<i32>, bool) {
    (status.code(), status.signal(), status.core_dumped())
}

#[test]
fn s4_all_256_exit_statuses() {
    let stage = Stage::new();
    for engine in ENGINES {
        for status in 0..=255 {
            let ended = stage.end(&[], engine, &["exit", &status.to_string()]);
            assert_eq!(shown(ended), (Some(status), None, false), "{engine:?}");
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_every_signal_ends_us_as_it_ends_the_program() {
    let stage = Stage::new();
    for signal in (1..=LAST).filter(|signal| !STOPPING.contains(signal)) {
        let arguments = ["signal", &signal.to_string()];
        let without = stage.end(&[], Nothing, &arguments);
        for engine in ENGINES {
            assert_eq!(shown(stage.end(&[], engine, &arguments)), shown(without), "{engine:?} {signal}");
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_a_core_is_the_programs_and_there_is_no_second() {
    let stage = Stage::new();
    let cores = || fs::read_dir(stage.directory.path()).unwrap().flatten().map(|entry| entry.path());
    let cores = || cores().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("core"));
    for signal in [libc::SIGQUIT, libc::SIGSEGV, libc::SIGSYS] {
        let arguments = ["core", &signal.to_string()];
        let without = stage.end(&[], Nothing, &arguments);
        let natively = cores().count();
        cores().for_each(|path| fs::remove_file(path).unwrap());
        for engine in ENGINES {
            let with = stage.end(&[], engine, &arguments);
            assert_eq!(shown(with), (None, without.signal(), false), "{engine:?}");
            assert_eq!(cores().count(), natively, "{engine:?}");
            cores().for_each(|path| fs::remove_file(path).unwrap());
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_all_statuses_and_for_signals_the_shells() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        for status in 0..=255 {
            let ended = stage.end(&AS_PID_1, engine, &["exit", &status.to_string()]);
            assert_eq!(ended.code(), Some(status), "{engine:?}");
        }
        for signal in (1..=LAST).filter(|signal| !STOPPING.contains(signal)) {
            let arguments = ["signal", &signal.to_string()];
            let without = stage.end(&[], Nothing, &arguments);
            let expected = without.signal().map_or(without.code(), |signal| Some(128 + signal));
            assert_eq!(stage.end(&AS_PID_1, engine, &arguments).code(), expected, "{engine:?} {signal}");
        }
    }
    stage.assert_clear();
}

/// Each signal that can be caught, alone; then all at once, those that are queued several times.
fn assert_passes_signals_on(program: &mut Program, to: i32, engine: Under) {
    let catchable = || (1..=LAST).filter(|&signal| signal != libc::SIGKILL && signal != libc::SIGSTOP);
    for signal in catchable() {
        kill(to, signal);
        program.expect_signal(signal, &format!("{engine:?}"));
    }
    // One that continues a process takes those that stop it back before they arrive.
    let times = |signal| if signal >= 32 { 5 } else { 1 };
    let mut expected: Vec<_> = catchable().filter(|&signal| signal != libc::SIGCONT).collect();
    expected = expected.iter().flat_map(|&signal| std::iter::repeat_n(signal, times(signal))).collect();
    for &signal in &expected {
        kill(to, signal);
    }
    let mut seen: Vec<i32> = expected.iter().map(|_| program.next().parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, expected, "{engine:?}");
}

#[test]
fn s4_every_catchable_signal_arrives_once_and_queued_ones_with_their_count() {
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command(engine, &["count"]));
        let to = program.pid();
        assert_passes_signals_on(&mut program, to, engine);
        assert_eq!(program.end_count(), ["end"], "{engine:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_every_catchable_signal_arrives_once() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command_after(&AS_PID_1, engine, &["count"]));
        let init = running(TMPSHIM, program.pid()).unwrap();
        assert_passes_signals_on(&mut program, init, engine);
        assert_eq!(program.end_count(), ["end"], "{engine:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_signals_that_the_kernel_sends_to_us_alone_reach_the_program() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        // `perl -e 'alarm 10; exec @ARGV'` is how programs get a time limit.
        let launcher = [Nothing.program(), "with-alarm"];
        let (mut program, _) = Program::start(stage.command_after(&launcher, under, &["count"]));
        program.expect_signal(libc::SIGALRM, &format!("{under:?}"));
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_what_the_terminal_sends_arrives_once() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        let mut terminal = Terminal::open();
        let mut command = stage.command(under, &["count"]);
        terminal.lead(&mut command);
        let (mut program, _) = Program::with_input(command.stdin(terminal.stdio()));
        for (keys, signal) in [
            ("\x03", libc::SIGINT),
            ("\x1c", libc::SIGQUIT),
            ("\x1a", libc::SIGTSTP),
            ("", libc::SIGWINCH),
            ("\x03", libc::SIGINT),
        ] {
            terminal.keys(keys);
            if signal == libc::SIGWINCH {
                let size = Winsize { ws_row: 33, ws_col: 44, ws_xpixel: 0, ws_ypixel: 0 };
                tcsetwinsize(&terminal.master, size).unwrap();
            }
            program.expect_signal(signal, &format!("{under:?}"));
            // Comes after whatever else there is.
            kill(program.pid(), LAST);
            program.expect_signal(LAST, &format!("{under:?}, after {signal}"));
        }
        terminal.keys("\x04");
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_a_hangup_of_the_terminal_reaches_the_program() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        let terminal = Terminal::open();
        let mut command = stage.command(under, &["count"]);
        terminal.lead(&mut command);
        let (mut program, _) = Program::start(command);
        // The kernel tells the leader of the session, and nobody else.
        drop(terminal.master);
        let mut seen = [program.next(), program.next()];
        seen.sort();
        assert_eq!(seen, [libc::SIGHUP, libc::SIGCONT].map(|signal| signal.to_string()), "{under:?}");
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_session_group_and_terminal_are_as_without() {
    let stage = Stage::new();
    let seen = ENGINES.map(|engine| {
        let program = |under| {
            let terminal = Terminal::open();
            let mut command = stage.command(under, &["state"]);
            terminal.lead(&mut command);
            let mut child = command.stdin(terminal.stdio()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            assert_eq!(end_of(&mut child).code(), Some(0));
            let line = said.lines().find(|line| line.starts_with("session")).unwrap();
            line.replace(&child.id().to_string(), "LEADER")
        };
        [program(engine), program(Nothing)]
    });
    for [with, without] in seen {
        assert_eq!(with, without);
        assert!(without.contains("terminal 1, in front LEADER"), "{without}");
    }
    stage.assert_clear();
}

/// Waits for the next change of a child: whether it was stopped, continued, or has ended.
fn change_of(child: i32) -> WaitStatus {
    let options = WaitOptions::UNTRACED | WaitOptions::CONTINUED | WaitOptions::NOHANG;
    let mut change = None;
    eventually("it stops or goes on", || {
        change = waitpid(Pid::from_raw(child), options).unwrap();
        change.is_some()
    });
    change.unwrap().1
}

#[test]
fn s4_stopped_and_continued_with_the_program() {
    let stage = Stage::new();
    for engine in ENGINES {
        let mut command = stage.command(engine, &["serve"]);
        // Not one without a parent outside: that is never stopped by a terminal.
        command.process_group(0);
        let (mut program, pid) = Program::start(command);
        let front = program.pid();
        for signal in STOPPING {
            let expect_stop = |by: &str| {
                let change = change_of(front);
                assert_eq!(change.stopping_signal(), Some(signal), "{engine:?} {by} {change:?}");
                eventually(&format!("{engine:?} {signal} {by}: the program is stopped"), || is_stopped(pid));
            };
            let expect_continuation = || assert!(change_of(front).continued(), "{engine:?} {signal}");
            program.say(&format!("signal {signal}"));
            expect_stop("by itself");
            kill(front, libc::SIGCONT);
            expect_continuation();
            assert_eq!(program.next(), "still here");

            kill(pid, signal);
            expect_stop("by another");
            kill(front, libc::SIGCONT);
            expect_continuation();
            assert_eq!(program.ask("add 1 2"), "sum 3");

            if signal != libc::SIGSTOP {
                kill(front, signal);
                expect_stop("through us");
                kill(front, libc::SIGCONT);
                expect_continuation();
                assert_eq!(program.ask("add 2 2"), "sum 4");
            }
        }
        program.say("exit 5");
        assert_eq!(program.end().code(), Some(5));
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_a_stopped_program_goes_on() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        let mut command = stage.command_after(&AS_PID_1, engine, &["serve"]);
        command.process_group(0);
        let (mut program, _) = Program::start(command);
        let init = running(TMPSHIM, program.pid()).unwrap();
        let pid = running(engine.program(), init).unwrap();
        for signal in STOPPING {
            program.say(&format!("signal {signal}"));
            eventually("it stops", || is_stopped(pid));
            kill(init, libc::SIGCONT);
            assert_eq!(program.next(), "still here", "{engine:?} {signal}");
        }
        program.say("exit 6");
        assert_eq!(program.end().code(), Some(6));
    }
    stage.assert_clear();
}

#[test]
fn s4_job_control_in_a_shell_is_as_without() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        eprintln!("{under:?}");
        let mut terminal = Terminal::open();
        let mut command = stage.prepared("bash");
        command.args(["--norc", "--noprofile", "--noediting", "-i"]).env("TERM", "dumb").env("PS1", "PROMPT ");
        terminal.lead(&mut command);
        let mut bash =
            command.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio()).spawn().unwrap();
        let program = Stage::line(&[], under, &["serve"]).join(" ");
        terminal.keys(&format!("{program}\n"));
        terminal.expect("ready ");
        terminal.keys("add 20 22\n");
        terminal.expect("sum 42");
        terminal.keys("\x1a");
        terminal.expect("Stopped");
        terminal.keys("echo was=$?\n");
        terminal.expect("was=148");
        terminal.keys("jobs -l\n");
        terminal.expect("Stopped");
        terminal.keys("fg\n");
        terminal.keys("add 1 2\n");
        terminal.expect("sum 3");
        terminal.keys("\x1a");
        terminal.expect("Stopped");
        // In the background it may not read from the terminal, and the next attempt stops it again.
        terminal.keys("bg; wait %1; echo waited=$?\n");
        terminal.expect("waited=149");
        terminal.keys("fg\n");
        terminal.keys("add 2 2\n");
        terminal.expect("sum 4");
        terminal.keys("\x03");
        // What is typed while a job is being interrupted is lost.
        terminal.expect("PROMPT");
        terminal.keys("echo was=$?\n");
        terminal.expect("was=130");
        terminal.keys("exit 7\n");
        assert_eq!(end_of(&mut bash).code(), Some(7), "{under:?}");
    }
    stage.assert_clear();
}

/// What a program says of the state it was started in.
fn state(stage: &Stage, before: &[&str], under: Under) -> Vec<String> {
    let mut command = stage.command_after(before, under, &["state", "", "a b", "--engine"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{under:?} {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What a program is started with under us is what it is started with anyway, and the variables of ours.
fn assert_same_state(stage: &Stage, before: &[&str], engine: Under) {
    let mut expected = state(stage, before, Nothing);
    // The program differs by its name.
    expected[0] = format!("argument {}", engine.program());
    let is_ours = |line: &String| {
        ["LD_PRELOAD", "TMPSHIM_STATE_DIR"].iter().any(|name| line.starts_with(&format!("environment {name}=")))
    };
    let mut seen = state(stage, before, engine);
    seen.retain(|line| !is_ours(line));
    assert_eq!(seen, expected, "{engine:?} {before:?}");
}

#[test]
fn s4_what_a_program_inherits_is_unchanged() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        assert_same_state(&stage, &[], engine);
        assert_same_state(&stage, &[Nothing.program(), "odd"], engine);
    }
    stage.assert_clear();
}

#[test]
fn s4_blocked_and_ignored_signals_reach_the_program_unchanged() {
    let stage = Stage::new();
    for engine in ENGINES {
        for (ignored, blocked) in
            [("1", "0"), ("0", "1"), ("1", "1"), ("2", "3"), ("3", "2"), ("17", "17"), ("13", "1")]
        {
            assert_same_state(&stage, &[Nothing.program(), "with-signals", ignored, blocked], engine);
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_signals_that_were_waiting_reach_the_program() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        let launcher = [Nothing.program(), "with-pending"];
        let (mut program, _) = Program::start(stage.command_after(&launcher, under, &["count"]));
        let mut seen: Vec<i32> = (0..5).map(|_| program.next().parse().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [libc::SIGUSR1, libc::SIGTERM, 40, 40, 40], "{under:?}");
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_closed_descriptors_stay_closed_and_nothing_is_written_into_the_programs_files() {
    let stage = Stage::new();
    for closed in 0..8 {
        let seen = |under| {
            let file = stage.path("file");
            let before = [Nothing.program(), "without-descriptors", &closed.to_string()];
            let mut command = stage.command_after(&before, under, &["descriptors", file.to_str().unwrap()]);
            // Something to complain about.
            command.env("TMPSHIM_NONSENSE", "1").stdout(Stdio::null()).stderr(Stdio::null());
            assert_eq!(end_of(&mut command.spawn().unwrap()).code(), Some(0), "{under:?} {closed}");
            let text = fs::read_to_string(&file).unwrap();
            fs::remove_file(file).unwrap();
            text
        };
        let expected = seen(Nothing);
        for engine in ENGINES {
            assert_eq!(seen(engine), expected, "{engine:?} {closed}");
        }
    }
    stage.assert_clear();
}

fn assert_no_zombie(below: i32) {
    eventually("nobody stays a zombie", || descendants(below).iter().all(|(_, state)| *state != 'Z'));
}

#[test]
fn s4_orphans_are_reaped_while_the_program_runs() {
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command(engine, &["serve"]));
        let before = descendants(program.pid()).len();
        for _ in 0..3 {
            let orphans = program.ask("orphans 20");
            let mut orphans = orphans.split(' ').skip(1);
            assert_eq!(orphans.clone().count(), 20);
            assert_no_zombie(program.pid());
            assert!(orphans.all(|orphan| state_of(orphan.parse().unwrap()).is_none()), "{engine:?}");
        }
        assert_eq!(descendants(program.pid()).len(), before, "{engine:?}");
        program.say("exit 8");
        assert_eq!(program.end().code(), Some(8));
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_orphans_are_reaped_also_those_of_strangers_and_daemons_end() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command_after(&AS_PID_1, engine, &["serve"]));
        let init = running(TMPSHIM, program.pid()).unwrap();
        let before = descendants(init).len();
        assert_eq!(program.ask("orphans 20").split(' ').count(), 21);
        assert_no_zombie(program.pid());
        // As by `docker exec`: their orphans are PID 1's.
        let into = ["nsenter", "--pid", "--mount", "--target", &init.to_string()];
        let (mut stranger, _) = Program::start(stage.command_after(&into, Nothing, &["serve"]));
        assert_eq!(stranger.ask("orphans 20").split(' ').count(), 21);
        assert_no_zombie(program.pid());
        stranger.say("exit 0");
        assert_eq!(stranger.end().code(), Some(0));
        assert_eq!(descendants(init).len(), before, "{engine:?}");
        program.say("daemon 9");
        assert_eq!(program.end().code(), Some(9), "{engine:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_a_daemon_outlives_the_program_under_the_same_supervisor() {
    let stage = Stage::new();
    for engine in ENGINES {
        let mut command = stage.command(engine, &["serve"]);
        // SAFETY: one system call, in the child.
        unsafe { command.pre_exec(|| Ok(dup2_stderr(stdout())?)) };
        let (mut program, _) = Program::start(command);
        program.say("daemon 7");
        assert_eq!(program.end().code(), Some(7), "{engine:?}: we end with the program");
        let daemon = program.number_after("daemon");
        assert_eq!(program.ask("add 3 4"), "sum 7");
        assert_eq!(program.ask("supervised"), if engine.has_supervisor() { "yes" } else { "no" }, "{engine:?}");
        let orphans = program.ask("orphans 10");
        for orphan in orphans.split(' ').skip(1) {
            eventually("it is reaped", || state_of(orphan.parse().unwrap()).is_none());
        }
        program.say("mute");
        // Who reads what the program wrote does not have to wait for whoever else is still there.
        assert_eq!(program.lines.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "{engine:?}");
        assert!(stage.family().contains(&daemon), "{engine:?}");
        drop(program.input.take());
        eventually("nobody is left", || stage.family().is_empty());
    }
    stage.assert_clear();
}

#[test]
fn s4_when_we_are_killed_the_program_goes_on() {
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command(engine, &["serve"]));
        kill(program.pid(), libc::SIGKILL);
        assert_eq!(program.end().signal(), Some(libc::SIGKILL));
        assert_eq!(program.ask("add 3 4"), "sum 7", "{engine:?}");
        assert_eq!(program.ask("supervised"), if engine.has_supervisor() { "yes" } else { "no" }, "{engine:?}");
        drop(program.input.take());
        eventually("nobody is left", || stage.family().is_empty());
        // What was kept for it the next one removes.
        assert_eq!(stage.end(&[], engine, &["exit", "0"]).code(), Some(0));
    }
    stage.assert_clear();
}

#[test]
fn s4_when_the_supervisor_is_killed_we_end_as_the_program_ends() {
    let stage = Stage::new();
    let places = if is_root() { &[&[][..], &AS_PID_1] } else { &[&[][..]][..] };
    for (engine, before) in ENGINES
        .iter()
        .filter(|engine| engine.has_supervisor())
        .flat_map(|engine| places.iter().map(move |place| (*engine, *place)))
    {
        for (last, status, signal) in [("exit 42", Some(42), None), ("signal 15", None, Some(15))] {
            let (mut program, _) = Program::start(stage.command_after(before, engine, &["serve"]));
            let front = if before.is_empty() { program.pid() } else { running(TMPSHIM, program.pid()).unwrap() };
            // It answers, so it has told the front of the program.
            assert_eq!(program.ask("supervised"), "yes");
            let supervisor = running(TMPSHIM, front).unwrap();
            kill(supervisor, libc::SIGKILL);
            eventually("it is gone", || !matches!(state_of(supervisor), Some(state) if state != 'Z'));
            assert_eq!(program.ask("add 3 4"), "sum 7", "{engine:?}");
            kill(front, libc::SIGWINCH);
            program.say(last);
            let expected = match (before, signal) {
                ([_, ..], Some(signal)) => (Some(128 + signal), None),
                _ => (status, signal),
            };
            let ended = program.end();
            assert_eq!((ended.code(), ended.signal()), expected, "{engine:?} {before:?}");
        }
        assert_eq!(stage.end(&[], engine, &["exit", "0"]).code(), Some(0));
    }
    stage.assert_clear();
}
