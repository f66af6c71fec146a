//! The command line: parsed to plain data here, acted upon elsewhere.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgMatches, Command, value_parser};
use tmpshim_core::settings::{Setting, TABLE, Values};

/// What `tmpshim run` was asked to do.
#[derive(Debug)]
pub(crate) struct Run {
    /// Environment variables of the library, from flags.
    pub(crate) settings: Vec<(&'static str, OsString)>,
    /// The program and its arguments; never empty.
    pub(crate) program: Vec<OsString>,
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

fn run_command() -> Command {
    Command::new("run")
        .about("Run a program with the library preloaded, and end as it ends")
        .override_usage("tmpshim run [OPTIONS] [--] PROGRAM [ARGS]...")
        .arg(
            Arg::new("engine")
                .long("engine")
                .value_name("ENGINE")
                .value_parser(["preload"])
                .default_value("preload")
                .help("How the program is reached: preload for programs that use a shared libc"),
        )
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
         Static programs, set-uid programs and Go do not take their opens from a preloaded library; tmpshim says so \
         and runs them unchanged. The supervised engine, which reaches them, is not part of this version.",
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
    Run { settings: settings.collect(), program: program.collect() }
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
