//! The manual pages: what is written by hand lies in tmpshim.1 and libtmpshim.7 beside this file; the synopsis, the
//! commands and the settings are put in where a line of theirs says so.

use clap::builder::PossibleValue;
use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use tmpshim_core::settings::{HAND_OVER, Setting, TABLE, Values};

use super::Page;

/// The whole page, in roff.
pub(crate) fn page(page: Page, command: Command) -> String {
    let text = match page {
        Page::Command => include_str!("tmpshim.1"),
        Page::Library => include_str!("libtmpshim.7"),
    };
    // `help` says nothing that is not here, and --help need not stand at each command.
    let mut command = command.disable_help_subcommand(true).mut_subcommands(|command| command.disable_help_flag(true));
    command.build();
    let parts: [(&str, &dyn Fn() -> String); 6] = [
        (".\\\" SYNOPSIS", &|| synopsis(&command)),
        (".\\\" COMMANDS", &|| command.get_subcommands().map(subcommand).collect()),
        (".\\\" OPTIONS", &|| options(&command)),
        (".\\\" SETTINGS", &|| TABLE.iter().map(setting).collect()),
        (".\\\" PROGRAMS", &programs),
        (".\\\" TITLE", &|| title(page, &command)),
    ];
    let mut whole = String::new();
    for line in text.split_inclusive('\n') {
        match parts.iter().find(|(name, _)| *name == line.trim_end()) {
            Some((_, part)) => whole += &part(),
            None => whole += line,
        }
    }
    whole
}

/// The page's head. It has no date: the page is of a version, and the same bytes whenever it is made.
fn title(page: Page, command: &Command) -> String {
    let (title, section, manual) = match page {
        Page::Command => ("TMPSHIM", "1", "User Commands"),
        Page::Library => ("LIBTMPSHIM", "7", "Miscellaneous Information Manual"),
    };
    // Written out, because the crate leaves an empty argument away. What it puts in front of a page defines an apostrophe.
    let version = command.get_version().unwrap_or_default();
    Roff::new().render() + &format!(".TH {title} {section} \"\" \"tmpshim {version}\" \"{manual}\"\n")
}

/// A line for each command, as its --help has it.
fn synopsis(command: &Command) -> String {
    let lines = command.get_subcommands().map(|subcommand| {
        let usage = subcommand.clone().render_usage().to_string();
        let name = subcommand.get_bin_name().unwrap_or_default();
        let rest = usage.trim_start_matches("Usage: ").strip_prefix(name).unwrap_or_default().trim_end();
        Roff::new().text([bold(name), roman(rest)]).to_roff()
    });
    lines.collect::<Vec<_>>().join(".br\n")
}

/// One command: what it does, its options, and what --help says below them.
fn subcommand(command: &Command) -> String {
    let mut text = Roff::new();
    text.control("SS", [command.get_bin_name().unwrap_or_default()]);
    text.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default() + ".")]);
    let mut text = text.to_roff() + &options(command);
    let more = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    for paragraph in more.split('\n').filter(|paragraph| !paragraph.is_empty()) {
        text += &Roff::new().control("PP", []).text([roman(paragraph)]).to_roff();
    }
    text
}

fn options(command: &Command) -> String {
    let command = command.clone().mut_args(in_a_sentence);
    let text = rendered(|text| Man::new(command).render_options_section(text));
    without_heading(&text).to_owned()
}

/// The accepted values as a part of the help: a list of them would take more room than all the rest.
fn in_a_sentence(arg: Arg) -> Arg {
    let values = arg.get_possible_values();
    if arg.is_hide_possible_values_set() || values.is_empty() || !arg.get_num_args().is_some_and(|n| n.takes_values()) {
        return arg;
    }
    let names: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).map(PossibleValue::get_name).collect();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help}; one of {}", names.join(", "))).hide_possible_values(true)
}

/// One setting, as an environment variable.
fn setting(setting: &Setting) -> String {
    let words: Vec<_> = setting.values.words().filter_map(|word| str::from_utf8(word).ok()).collect();
    let value = match setting.values {
        Values::Globs => "GLOBS".to_owned(),
        Values::Names => "NAMES".to_owned(),
        Values::Directory => "DIRECTORY".to_owned(),
        _ if words.is_empty() => "VALUE".to_owned(),
        _ => words.join("|"),
    };
    let sentence = |text: &str| format!("{text}. ");
    Roff::new()
        .control("TP", [])
        .text([bold(setting.variable), roman("="), italic(value)])
        .text([
            roman(capital(setting.help) + ". "),
            roman(sentence(&format!("Accepted: {}", setting.values.describe()))),
            roman(sentence(&format!("Default: {}", setting.default))),
            roman("Flag: "),
            bold(format!("--{}", setting.flag)),
            roman("."),
        ])
        .to_roff()
}

