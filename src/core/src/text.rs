//! Text of bounded length on the stack: paths and log lines, without an allocator and without a panic path.

use core::ffi::CStr;
use core::mem::MaybeUninit;

/// The longest path the kernel takes in one system call, its closing NUL included.
pub const PATH_MAX: usize = 4096;

/// Up to `N - 1` bytes and a NUL behind them. What does not fit is refused as a whole, and `is_cut` then says so.
pub struct Text<const N: usize> {
    bytes: [MaybeUninit<u8>; N],
    length: usize,
    cut: bool,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Text<N> {
    /// Empty. The storage is not cleared: a path buffer in front of every hook must cost nothing.
    pub const fn new() -> Self {
        Self { bytes: [const { MaybeUninit::uninit() }; N], length: 0, cut: false }
    }

    /// Appends all of `more`, or nothing and remembers that something is missing.
    pub fn push(&mut self, more: &[u8]) -> &mut Self {
        match self.bytes.get_mut(self.length..) {
            Some(free) if free.len() > more.len() => {
                // SAFETY: there is room for all of `more`, which cannot lie in storage that is borrowed mutably.
                unsafe { core::ptr::copy_nonoverlapping(more.as_ptr(), free.as_mut_ptr().cast(), more.len()) };
                self.length += more.len();
            }
            _ => self.cut = true,
        }
        self
    }

    /// With `more` at its end, for building one in an expression.
    #[must_use]
    pub fn also(mut self, more: &[u8]) -> Self {
        self.push(more);
        self
    }

    /// Writes `end` over what stands at the end.
    pub fn replace_end(&mut self, end: &[u8]) {
        if let Some(kept) = self.length.checked_sub(end.len()) {
            self.length = kept;
            self.push(end);
        }
    }

    /// Appends a number in decimal.
    pub fn push_decimal(&mut self, number: u64) -> &mut Self {
        self.push_digits(number, 10, 1)
    }

    /// Appends a number in octal, with the zero that marks one.
    pub fn push_octal(&mut self, number: u64) -> &mut Self {
        self.push(b"0").push_digits(number, 8, 1)
    }

    /// Appends a number in decimal, filled up with zeros to `width` (at most 20).
    pub fn push_padded(&mut self, number: u64, width: usize) -> &mut Self {
        self.push_digits(number, 10, width)
    }

    fn push_digits(&mut self, mut number: u64, base: u64, width: usize) -> &mut Self {
        let mut digits = [0u8; 24];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            if number == 0 && count >= width {
                break;
            }
            *digit = b'0' + (number % base) as u8;
            number /= base;
            count += 1;
        }
        let used = digits.len().saturating_sub(count);
        self.push(digits.get(used..).unwrap_or(b"0"))
    }

    /// Appends `text` as the inside of a JSON string. Bytes that are not ASCII pass as they are where they form UTF-8,
    /// and as U+FFFD where they do not.
    pub fn push_json(&mut self, text: &[u8]) -> &mut Self {
        for chunk in text.utf8_chunks() {
            for &byte in chunk.valid().as_bytes() {
                match byte {
                    b'"' => self.push(b"\\\""),
                    b'\\' => self.push(b"\\\\"),
                    0..=0x1f | 0x7f => {
                        let hexadecimal = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                        self.push(&[b'\\', b'u', b'0', b'0', hexadecimal(byte >> 4), hexadecimal(byte & 15)])
                    }
                    _ => self.push(&[byte]),
                };
            }
            if !chunk.invalid().is_empty() {
                self.push("\u{fffd}".as_bytes());
            }
        }
        self
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        let written = self.bytes.get(..self.length).unwrap_or(&[]);
        // SAFETY: `push` has written every byte below `length`; MaybeUninit<u8> has u8's layout.
        unsafe { core::slice::from_raw_parts(written.as_ptr().cast(), written.len()) }
    }

