//! One cell: a program, how it reaches the kernel, the engine above it and the filesystem under it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::Obstacle;
use crate::compile::{Builds, Reach};
use crate::engine::{Artefacts, Engine};
use crate::janitor::Janitor;
use crate::machine::Machine;
use crate::mounts::{Filesystem, Mounts};
use crate::table::{Control, Test};

/// How long a name may stay in the directory once its last user has gone: FUSE releases are asynchronous.
const RELEASE: Duration = Duration::from_secs(3);

/// Beside the harness's own sources.
const KILLER: &str = "../../killer/kill_at.c";

/// What all cells share.
pub(crate) struct Site {
    root: PathBuf,
    cells: PathBuf,
    artefacts: Artefacts,
    mounts: Mounts,
    builds: Builds,
    injector: crate::injector::Injector,
    started: AtomicU32,
    janitor: Janitor,
}

impl Site {
    pub(crate) fn new(root: &Path) -> Result<Self, String> {
        let scratch = tempfile::Builder::new()
            .prefix("tmpshim-matrix-")
            .permissions(fs::Permissions::from_mode(0o755))
            .disable_cleanup(true)
            .tempdir()
            .map_err(|error| format!("no scratch directory: {error}"))?
            .keep();
        let janitor = Janitor::hire(&scratch)?;
        let machine = Machine::from_environment(root)?;
        let below = |name: &str| {
            let path = scratch.join(name);
            fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(path)
        };
        Ok(Self {
            root: root.to_owned(),
            cells: below("cells")?,
            artefacts: Artefacts::find(root),
            mounts: Mounts::new(below("mounts")?),
            builds: Builds::new(below("programs")?, &root.join("c-tests"), machine),
            injector: crate::injector::Injector::of(root),
            started: AtomicU32::new(0),
            janitor,
        })
    }

    pub(crate) fn machine(&self) -> &Machine {
        self.builds.machine()
    }

    /// Unmounts and removes everything.
    pub(crate) fn close(self) -> Result<(), String> {
        self.janitor.clean()
    }
}

pub(crate) struct Cell {
    test: Arc<Test>,
    /// None for a script.
    reach: Option<Reach>,
    engine: Engine,
    filesystem: Filesystem,
}

/// What is there once the program has ended.
struct Ending {
    how: String,
    left_processes: Vec<String>,
    output: String,
}

impl Cell {
    /// Every combination the test lists, without those where the engine cannot see the program's calls or that the machine
    /// has not, and only some of those that a supervisor adds.
    pub(crate) fn all_of(test: &Arc<Test>, machine: &Machine) -> Vec<Self> {
        let reaches: Vec<_> =
            if test.reach.is_empty() { vec![None] } else { test.reach.iter().copied().map(Some).collect() };
        let mut cells = Vec::new();
        for &reach in &reaches {
            for &engine in &test.engines {
                for &filesystem in &test.filesystems {
                    let is_there = machine.runs(reach, engine) && engine.reaches(reach, filesystem);
                    if is_there && test.wants(reach, engine, filesystem) {
                        cells.push(Self { test: Arc::clone(test), reach, engine, filesystem });
                    }
                }
            }
        }
        cells
    }

    pub(crate) fn name(&self) -> String {
        let Test { label, name, .. } = &*self.test;
        let reach = self.reach.map_or("script", Reach::name);
        format!("{label}::{name}::{reach}::{}::{}", self.engine.name(), self.filesystem.name())
    }

