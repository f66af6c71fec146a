//! The command line: parsed to plain data here, acted upon elsewhere.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tmpshim_core::settings::{Setting, TABLE, Values};

use crate::{ps, sweep};

/// What `tmpshim run` was asked to do.
#[derive(Debug)]
pub(crate) struct Run {
    /// How the program is to be reached.
    pub(crate) engine: Engine,
    /// Whether to run the program unchanged where that engine cannot be had.
    pub(crate) best_effort: bool,
    /// Whether the kernel may be asked to let only fatal signals interrupt a call that is being answered.
    pub(crate) killable: bool,
    /// What the program is to find as its own name.
    pub(crate) name: Option<OsString>,
    /// Environment variables of the library, from flags.
    pub(crate) settings: Vec<(&'static str, OsString)>,
    /// The program and its arguments; never empty.
    pub(crate) program: Vec<OsString>,
}

/// How a program is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// By what suits the program.
    Auto,
    /// By the library.
    Preload,
    /// By the supervisor.
    Notify,
}

/// The parser of the whole command.
pub(crate) fn command() -> Command {
    Command::new("tmpshim")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs programs that cannot be changed, on filesystems without O_TMPFILE and without leaking directories")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run_command())
        .subcommand(
            Command::new("library")
                .about("Write libtmpshim.so, which this command carries inside, to a file")
                .arg(
                    Arg::new("output")
                        .long("output")
                        .value_name("FILE")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("The file to write, replaced at once if it exists; - for standard output"),
                )
                .after_help("Exit codes: 0 written, 1 could not be written, 2 wrong usage."),
        )
        .subcommand(sweep_command())
        .subcommand(ps_command())
        .subcommand(
            Command::new("demo")
                .about("Show both problems and both cures on this machine, in half a minute, and leave nothing behind")
                .after_help(
                    "Exit codes: 0 every line is as promised, 1 a line is not, 2 wrong usage, 3 nothing could be shown \
                     on this machine. Ended by Ctrl-C it removes what it made and ends by the same signal.\n\
                     No privilege is needed. As root, with bindfs, mergerfs or fuse-overlayfs in PATH, it also uses a \
                     real FUSE mount, in a temporary directory of its own.",
                ),
        )
}

/// `--json` and `--state-dir`, of both.
fn lister(name: &'static str) -> Command {
    Command::new(name)
        .arg(
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object a line, for programs"),
        )
        .arg(
            Arg::new("state-dir")
                .long("state-dir")
                .value_name("DIR")
                .value_parser(
                    OsStringValueParser::new().try_map(|path| {
                        std::path::absolute(&path).map_err(|error| format!("no absolute path: {error}"))
                    }),
                )
                .help("Look only at this state directory"),
        )
}

fn sweep_command() -> Command {
    lister("sweep")
        .about("Remove what programs have left that were killed or could not clean up")
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Say what would be removed, and change nothing"),
        )
        .after_help(
            "Looks through this user's state directories: TMPSHIM_STATE_DIR, $XDG_RUNTIME_DIR/tmpshim, /run/tmpshim (root), \
             /dev/shm/tmpshim-UID. As root also through everyone else's, with the rights of their owners.\n\n\
             What a living program may still use is not touched. What has something mounted at or below it, in any mount \
             namespace that can be seen, is skipped.\n\n\
             With --json each line has \"event\": removed, would-remove, skipped (a program made it, and it stays), left \
             (of tmpshim's own, and it stays), living (a journal in use) or summary; and, where they apply, \"path\", \
             \"kind\" (directory or file), \"program\", \"pid\", \"uid\", \"journal\", \"why\"; the summary has \"counts\" of \
             \"directories\", \"files\", \"left\" and \"living\".\n\n\
             Exit codes: 0 all is done, also where there was nothing to do; 1 something had to be left; 2 wrong usage.",
        )
}

