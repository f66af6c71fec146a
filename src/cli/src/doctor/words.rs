//! Sizes as people write them, and words as a shell takes them.

use std::path::Path;

/// For people.
pub(super) fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = "bytes";
    let (mut tenths, mut rest) = (count.saturating_mul(10), units.iter());
    if count < 1024 {
        return format!("{count} {unit}");
    }
    while tenths >= 10_240 {
        let Some(next) = rest.next() else { break };
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// For a shell.
pub(super) fn quoted(path: &Path) -> String {
    quoted_word(&path.to_string_lossy())
}

/// For a shell.
pub(super) fn quoted_word(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+=:,@%".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_words_are_written_as_people_write_them() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(64 << 20)],
            ["0 bytes", "1023 bytes", "1.5 KiB", "64.0 MiB"]
        );
        assert_eq!(quoted(Path::new("/a-b/c.d")), "/a-b/c.d");
        assert_eq!([quoted_word("a b"), quoted_word("it's"), quoted_word("")], ["'a b'", r"'it'\''s'", "''"]);
    }
}