    /// Runs the cell. It passes if it is as the table says, which for a control can mean that it does not work.
    pub(crate) fn run(&self, site: &Site) -> Result<(), Obstacle> {
        if site.machine().only_builds() {
            return self.build(site);
        }
        if let Some(reason) = site.machine().obstacle(&self.name(), self.engine) {
            return Err(Obstacle::Missing(reason.to_owned()));
        }
        let directory = site.mounts.fresh_directory(self.filesystem)?;
        let files = site.cells.join(site.started.fetch_add(1, Ordering::Relaxed).to_string());
        let state = files.join("state");
        fs::create_dir_all(&state)
            .and_then(|()| fs::set_permissions(&state, fs::Permissions::from_mode(0o700)))
            .and_then(|()| std::os::unix::fs::chown(&state, self.test.user, self.test.user))
            .map_err(|error| Obstacle::Broken(format!("{}: {error}", state.display())))?;

        let ending = self.launch(site, &directory, &files)?;
        if ending.how == "timeout" {
            let limit = self.time_limit(site);
            return Err(Obstacle::Broken(format!("still running after {limit} s\n{}", ending.output)));
        }
        if self.test.script.is_some() && ending.how == "exit 77" {
            return Err(Obstacle::Missing(ending.output.lines().last().unwrap_or("no reason given").to_owned()));
        }
        let must_fail = self.engine == Engine::None
            && match self.test.control {
                Control::NeedsTmpfile => !self.filesystem.has_tmpfile(),
                Control::Fails => true,
                Control::Passes => false,
            };
        if must_fail && ending.how != self.expected() {
            return Ok(());
        }
        if self.test.sweep && self.engine != Engine::None {
            let sweep = Command::new(&site.artefacts.command).args(["sweep", "--state-dir"]).arg(&state).output();
            if let Some(failed) = sweep.as_ref().ok().filter(|output| !output.status.success()) {
                let said = String::from_utf8_lossy(&failed.stdout);
                return Err(Obstacle::Broken(format!("tmpshim sweep: {}\n{said}", failed.status)));
            }
        }
        let complaints = self.complaints(&ending, &directory, &state);
        match (must_fail, complaints.is_empty()) {
            (false, true) => {
                self.report(&ending.output);
                Ok(())
            }
            (true, false) => Ok(()),
            (false, false) => Err(Obstacle::Broken(format!("{}{}", complaints, ending.output))),
            (true, true) => Err(Obstacle::Broken("passes without any engine, so that it shows nothing".to_owned())),
        }
    }

    /// All that running it takes, and is built.
    fn build(&self, site: &Site) -> Result<(), Obstacle> {
        site.builds.tool("launch.c")?;
        if self.engine == Engine::OldKernel {
            site.builds.tool("old_kernel.c")?;
        }
        if self.test.injector {
            site.injector.library(&site.builds)?;
        }
        if self.test.killer {
            site.builds.tool(KILLER)?;
        }
        match (&self.test.program, self.reach) {
            (Some(source), Some(reach)) => site.builds.program(Path::new(source), reach).map(drop),
            _ => Ok(()),
        }
    }

    fn launch(&self, site: &Site, directory: &Path, files: &Path) -> Result<Ending, Obstacle> {
        let (report, output) = (files.join("report"), files.join("output"));
        let errno = self.filesystem.denied_with().map_or(0, |name| match name {
            "EOPNOTSUPP" => 95,
            "EISDIR" => 21,
            "ENOSYS" => 38,
            "EINVAL" => 22,
            _ => 2,
        });
        let launcher = site.builds.tool("launch.c")?;
        let sink = File::create(&output).and_then(|file| Ok((file.try_clone()?, file)));
        let (stdout, stderr) = sink.map_err(|error| Obstacle::Broken(format!("{}: {error}", output.display())))?;

        let mut command = Command::new(launcher);
        command.arg(&report).arg(self.time_limit(site).to_string());
        command.arg(self.test.user.map_or("-1".to_owned(), |user| user.to_string())).arg(errno.to_string());
        self.add_program(&mut command, site, directory)?;
        command.args(&self.test.args).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.env("TMPSHIM_STATE_DIR", files.join("state")).envs(&self.test.env);
        if let Some(seconds) = storm_seconds() {
            command.env("STORM_SECONDS", seconds.to_string());
        }

        let status = command.status().map_err(|error| Obstacle::Broken(format!("launch: {error}")))?;
        let read = |path: &Path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
        let (report, output) = match (read(&report), read(&output)) {
            (Ok(report), Ok(output)) if status.success() => (report, output),
            (_, output) => return Err(Obstacle::Broken(format!("launch: {status}\n{}", output.unwrap_or_default()))),
        };
        let mut lines = report.lines();
        Ok(Ending {
            how: lines.next().unwrap_or("no report").to_owned(),
            left_processes: lines.map(str::to_owned).collect(),
            output,
        })
    }

    fn time_limit(&self, site: &Site) -> u32 {
        self.test.time_limit * site.machine().patience() + storm_seconds().unwrap_or(0)
    }