fn ps_command() -> Command {
    lister("ps").about("List the programs that live and what they have made").after_help(
        "Bytes are apparent sizes of files below the directories, links not followed and mounts not entered. As root \
         everyone's programs are listed.\n\n\
         With --json each line is a program: \"pid\", \"uid\", \"program\", \"age\" in seconds, \"bytes\", \"directories\" \
         (each with \"path\", and \"bytes\" where it is there), \"files\" (hidden names), \"journal\", \
         \"state_directory\"; \"state\" is living, or unknown where its processes cannot be seen from here.\n\n\
         Exit codes: 0 listed, also where there is none; 1 a state directory could not be looked into; 2 wrong usage.",
    )
}

/// What `tmpshim sweep` is to do.
pub(crate) fn sweep(matches: &ArgMatches) -> sweep::Options {
    sweep::Options { dry: matches.get_flag("dry-run"), json: matches.get_flag("json"), state: state(matches) }
}

/// What `tmpshim ps` is to do.
pub(crate) fn ps(matches: &ArgMatches) -> ps::Options {
    ps::Options { json: matches.get_flag("json"), state: state(matches) }
}

fn state(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one::<PathBuf>("state-dir").cloned()
}

fn run_command() -> Command {
    Command::new("run")
        .about("Run a program, see to its temporary files and directories, and end as it ends")
        .override_usage("tmpshim run [OPTIONS] [--] PROGRAM [ARGS]...")
        .arg(
            Arg::new("engine")
                .long("engine")
                .value_name("ENGINE")
                .value_parser(["auto", "preload", "notify"])
                .default_value("auto")
                .help(
                    "How the program is reached: notify by a seccomp supervisor, which sees every program's calls, preload \
                     by the library, for programs that use a shared libc, auto by both",
                ),
        )
        .arg(
            Arg::new("best-effort")
                .long("best-effort")
                .action(ArgAction::SetTrue)
                .help("Where the program cannot be reached, say so and run it unchanged"),
        )
        // For the library, which starts Go programs again under us (T9).
        .arg(Arg::new("arg0").long("arg0").value_name("NAME").hide(true).value_parser(value_parser!(OsString)))
        // For tests: as on Linux before 5.19.
        .arg(Arg::new("without-wait-killable").long("without-wait-killable").hide(true).action(ArgAction::SetTrue))
        .args(TABLE.iter().map(flag))
        .arg(
            Arg::new("program")
                .value_name("PROGRAM")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString))
                .help("The program, found as a shell finds it, and its arguments"),
        )
        .after_help(
            "A flag sets the environment variable of the same meaning for the program; without the flag, what the \
         environment says holds.\n\n\
         Exit codes: those of the program; if a signal ended it, tmpshim ends by the same signal (as PID 1: 128 plus \
         its number). 127 the program was not found, 126 it cannot be executed, 125 tmpshim itself failed, 2 wrong \
         usage.\n\n\
         The supervisor answers O_TMPFILE opens and linkat(2) of such files, and with --track follows mkdir, of static \
         programs, Go and all others alike; the library follows mkdtemp in programs that use a shared libc. Without \
         CAP_SYS_ADMIN a supervisor takes no_new_privs: set-uid programs below gain no rights. Where there can be none \
         (Linux before 5.14, a sandbox that forbids it), tmpshim says why; it then preloads the library, or, where that \
         does not reach the program, ends with 125, or with --best-effort runs the program unchanged.",
        )
}

/// The flag of a setting.
fn flag(setting: &'static Setting) -> Arg {
    let name = match setting.values {
        Values::Switch | Values::Tmpfile | Values::Cleanup => "WHEN",
        Values::Globs => "GLOBS",
        Values::Names => "NAMES",
        Values::Directory => "DIR",
        Values::Log => "stderr|FILE",
    };
    let words: Vec<_> = setting.values.words().filter_map(|word| str::from_utf8(word).ok()).collect();
    let parser = if words.is_empty() {
        ValueParser::new(OsStringValueParser::new().try_map(move |value| accepted(setting, value)))
    } else {
        ValueParser::new(PossibleValuesParser::new(words).map(OsString::from))
    };
    Arg::new(setting.flag)
        .long(setting.flag)
        .value_name(name)
        .value_parser(parser)
        .help(format!("{} [{}, default: {}]", setting.help, setting.variable, setting.default))
}

