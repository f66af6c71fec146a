//! Directories that mkdtemp(3) has made and nobody has removed: many of one name but for its six random letters. CRIU's
//! `.criu.temp-aa-policy.XXXXXX` are such.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use serde_json::json;

use super::child::Teller;
use super::directory::Context;
use super::finding::{Cure, Finding, Name, Verdict};
use super::words::{quoted, quoted_word};

/// How many of one name nobody keeps on purpose.
const MANY: u64 = 100;

/// How many names are looked at.
const MOST: usize = 1_000_000;

/// Counts them. Only names are read; which of them are in use, a sweep finds out.
pub(super) fn look(directory: BorrowedFd<'_>, path: &Path, context: &Context, teller: &mut Teller) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Without the right to list it there is nothing to be counted.
    let Ok(listing) = openat(directory, c".", flags, Mode::empty()) else { return };
    let Ok(entries) = Dir::new(listing) else { return };
    let mut counts: HashMap<String, u64> = HashMap::new();
    for entry in entries.flatten().take(MOST) {
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
            && let Some(stem) = entry.file_name().to_str().ok().and_then(stem)
        {
            // Most names are new ones, and a text for each of those would be thrown away.
            match counts.get_mut(stem) {
                Some(count) => *count += 1,
                None => drop(counts.insert(stem.to_owned(), 1)),
            }
        }
    }
    let mut many: Vec<_> = counts.into_iter().filter(|(_, count)| *count >= MANY).collect();
    many.sort_by(|(one, few), (other, more)| more.cmp(few).then(one.cmp(other)));
    for (stem, count) in many.into_iter().take(3) {
        let glob = format!("{stem}*");
        let found = format!("{count} directories {stem}XXXXXX");
        teller.find(Finding::new(Name::Left, Verdict::Beware, found).with(json!({ "glob": glob, "count": count })));
        teller.cure(Cure::new(
            "to see which of them nobody uses; without --dry-run they are removed:",
            format!("{} sweep --dry-run --match {} {}", context.command, quoted_word(&glob), quoted(path)),
        ));
    }
}

/// What is in front of six random letters; nothing where the name has not this form. Letters that mean something in a glob
/// are left out, as no program has them there.
fn stem(name: &str) -> Option<&str> {
    let (stem, letters) = name.split_at_checked(name.len().checked_sub(6)?)?;
    let is_apart = stem.ends_with(['.', '-', '_']) && stem.len() > 2;
    let is_random = letters.bytes().all(|letter| letter.is_ascii_alphanumeric());
    (is_apart && is_random && !stem.contains(['*', '?', '[', '\\', '/'])).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mkdtemp_are_known_by_their_last_six_letters() {
        assert_eq!(stem(".criu.temp-aa-policy.aB3xYz"), Some(".criu.temp-aa-policy."));
        assert_eq!(stem("tmp_123456"), Some("tmp_"));
        for name in ["", "aB3xYz", ".aB3xYz", "plain", "longer", "x-aB3x.z", "x*-aB3xYz", "nameaB3xYz", "é-äöüßab"]
        {
            assert_eq!(stem(name), None, "{name}");
        }
    }
}
