//! What must hold for any globs and any path, in the fuzzer and in the tests that replay its corpus.

use crate::quick::quick;
use std::time::Duration;
use tmpshim_core::glob::{any_matches, matches};

/// `input` is a pattern, a NUL and a text: neither can hold a NUL anywhere else.
pub(crate) fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |&byte| byte == 0);
    let (pattern, text) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // A few times what one step takes in the slowest build, for as many steps as there may be.
    let limit = Duration::from_millis(200) + Duration::from_nanos(300) * (pattern.len() * text.len()) as u32;
    let (matched, meant) = quick(limit, || (matches(pattern, text), any_matches(pattern, text)));
    assert_eq!(matched, matches_slowly(pattern, text));
    assert_eq!(meant, any_matches_slowly(pattern, text));
}

/// One part of a pattern.
enum Part {
    /// Any bytes.
    Star,
    /// One byte of these.
    One(Box<[bool; 256]>),
}

/// As glob(7) says, with `\` in front of a bracket expression only, and `*` and `?` for every byte.
fn parts(mut pattern: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let [first, rest @ ..] = pattern {
        let mut set = [false; 256];
        pattern = rest;
        match (first, rest) {
            (b'*', _) => {
                parts.push(Part::Star);
                continue;
            }
            (b'?', _) => set = [true; 256],
            (b'\\', [literal, rest @ ..]) => {
                set[usize::from(*literal)] = true;
                pattern = rest;
            }
            (b'[', _) => match bracket(rest) {
                Some((members, rest)) => {
                    set = members;
                    pattern = rest;
                }
                None => set[usize::from(b'[')] = true,
            },
            (literal, _) => set[usize::from(*literal)] = true,
        }
        parts.push(Part::One(Box::new(set)));
    }
    parts
}

/// What stands behind a `[`: the set, and what follows its `]`.
fn bracket(text: &[u8]) -> Option<([bool; 256], &[u8])> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let text = &text[usize::from(negated)..];
    // It is not empty: a `]` that stands first is a member.
    let close = 1 + text.iter().skip(1).position(|&byte| byte == b']')?;
    let (members, rest) = (&text[..close], &text[close + 1..]);
    let mut set = [false; 256];
    let mut index = 0;
    while index < members.len() {
        let is_range = members.get(index + 1) == Some(&b'-') && index + 2 < members.len();
        let high = if is_range { members[index + 2] } else { members[index] };
        for byte in members[index]..=high {
            set[usize::from(byte)] = true;
        }
        index += if is_range { 3 } else { 1 };
    }
    Some((set.map(|is_member| is_member != negated), rest))
}

/// Keeps every place in the text that the pattern may have come to, and goes through all of both.
fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in parts(pattern) {
        let mut next = vec![false; text.len() + 1];
        match part {
            Part::Star => {
                let first = reached.iter().position(|&is_reached| is_reached).unwrap_or(next.len());
                next[first..].fill(true);
            }
            Part::One(set) => {
                for (index, &byte) in text.iter().enumerate() {
                    next[index + 1] = reached[index] && set[usize::from(byte)];
                }
            }
        }
        reached = next;
    }
    reached[text.len()]
}

fn any_matches_slowly(globs: &[u8], path: &[u8]) -> bool {
    let base = path.split(|&byte| byte == b'/').next_back().unwrap();
    globs
        .split(|&byte| byte == b':')
        .any(|glob| !glob.is_empty() && matches_slowly(glob, if glob.contains(&b'/') { path } else { base }))
}
