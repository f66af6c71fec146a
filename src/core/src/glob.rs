//! Shell globs over a basename or an absolute path: `*`, `?`, `[a-z]`, `[!a-z]`, `\` before any character.
//!
//! As in glob(7), except that one pattern with a slash is matched against the whole path, there too `*` matches a slash
//! (`/var/tmp/*` is everything below), and one without is matched against the last component.

/// Whether `pattern` matches the whole of `text`. Linear space, at most `pattern.len() * text.len()` steps: one star is
/// remembered at a time, which is enough because a later star can always take over what an earlier one would give up.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut left) = (pattern, text);
    let mut resume: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', after)) = rest.split_first().map(|(first, after)| (*first, after)) {
            resume = Some((after, left));
            rest = after;
            continue;
        }
        match (step(rest, left.first().copied()), left.split_first()) {
            (Step::End, None) => return true,
            (Step::Matched(after), Some((_, tail))) => {
                rest = after;
                left = tail;
                continue;
            }
            _ => {}
        }
        let Some((after, (_, tail))) = resume.and_then(|(after, from)| Some((after, from.split_first()?))) else {
            return false;
        };
        resume = Some((after, tail));
        rest = after;
        left = tail;
    }
}

enum Step<'a> {
    /// The pattern is used up.
    End,
    /// One byte matched; the pattern goes on here.
    Matched(&'a [u8]),
    /// No match.
    No,
}

fn step(pattern: &[u8], byte: Option<u8>) -> Step<'_> {
    let Some((&first, after)) = pattern.split_first() else { return Step::End };
    let Some(byte) = byte else { return Step::No };
    match (first, after.split_first()) {
        (b'?', _) => Step::Matched(after),
        (b'\\', Some((&literal, after))) => {
            if literal == byte {
                Step::Matched(after)
            } else {
                Step::No
            }
        }
        (b'[', _) => class(after, byte).unwrap_or(if byte == b'[' { Step::Matched(after) } else { Step::No }),
        _ => {
            if first == byte {
                Step::Matched(after)
            } else {
                Step::No
            }
        }
    }
}

/// A bracket expression behind its `[`; nothing where it is not closed, and then `[` stands for itself.
fn class(pattern: &[u8], byte: u8) -> Option<Step<'_>> {
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'!' | b'^', after)) => (true, after),
        _ => (false, pattern),
    };
    let (mut found, mut first) = (false, true);
    loop {
        let (&low, after) = rest.split_first()?;
        if low == b']' && !first {
            return Some(if found == negated { Step::No } else { Step::Matched(after) });
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
    let base = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    globs.split(|&byte| byte == b':').filter(|glob| !glob.is_empty()).any(|glob| {
        let text = if glob.contains(&b'/') { path } else { base };
        matches(glob, text)
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
}