/// The programs whose directories are never tracked.
fn programs() -> String {
    let mut line = Vec::<Inline>::new();
    for name in HAND_OVER.split(|&byte| byte == b':') {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.push(bold(String::from_utf8_lossy(name)));
    }
    line.push(roman("."));
    Roff::new().text(line).to_roff()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// What a page's part renders to. Memory takes everything.
fn rendered(part: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    part(&mut text).expect("memory can be written");
    String::from_utf8(text).expect("roff is text")
}

/// Without the section's heading and what stands before it.
fn without_heading(text: &str) -> &str {
    text.split_once("\n.SH ").and_then(|(_, rest)| rest.split_once('\n')).map_or("", |(_, body)| body)
}

#[cfg(test)]
mod tests {
    use std::process::{Command as Process, Stdio};

    use super::*;

    fn text(of: Page) -> String {
        page(of, crate::arguments::command())
            .replace("\\-", "-")
            .replace("\\fR", "")
            .replace("\\fB", "")
            .replace("\\fI", "")
    }

    /// Every part is there: no line that stands for one is left.
    #[test]
    fn every_part_is_put_in() {
        for page in [Page::Command, Page::Library] {
            let text = text(page);
            for part in ["TITLE", "SYNOPSIS", "COMMANDS", "OPTIONS", "SETTINGS", "PROGRAMS"] {
                assert!(!text.contains(&format!(".\\\" {part}")), "{part} of {page:?}");
            }
            assert!(text.contains(concat!("\"tmpshim ", env!("CARGO_PKG_VERSION"), "\"")));
        }
    }

    #[test]
    fn every_flag_of_every_command_is_in_the_commands_page() {
        let text = text(Page::Command);
        let mut command = crate::arguments::command();
        command.build();
        let mut flags = 0;
        for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let name = subcommand.get_bin_name().unwrap();
            let (_, section) = text.split_once(&format!(".SS \"{name}\"\n")).unwrap_or_else(|| panic!("no {name}"));
            let section = section.split("\n.S").next().unwrap();
            assert!(section.contains(&subcommand.get_about().unwrap().to_string()), "what {name} does");
            for arg in subcommand.get_arguments().filter(|arg| arg.get_id() != "help") {
                let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
                let shown = arg.get_long().map_or_else(
                    || arg.get_value_names().unwrap()[0].to_string(),
                    |long| format!(".TP\n{short}--{long}"),
                );
                assert_ne!(section.contains(&shown), arg.is_hide_set(), "{shown} of {name}");
                flags += usize::from(!arg.is_hide_set());
                if arg.get_num_args().unwrap().takes_values() && !arg.is_hide_set() {
                    for value in arg.get_possible_values() {
                        assert!(section.contains(value.get_name()), "{} of {shown} of {name}", value.get_name());
                    }
                }
            }
        }
        assert!(flags > TABLE.len());
    }

    #[test]
    fn every_setting_is_in_both_pages() {
        for page in [Page::Command, Page::Library] {
            let text = text(page);
            for setting in &TABLE {
                let (_, part) = text.split_once(&format!(".TP\n{}=", setting.variable)).expect(setting.variable);
                let part = part.split(".TP").next().unwrap();
                let lower = part.to_lowercase();
                assert!(lower.contains(&setting.help.to_lowercase()), "{part}");
                for said in [setting.values.describe(), setting.default, setting.flag] {
                    assert!(part.contains(said), "{said} in {part}");
                }
            }
        }
    }

    #[test]
    fn every_event_is_in_the_librarys_page() {
        let text = text(Page::Library);
        let (_, section) = text.split_once(".SH LOG\n").unwrap();
        let words = str::from_utf8(tmpshim_core::event::WORDS).unwrap();
        for (number, word) in words.split('\n').enumerate().filter(|(_, word)| !word.is_empty()) {
            let is_event = number % 2 == 0;
            let shown = if is_event { format!(".B {word}\n") } else { word.split(':').next().unwrap().to_owned() };
            assert!(section.contains(&shown) || word.contains("`tmpshim run`"), "{word}");
        }
    }

    /// man(1) and mandoc(1) have nothing to say against the pages.
    #[test]
    fn the_pages_are_rendered_without_a_warning() {
        for of in [Page::Command, Page::Library] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, page(of, crate::arguments::command()).as_bytes()).unwrap();
            let man: &[&str] = &["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"];
            for checker in [man, &["mandoc", "-T", "lint", "-W", "warning"]] {
                let output = Process::new(checker[0])
                    .args(&checker[1..])
                    .arg(file.path())
                    .env("LC_ALL", "C.UTF-8")
                    .env("MANROFFSEQ", "")
                    .env("MANWIDTH", "80")
                    .stdin(Stdio::null())
                    .output()
                    .unwrap_or_else(|error| panic!("{}, which scripts/setup installs: {error}", checker[0]));
                let is_man = checker[0] == "man";
                let said = String::from_utf8(if is_man { output.stderr } else { output.stdout }).unwrap();
                let objections: Vec<_> = said.lines().filter(|line| !line.contains("missing date")).collect();
                assert!(objections.is_empty() && (output.status.success() || !is_man), "{of:?}: {objections:?}");
            }
        }
    }
}
