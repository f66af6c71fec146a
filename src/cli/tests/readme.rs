//! The settings in the README are those of the table in the code.

use std::path::Path;

use tmpshim_core::settings::{HAND_OVER, Setting, TABLE};

const HEAD: &str = "| variable | flag | values | default | meaning |\n|---|---|---|---|---|\n";

fn row(setting: &Setting) -> String {
    let words: Vec<_> = setting.values.words().map(|word| format!("`{}`", String::from_utf8_lossy(word))).collect();
    let values = if words.is_empty() { setting.values.describe().to_owned() } else { words.join(", ") };
    let (variable, flag, default, help) = (setting.variable, setting.flag, setting.default, setting.help);
    format!("| `{variable}` | `--{flag}` | {values} | {default} | {help} |\n")
}

/// Where the README differs, `UPDATE=1 cargo test -p tmpshim --test readme` puts it right.
#[test]
fn the_readmes_settings_are_those_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(HEAD).expect("the README has a table of settings");
    for name in HAND_OVER.split(|&byte| byte == b':').map(String::from_utf8_lossy) {
        assert!(readme.contains(&format!("`{name}`")), "the README names no program {name}");
    }
    let seen: String = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    let expected: String = TABLE.iter().map(row).collect();
    if seen == expected {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{HEAD}{expected}{}", &rest[seen.len()..])).unwrap();
        return;
    }
    panic!(
        "the README's table of settings is to be\n{HEAD}{expected}and is\n{HEAD}{seen}: \
         run `UPDATE=1 cargo test -p tmpshim --test readme`"
    );
}