    /// What comes after the launcher's own arguments, and the environment that goes with it.
    fn add_program(&self, command: &mut Command, site: &Site, directory: &Path) -> Result<(), Obstacle> {
        for (variable, _) in std::env::vars_os() {
            // Cargo sets LD_LIBRARY_PATH, which makes every program look for its libraries in odd places.
            let name = variable.as_encoded_bytes();
            if name.starts_with(b"TMPSHIM") || name == b"LD_PRELOAD" || name == b"LD_LIBRARY_PATH" {
                command.env_remove(variable);
            }
        }
        if let Some(script) = &self.test.script {
            command.arg(site.root.join(script)).arg(directory).current_dir(directory);
            command.env("TMPSHIM_LIBRARY", &site.artefacts.library).env("TMPSHIM_BIN", &site.artefacts.command);
            command.env("TMPSHIM_FS", self.filesystem.name()).env("CELL_ENGINE", self.engine.name());
            return Ok(());
        }
        let (Some(source), Some(reach)) = (&self.test.program, self.reach) else {
            return Err(Obstacle::Broken("neither a program nor a script".to_owned()));
        };
        let program = site.builds.program(Path::new(source), reach)?;
        let mut wrapped = self.engine.wrap(&site.artefacts, &site.builds)?;
        if self.test.injector {
            wrapped.preload.push(site.injector.library(&site.builds)?);
        }
        if self.test.killer {
            command.env("KILL_AT", site.builds.tool(KILLER)?);
        }
        // Not TMPSHIM_…: the library complains about such names where it does not know them.
        command.env("TESTED_COMMAND", &site.artefacts.command).env("TESTED_ENGINE", self.engine.name());
        command.args(wrapped.prefix).arg(program).arg(directory);
        if !wrapped.preload.is_empty() {
            let paths: Vec<OsString> = wrapped.preload.into_iter().map(PathBuf::into_os_string).collect();
            command.env("LD_PRELOAD", paths.join(":".as_ref()));
        }
        Ok(())
    }

    /// What a program that passes has to say, such as how much it has tried, goes to the file that `TMPSHIM_REPORT` names.
    fn report(&self, output: &str) {
        let Some(path) = std::env::var_os("TMPSHIM_REPORT").filter(|_| self.test.may_print) else { return };
        let name = self.name();
        let mut text = String::new();
        for line in output.lines() {
            let _ = writeln!(text, "{name}: {line}");
        }
        // One write, so that cells that end together do not mix their lines.
        let written =
            File::options().append(true).create(true).open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        if let Err(error) = written {
            eprintln!("matrix: {}: {error}", path.display());
        }
    }

    /// How the program must end, in the launcher's words.
    fn expected(&self) -> String {
        match self.test.expect_signal {
            Some(signal) => format!("signal {signal}"),
            None => format!("exit {}", self.test.expect_status),
        }
    }

    /// What is not as it must be after a program that works; empty if all is well.
    fn complaints(&self, ending: &Ending, directory: &Path, state: &Path) -> String {
        let mut complaints = String::new();
        let expected = self.expected();
        if ending.how != expected {
            let _ = writeln!(complaints, "ended with {}, not with {expected}", ending.how);
        }
        for process in &ending.left_processes {
            let _ = writeln!(complaints, "process {process}");
        }
        if self.test.script.is_some() {
            // A real program may leave what it likes; a name of ours may not be among it.
            if let Some(names) = names_until(|| ours_below(directory), Vec::is_empty) {
                let _ = writeln!(complaints, "left behind: {names:?}");
            }
        } else {
            if !ending.output.is_empty() && !self.test.may_print {
                complaints.push_str("printed something\n");
            }
            if let Some(names) = names_until(|| names_in(directory), |names| *names == self.test.leaves) {
                let _ = writeln!(complaints, "the directory holds {names:?}, and must hold {:?}", self.test.leaves);
            }
        }
        if let Some(names) = names_until(|| names_in(state), Vec::is_empty) {
            let _ = writeln!(complaints, "the state directory holds {names:?}");
        }
        if fs::read_to_string("/proc/self/mountinfo").is_ok_and(|table| mounted_below(&table, directory)) {
            complaints.push_str("something is mounted in the directory\n");
        }
        complaints
    }
}

/// For how long storms are to last, if not as long as they say themselves.
fn storm_seconds() -> Option<u32> {
    std::env::var("TMPSHIM_STORM_SECONDS").ok()?.parse().ok()
}

fn mounted_below(table: &str, directory: &Path) -> bool {
    table.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| Path::new(point).starts_with(directory))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return vec![format!("({error})")],
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn ours_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut to_read = vec![directory.to_owned()];
    while let Some(next) = to_read.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".tmpshim-") {
                found.push(entry.path().display().to_string());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                to_read.push(entry.path());
            }
        }
    }
    found
}

/// Reads the names until they are as wanted; after [`RELEASE`], the names that are still not.
fn names_until(read: impl Fn() -> Vec<String>, wanted: impl Fn(&Vec<String>) -> bool) -> Option<Vec<String>> {
    let deadline = Instant::now() + RELEASE;
    loop {
        let names = read();
        if wanted(&names) {
            return None;
        }
        if Instant::now() >= deadline {
            return Some(names);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
