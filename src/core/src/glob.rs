//! Shell globs over a basename or an absolute path: `*`, `?`, `[a-z]`, `[!a-z]`, `\` before any character.
//!
//! As in glob(7), except that one pattern with a slash is matched against the whole path, there too `*` matches a slash
//! (`/var/tmp/*` is everything below), and one without is matched against the last component.

use crate::text::{Parts, last_component};

/// Whether `pattern` matches the whole of `text`. Linear space, at most `pattern.len() * text.len()` steps: one star is
/// remembered at a time, which is enough because a later star can always take over what an earlier one would give up.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut left) = (pattern, text);
    let mut resume: Option<(&[u8], &[u8])> = None;
    // As long as the rest of the pattern that begins with a `[` which nothing closes.
    let mut open = 0;
    loop {
        if let [b'*', after @ ..] = rest {
            resume = Some((after, left));
            rest = after;
            continue;
        }
        // Between two stars each step takes one byte, so a later start would run out of text as well.
        let Some((&byte, tail)) = left.split_first() else { return rest.is_empty() };
        if let Some(after) = step(rest, byte, &mut open) {
            rest = after;
            left = tail;
            continue;
        }
        let Some((after, [_, tail @ ..])) = resume else { return false };
        resume = Some((after, tail));
        rest = after;
        left = tail;
    }
}

/// Where the pattern goes on if what it begins with matches `byte`. Where a `[` is not closed, none behind it is: `open`
/// keeps that, so that not each of them is followed to the end of the pattern.
#[inline(never)]
fn step<'a>(pattern: &'a [u8], byte: u8, open: &mut usize) -> Option<&'a [u8]> {
    let (&first, after) = pattern.split_first()?;
    if first == b'[' && pattern.len() > *open {
        match class(after, byte) {
            Some((matched, after)) => return matched.then_some(after),
            None => *open = pattern.len(),
        }
    }
    let (wanted, after) = match (first, after) {
        (b'?', _) => (byte, after),
        (b'\\', [literal, after @ ..]) => (*literal, after),
        _ => (first, after),
    };
    (wanted == byte).then_some(after)
}

/// A bracket expression behind its `[`, whether it matches and what follows it; nothing where it is not closed, and then
/// `[` stands for itself.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'!' | b'^', after)) => (true, after),
        _ => (false, pattern),
    };
    let (mut found, mut first) = (false, true);
    loop {
        let (&low, after) = rest.split_first()?;
        if low == b']' && !first {
            return Some((found != negated, after));
        }
        first = false;
        rest = after;
        let high = match after {
            [b'-', high, after @ ..] if *high != b']' => {
                rest = after;
                *high
            }
            _ => low,
        };
        found |= (low..=high).contains(&byte);
    }
}

/// Whether `path`, absolute, is meant by one of the colon-separated `globs`.
pub fn any_matches(globs: &[u8], path: &[u8]) -> bool {
    let base = last_component(path);
    Parts::new(globs, b':').filter(|glob| !glob.is_empty()).any(|glob| {
        let has_slash = Parts::new(glob, b'/').nth(1).is_some();
        matches(glob, if has_slash { path } else { base })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_globs_match_as_a_shell_would() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**a**b", "xaxb", true),
            ("*a*a*a", "aaa", true),
            ("*a*a*a*a", "aaa", false),
            ("*ab", "aab", true),
            ("*abc", "abab", false),
            ("*ab*", "aab", true),
            ("[ab", "a", false),
            ("[ab]", "", false),
            ("?", "", false),
            ("a\\", "a", false),
            ("a-[x-]", "a--", true),
            ("\\", "\\", true),
            ("[z-a]", "m", false),
            (".criu.temp-aa-policy.*", ".criu.temp-aa-policy.Xy12zz", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} against {text}");
        }
    }

    #[test]
    fn d1_a_slash_means_the_whole_path() {
        assert!(any_matches(b"x:/tmp/*", b"/tmp/a/b"));
        assert!(any_matches(b"b*", b"/tmp/a/base"));
        assert!(!any_matches(b"a*", b"/tmp/a/base"));
        assert!(!any_matches(b"", b"/tmp/a"));
        assert!(!any_matches(b"::", b"/tmp/a"));
    }

    #[test]
    fn many_stars_stay_quick() {
        let text = [b'a'; 4096];
        let pattern: Vec<u8> = b"*a".iter().copied().cycle().take(400).chain(*b"b").collect();
        assert!(!matches(&pattern, &text));
    }

    #[test]
    fn many_open_brackets_stay_quick() {
        // Each of them followed to the end would take minutes.
        let start = std::time::Instant::now();
        let pattern = [&b"*"[..], &[b'['; 4000]].concat();
        let text = [&[b'['; 4000][..], b"x"].concat();
        assert!(!matches(&pattern, &text));
        assert!(matches(&[&pattern, &b"*"[..]].concat(), &text));
        assert!(start.elapsed().as_secs() < 60);
        assert!(matches(b"*[a][b", b"a[a[b"));
        assert!(!matches(b"*[a][b", b"[a][c"));
    }
}