/// Makes relative paths absolute, since the program may go elsewhere before the library looks, and checks the value as
/// the library will.
fn accepted(setting: &'static Setting, value: OsString) -> Result<OsString, String> {
    let is_path = match setting.values {
        Values::Directory => !value.is_empty(),
        Values::Log => !value.is_empty() && value != "stderr",
        _ => false,
    };
    let value = if is_path {
        std::path::absolute(&value).map_err(|error| format!("no absolute path: {error}"))?.into_os_string()
    } else {
        value
    };
    if setting.values.accepts(value.as_bytes()) {
        Ok(value)
    } else {
        Err(format!("accepted: {}", setting.values.describe()))
    }
}

/// The file of `tmpshim library`.
pub(crate) fn output(matches: &ArgMatches) -> &Path {
    matches.get_one::<PathBuf>("output").expect("clap requires it")
}

/// What `tmpshim run` is to do.
pub(crate) fn run(matches: &ArgMatches) -> Run {
    let settings = TABLE.iter().filter_map(|setting| {
        let value = matches.get_one::<OsString>(setting.flag)?;
        Some((setting.variable, value.clone()))
    });
    let program = matches.get_many::<OsString>("program").expect("clap requires it").cloned();
    let engine = match matches.get_one::<String>("engine").map(String::as_str) {
        Some("auto") => Engine::Auto,
        Some("notify") => Engine::Notify,
        _ => Engine::Preload,
    };
    let killable = !matches.get_flag("without-wait-killable");
    let name = matches.get_one::<OsString>("arg0").cloned();
    let best_effort = matches.get_flag("best-effort");
    Run { engine, best_effort, killable, name, settings: settings.collect(), program: program.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Run, String> {
        let words = ["tmpshim", "run"].iter().chain(line);
        let matches = command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        Ok(run(matches.subcommand_matches("run").unwrap()))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_setting_is_a_flag_that_sets_its_variable() {
        for setting in &TABLE {
            let value = match setting.values {
                Values::Switch | Values::Tmpfile | Values::Cleanup => setting.default,
                Values::Globs | Values::Names => "a*:b",
                Values::Directory | Values::Log => "/x",
            };
            let run = parse(&[&format!("--{}", setting.flag), value, "--", "true"]).unwrap();
            assert_eq!(run.settings, [(setting.variable, OsString::from(value))]);
        }
    }

    #[test]
    fn the_engine_is_chosen_by_name() {
        for (line, engine, best_effort) in [
            (&["true"][..], Engine::Auto, false),
            (&["--engine", "auto", "true"], Engine::Auto, false),
            (&["--engine", "preload", "--best-effort", "true"], Engine::Preload, true),
            (&["--engine=notify", "true"], Engine::Notify, false),
        ] {
            let run = parse(line).unwrap();
            assert_eq!((run.engine, run.best_effort), (engine, best_effort));
        }
        assert!(parse(&["--engine", "magic", "true"]).unwrap_err().contains("notify"));
    }

    #[test]
    fn a_bad_value_names_flag_value_and_what_is_accepted() {
        let error = parse(&["--cleanup", "some", "--", "true"]).unwrap_err();
        for part in ["--cleanup", "some", "all", "empty", "failed", "off"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let error = parse(&["--only", &"x".repeat(4001), "--", "true"]).unwrap_err();
        assert!(error.contains("--only") && error.contains("4000"), "{error}");
    }

    #[test]
    fn relative_paths_become_absolute() {
        let run = parse(&["--log", "events", "--state-dir", "state", "true"]).unwrap();
        let here = std::env::current_dir().unwrap();
        assert!(run.settings.contains(&("TMPSHIM_LOG", here.join("events").into())));
        assert!(run.settings.contains(&("TMPSHIM_STATE_DIR", here.join("state").into())));
        let run = parse(&["--log", "stderr", "true"]).unwrap();
        assert_eq!(run.settings, [("TMPSHIM_LOG", OsString::from("stderr"))]);
    }

    #[test]
    fn the_programs_own_flags_stay_its_own() {
        let run = parse(&["--cleanup", "off", "ls", "--cleanup", "-l", "--", "x"]).unwrap();
        assert_eq!(run.program, ["ls", "--cleanup", "-l", "--", "x"]);
        assert!(parse(&[]).is_err());
    }
}