    /// For system calls; nothing where it is cut or holds a NUL in the middle.
    pub fn as_c_str(&mut self) -> Option<&CStr> {
        if self.cut {
            return None;
        }
        self.bytes.get_mut(self.length)?.write(0);
        let whole = self.bytes.get(..=self.length)?;
        // SAFETY: `push` has written every byte below `length`, and the line above the one at `length`.
        let whole = unsafe { core::slice::from_raw_parts(whole.as_ptr().cast(), whole.len()) };
        CStr::from_bytes_with_nul(whole).ok()
    }

    /// Whether something did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Room for a system call to write into; follow it with `set_length`.
    pub fn spare(&mut self) -> &mut [u8] {
        // Cleared here, so that the slice is initialised whatever the caller writes.
        for slot in &mut self.bytes {
            slot.write(0);
        }
        // SAFETY: every byte has just been written.
        unsafe { core::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), N) }
    }

    /// Says how much of `spare` was filled. A full buffer counts as cut: the kernel cuts without saying so.
    pub fn set_length(&mut self, length: usize) {
        self.cut = length >= N;
        self.length = length.min(N.saturating_sub(1));
    }
}

/// A path as the text of `/proc/self/fd/N`.
pub fn fd_path(fd: rustix::fd::BorrowedFd<'_>) -> Text<40> {
    use rustix::fd::AsRawFd;
    let mut path = Text::new();
    path.push(b"/proc/self/fd/").push_decimal(fd.as_raw_fd() as u64);
    path
}

/// What lies between separators, as `slice::split` gives it; a function of its own, because the library splits in many
/// places and has no room for a copy in each.
pub struct Parts<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Parts<'a> {
    /// Splits `text`; an empty one is one empty part.
    pub const fn new(text: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    #[inline(never)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let Some(end) = rest.iter().position(|&byte| byte == self.separator) else { return Some(rest) };
        self.rest = rest.get(end + 1..);
        rest.get(..end)
    }
}

/// Splits an absolute path into its directory (`/` for the root) and its last component. Slashes at the end are ignored.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
    let path = path.get(..end)?;
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => Some((b"/", path.get(1..)?)),
        Some(slash) => Some((path.get(..slash)?, path.get(slash + 1..)?)),
        None => Some((b".", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_whole() {
        let mut text = Text::<6>::new();
        text.push(b"abc").push(b"def");
        assert_eq!(text.as_bytes(), b"abc");
        assert!(text.is_cut());
        assert!(text.as_c_str().is_none());
        assert_eq!(Text::<6>::new().push(b"abcde").as_c_str(), Some(c"abcde"));
    }

    #[test]
    fn numbers_and_json() {
        let mut text = Text::<200>::new();
        text.push_decimal(0).push(b" ").push_decimal(u64::MAX).push(b" ").push_octal(0o644).push(b" ");
        text.push_padded(7, 3).push(b" ").push_json(b"a\"\\\n\xff\xc3\xa4");
        assert_eq!(text.as_bytes(), "0 18446744073709551615 0644 007 a\\\"\\\\\\u000a\u{fffd}\u{e4}".as_bytes());
    }

    #[test]
    fn parts_are_those_of_split() {
        for text in ["", ":", "a", "a:b", ":a::b:", "a:"] {
            let expected: Vec<&[u8]> = text.as_bytes().split(|&byte| byte == b':').collect();
            assert_eq!(Parts::new(text.as_bytes(), b':').collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_split_at_the_last_component() {
        for (path, expected) in [
            ("/a/b", Some(("/a", "b"))),
            ("/a", Some(("/", "a"))),
            ("a", Some((".", "a"))),
            ("/a/b//", Some(("/a", "b"))),
            ("/", None),
            ("", None),
            ("a/b", Some(("a", "b"))),
        ] {
            let expected = expected.map(|(directory, name)| (directory.as_bytes(), name.as_bytes()));
            assert_eq!(split(path.as_bytes()), expected, "{path}");
        }
    }
}
