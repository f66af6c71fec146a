//! `tmpshim run`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tmpshim_core::settings::{Setting, TABLE, Values};

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
    /// By the supervisor, as the listener of a filter.
    Notify,
    /// By the supervisor, as the tracer.
    Trace,
}

/// The parser.
pub(crate) fn command() -> Command {
    Command::new("run")
        .about("Run a program, see to its temporary files and directories, and end as it ends")
        .override_usage("tmpshim run [OPTIONS] [--] PROGRAM [ARGS]...")
        .arg(
            Arg::new("engine")
                .long("engine")
                .value_name("ENGINE")
                .value_parser(["auto", "preload", "notify", "trace"])
                .default_value("auto")
                .help(
                    "How the program is reached: notify by a seccomp supervisor, which sees every program's calls, trace \
                     by a supervisor that does the same with ptrace, preload by the library, for programs that use a \
                     shared libc, auto by a supervisor and the library",
                ),
        )
        .arg(
            Arg::new("best-effort")
                .long("best-effort")
                .action(ArgAction::SetTrue)
                .help("Where the program cannot be reached, say so and run it unchanged"),
        )
        // For the library, which starts Go programs again under us (T9); a login shell's name begins with a dash.
        .arg(
            Arg::new("arg0")
                .long("arg0")
                .value_name("NAME")
                .hide(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString)),
        )
        // For tests: as on Linux before 5.19.
        .arg(Arg::new("without-wait-killable").long("without-wait-killable").hide(true).action(ArgAction::SetTrue))
        .args(TABLE.iter().map(flag))
        .arg(
            Arg::new("program")
                .value_name("PROGRAM")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
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
         programs, Go and all others alike; the library follows mkdtemp in programs that use a shared libc. The kernel \
         tells the supervisor of these calls by notify (Linux 5.14), or, where auto cannot have that, by trace (Linux \
         4.8): then no debugger can trace the program. Without CAP_SYS_ADMIN a supervisor takes no_new_privs, and trace \
         without CAP_SYS_PTRACE costs the same: set-uid programs below gain no rights. Where there can be none (Linux \
         before 4.8, a sandbox that forbids it), tmpshim says why; it then preloads the library, or, where that does not \
         reach the program, ends with 125, or with --best-effort runs the program unchanged.",
        )
}

/// What `tmpshim run` is to do.
pub(crate) fn parsed(matches: &ArgMatches) -> Run {
    let settings = TABLE.iter().filter_map(|setting| {
        let value = matches.get_one::<OsString>(setting.flag)?;
        Some((setting.variable, value.clone()))
    });
    let program = matches.get_many::<OsString>("program").expect("clap requires it").cloned();
    let engine = match matches.get_one::<String>("engine").map(String::as_str) {
        Some("auto") => Engine::Auto,
        Some("notify") => Engine::Notify,
        Some("trace") => Engine::Trace,
        _ => Engine::Preload,
    };
    let killable = !matches.get_flag("without-wait-killable");
    let name = matches.get_one::<OsString>("arg0").cloned();
    let best_effort = matches.get_flag("best-effort");
    Run { engine, best_effort, killable, name, settings: settings.collect(), program: program.collect() }
}

/// The flag of a setting.
fn flag(setting: &'static Setting) -> Arg {
    let name = match setting.values {
        Values::Switch | Values::Tmpfile | Values::Cleanup => "WHEN",
        Values::Globs => "GLOBS",
        Values::Names => "NAMES",
        Values::Directory => "DIR",
        Values::Log => "stderr|stdout|FILE",
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
        Values::Log => !value.is_empty() && value != "stderr" && value != "stdout",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::command as whole;

    fn parse(line: &[&str]) -> Result<Run, String> {
        let words = ["tmpshim", "run"].iter().chain(line);
        let matches = whole().try_get_matches_from(words).map_err(|error| error.to_string())?;
        Ok(parsed(matches.subcommand_matches("run").unwrap()))
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
            (&["--engine", "trace", "true"], Engine::Trace, false),
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
        for stream in ["stderr", "stdout"] {
            let run = parse(&["--log", stream, "true"]).unwrap();
            assert_eq!(run.settings, [("TMPSHIM_LOG", OsString::from(stream))]);
        }
    }

    #[test]
    fn the_programs_own_flags_stay_its_own() {
        let run = parse(&["--cleanup", "off", "ls", "--cleanup", "-l", "--", "x"]).unwrap();
        assert_eq!(run.program, ["ls", "--cleanup", "-l", "--", "x"]);
        assert!(parse(&[]).is_err());
        let run = parse(&["--arg0", "-login", "--", "ls"]).unwrap();
        assert_eq!((run.name, run.program), (Some(OsString::from("-login")), vec![OsString::from("ls")]));
    }
}
