//! The completions of bash, zsh and fish, made from the parser.

use clap::builder::Str;
use clap::{Arg, Command, ValueHint};
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, Zsh};

use super::Shell;

/// The script that a shell reads.
pub(crate) fn of(shell: Shell, command: &Command) -> Vec<u8> {
    let mut command = shown(command);
    let mut script = Vec::new();
    match shell {
        Shell::Bash => {
            generate(Bash, &mut command, "tmpshim", &mut script);
            script.extend(include_bytes!("program.bash"));
        }
        Shell::Zsh => generate(Zsh, &mut command, "tmpshim", &mut script),
        Shell::Fish => {
            generate(Fish, &mut command, "tmpshim", &mut script);
            script.extend(command.get_subcommands().flat_map(words_for_fish).collect::<String>().bytes());
            script.extend(include_bytes!("program.fish"));
        }
    }
    script
}

/// The command as people see it: bash's script would offer hidden flags as well.
fn shown(command: &Command) -> Command {
    let bare = Command::new(command.get_name().to_owned()).subcommand_required(command.is_subcommand_required_set());
    let bare = command.get_version().into_iter().fold(bare, |bare, version| bare.version(version.to_owned()));
    bare.about(command.get_about().cloned().unwrap_or_default())
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned().map(hinted))
        .subcommands(command.get_subcommands().filter(|command| !command.is_hide_set()).map(shown))
}

/// The words that may stand without a flag, which the crate leaves out for fish.
fn words_for_fish(command: &Command) -> Vec<String> {
    let words = command.get_positionals().map(|arg| {
        let values = arg.get_possible_values();
        values.iter().map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(" ")
    });
    let condition = format!("__fish_tmpshim_using_subcommand {}", command.get_name());
    let lines = words.filter(|words| !words.is_empty());
    lines.map(|words| format!("complete -c tmpshim -n \"{condition}\" -f -a \"{words}\"\n")).collect()
}

/// Tells the shell what a value is. The name that people are shown says it.
fn hinted(arg: Arg) -> Arg {
    let is_program = arg.is_trailing_var_arg_set();
    let names = arg.get_value_names().unwrap_or_default();
    let hint = match names.first().map(Str::as_str) {
        Some("PROGRAM") if is_program => ValueHint::CommandWithArguments,
        Some("DIR") => ValueHint::DirPath,
        Some("USER") => ValueHint::Username,
        Some(name) if name.split(['|', ' ']).any(|word| matches!(word, "FILE" | "LOG" | "PATH")) => ValueHint::AnyPath,
        _ => return arg,
    };
    arg.value_hint(hint)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command as Process, Stdio};

    use clap::builder::PossibleValue;

    use super::*;

    fn script(shell: Shell) -> String {
        String::from_utf8(of(shell, &crate::arguments::command())).unwrap()
    }

    /// What a shell prints that runs `commands`; words of `COMPLETIONS` in them are replaced by the script's path.
    fn run(shell: Shell, name: &str, options: &[&str], commands: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("_tmpshim");
        std::fs::write(&file, script(shell)).unwrap();
        let at = |path: &Path| path.to_str().unwrap().to_owned();
        let commands = commands.replace("COMPLETIONS", &at(&file)).replace("DIRECTORY", &at(directory.path()));
        let output = Process::new("timeout")
            .args(["60", name])
            .args(options)
            .args(["-c", &commands])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", directory.path())
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name} (scripts/setup installs it): {:?}, {said}", output.status);
        assert_eq!(said, "", "{name} {commands}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command lines to complete, the last word not finished, and what must be offered for it.
    fn lines() -> Vec<(Vec<String>, Vec<String>)> {
        let mut command = crate::arguments::command();
        command.build();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let mut lines = vec![(words(&["sw"]), words(&["sweep"])), (words(&["man", "lib"]), words(&["libtmpshim"]))];
        // The words of the program, with and without options before.
        lines.push((words(&["run", "--", "mkfif"]), words(&["mkfifo"])));
        lines.push((words(&["run", "--cleanup", "off", "--", "mkfif"]), words(&["mkfifo"])));
        for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let name = subcommand.get_name();
            lines.push((words(&[""]), words(&[name])));
            for arg in subcommand.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(flag) = arg.get_long().map(|long| format!("--{long}")) else { continue };
                lines.push((words(&[name, &flag[..flag.len() - 1]]), words(&[&flag])));
                if arg.get_num_args().is_some_and(|number| number.takes_values()) {
                    let values = arg.get_possible_values();
                    let values: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
                    if !values.is_empty() {
                        lines.push((words(&[name, &flag, ""]), words(&values)));
                    }
                }
            }
        }
        assert!(lines.len() > 20);
        lines
    }

    /// One shell is asked for all lines, `ask` being its way to do so; an answer a line, a `.` after each list.
    fn answers(shell: Shell, name: &str, options: &[&str], begin: &str, ask: impl Fn(&[String], &[String]) -> String) {
        let lines = lines();
        let questions: Vec<_> = lines.iter().map(|(line, words)| ask(line, words)).collect();
        let seen = run(shell, name, options, &format!("{begin}\n{}", questions.join("\n")));
        let answers: Vec<Vec<&str>> = seen.split(".\n").map(|answer| answer.lines().collect()).collect();
        assert_eq!(answers.len(), lines.len() + 1, "{seen}");
        for ((line, expected), answer) in lines.iter().zip(answers) {
            for word in expected {
                assert!(answer.contains(&word.as_str()), "{name}: {line:?} must offer {word}, offers {answer:?}");
            }
        }
    }

    #[test]
    fn bash_completes_every_command_flag_and_value() {
        answers(Shell::Bash, "bash", &["--norc"], "source COMPLETIONS", |line, _| {
            let words: Vec<_> = line.iter().map(|word| format!("'{word}'")).collect();
            let before = line.iter().rev().nth(1).map_or("tmpshim", String::as_str);
            format!(
                "COMP_WORDS=(tmpshim {}); COMP_CWORD={}; COMPREPLY=(); _tmpshim_program tmpshim '{}' '{before}'; \
                 printf '%s\\n' \"${{COMPREPLY[@]}}\" .",
                words.join(" "),
                line.len(),
                line.last().unwrap(),
            )
        });
    }

    #[test]
    fn fish_completes_every_command_flag_and_value() {
        answers(Shell::Fish, "fish", &["--no-config"], "source COMPLETIONS", |line, _| {
            format!("complete -C 'tmpshim {}' | string replace -r '\\t.*' ''; echo .", line.join(" "))
        });
    }

    /// In a real zsh with a terminal of its own: the word is there in full after the tabulator.
    #[test]
    fn zsh_completes_every_command_flag_and_value() {
        answers(Shell::Zsh, "zsh", &["-f"], include_str!("ask.zsh"), |line, words| {
            format!("ask 'tmpshim {}' {}", line.join(" "), words.join(" "))
        });
    }

    #[test]
    fn hidden_flags_are_not_offered() {
        let mut command = crate::arguments::command();
        command.build();
        let hidden = command.get_subcommands().flat_map(Command::get_arguments).filter(|arg| arg.is_hide_set());
        let hidden: Vec<_> = hidden.filter_map(Arg::get_long).collect();
        assert!(hidden.contains(&"arg0"));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            for flag in &hidden {
                assert!(!script(shell).contains(flag), "{flag} in {shell:?}");
            }
        }
    }
}
