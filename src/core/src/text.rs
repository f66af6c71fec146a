//! Text of bounded length on the stack: paths and log lines, without an allocator and without a panic path.

use core::ffi::CStr;
use core::mem::MaybeUninit;

/// The longest path the kernel takes in one system call, its closing NUL included.
pub const PATH_MAX: usize = 4096;

/// Up to `N - 1` bytes and a NUL behind them. What does not fit is refused as a whole, and `is_cut` then says so.
#[repr(C)]
pub struct Text<const N: usize> {
    head: Head,
    bytes: [MaybeUninit<u8>; N],
}

/// What is the same for every size, so that the library holds what writes once and not once a size. The bytes lie behind.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    room: u16,
    /// Always less than `room`.
    length: u16,
    cut: bool,
}

/// Appends all of `more`, or nothing and remembers that something is missing.
///
/// # Safety
/// `text` points to a whole `Text` that nobody else uses meanwhile, and so does not contain `more`.
#[inline(never)]
unsafe fn push(text: *mut Head, more: &[u8]) {
    // SAFETY: `Text` has its head in front and `room` bytes behind it, without a gap: a byte needs no alignment.
    unsafe {
        let Head { room, length, .. } = *text;
        let length = usize::from(length);
        if more.len() < usize::from(room) - length {
            let free = text.add(1).cast::<u8>().add(length);
            core::ptr::copy_nonoverlapping(more.as_ptr(), free, more.len());
            (*text).length = (length + more.len()) as u16;
        } else {
            (*text).cut = true;
        }
    }
}

/// Appends a number in `base`, filled up with zeros to `width`.
///
/// # Safety
/// As [`push`].
#[inline(never)]
unsafe fn push_digits(text: *mut Head, mut number: u64, base: u64, width: usize) {
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
    // SAFETY: as this function's own contract.
    unsafe { push(text, digits.get(used..).unwrap_or(b"0")) }
}

/// Appends `more` as the inside of a JSON string.
///
/// # Safety
/// As [`push`].
#[inline(never)]
unsafe fn push_json(text: *mut Head, mut more: &[u8]) {
    while let Some(&byte) = more.first() {
        let (length, valid) = character(more);
        let Some((character, rest)) = more.split_at_checked(length) else { return };
        let hexadecimal = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        let escaped = [b'\\', b'u', b'0', b'0', hexadecimal(byte >> 4), hexadecimal(byte & 15)];
        let written: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0..=0x1f | 0x7f => &escaped,
            _ if valid => character,
            _ => "\u{fffd}".as_bytes(),
        };
        // SAFETY: as this function's own contract.
        unsafe { push(text, written) };
        more = rest;
    }
}

/// The length of the first character in UTF-8 and true; or the length of what one U+FFFD is to stand for, and false:
/// as much as begins a character, and at least one byte, as the standard library does it (whose own takes four times
/// the room).
fn character(text: &[u8]) -> (usize, bool) {
    let Some(&first) = text.first() else { return (0, false) };
    let (more, mut allowed) = match first {
        0..=0x7f => (0, 0x80..=0xbf),
        0xc2..=0xdf => (1, 0x80..=0xbf),
        0xe0 => (2, 0xa0..=0xbf),
        0xed => (2, 0x80..=0x9f),
        0xe1..=0xef => (2, 0x80..=0xbf),
        0xf0 => (3, 0x90..=0xbf),
        0xf1..=0xf3 => (3, 0x80..=0xbf),
        0xf4 => (3, 0x80..=0x8f),
        _ => return (1, false),
    };
    for length in 1..=more {
        if !text.get(length).is_some_and(|byte| allowed.contains(byte)) {
            return (length, false);
        }
        allowed = 0x80..=0xbf;
    }
    (more + 1, true)
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Text<N> {
    const FITS: () = assert!(N > 0 && N <= u16::MAX as usize && size_of::<Head>() + N <= size_of::<Self>());

    /// Empty. The storage is not cleared: a path buffer in front of every hook must cost nothing.
    #[inline]
    pub const fn new() -> Self {
        let () = Self::FITS;
        Self { head: Head { room: N as u16, length: 0, cut: false }, bytes: [const { MaybeUninit::uninit() }; N] }
    }

    /// For the functions above: the head, by a pointer that may be used for the bytes too.
    fn head(&mut self) -> *mut Head {
        core::ptr::from_mut(self).cast()
    }

    /// Appends all of `more`, or nothing and remembers that something is missing.
    #[inline]
    pub fn push(&mut self, more: &[u8]) -> &mut Self {
        // SAFETY: borrowed mutably, so `more` is not in it.
        unsafe { push(self.head(), more) };
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
        if let Some(kept) = usize::from(self.head.length).checked_sub(end.len()) {
            self.head.length = kept as u16;
            self.push(end);
        }
    }

    /// Appends a number in decimal.
    pub fn push_decimal(&mut self, number: u64) -> &mut Self {
        self.push_padded(number, 1)
    }

    /// Appends a number in octal, with the zero that marks one.
    pub fn push_octal(&mut self, number: u64) -> &mut Self {
        self.push(b"0");
        // SAFETY: borrowed mutably.
        unsafe { push_digits(self.head(), number, 8, 1) };
        self
    }

    /// Appends a number in decimal, filled up with zeros to `width` (at most 20).
    pub fn push_padded(&mut self, number: u64, width: usize) -> &mut Self {
        // SAFETY: borrowed mutably.
        unsafe { push_digits(self.head(), number, 10, width) };
        self
    }

    /// Appends `text` as the inside of a JSON string. Bytes that are not ASCII pass as they are where they form UTF-8,
    /// and as U+FFFD where they do not.
    pub fn push_json(&mut self, text: &[u8]) -> &mut Self {
        // SAFETY: borrowed mutably, so `text` is not in it.
        unsafe { push_json(self.head(), text) };
        self
    }

    /// What has been written.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `push` has written every byte below `length`, which is less than N; MaybeUninit<u8> has u8's layout.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.head.length.into()) }
    }

    /// For system calls; nothing where it is cut or holds a NUL in the middle.
    #[inline]
    pub fn as_c_str(&mut self) -> Option<&CStr> {
        // SAFETY: borrowed mutably, for as long as what comes back.
        unsafe { as_c_str(self.head()) }
    }

    /// Whether something did not fit.
    pub fn is_cut(&self) -> bool {
        self.head.cut
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
    #[inline(never)]
    pub fn set_length(&mut self, length: usize) {
        self.head.cut = length >= N;
        self.head.length = length.min(N - 1) as u16;
    }
}

/// # Safety
/// As [`push`], for as long as what comes back is used.
#[inline(never)]
unsafe fn as_c_str<'a>(text: *mut Head) -> Option<&'a CStr> {
    // SAFETY: as in `push`: `length` bytes are written and there is room for one more, which closes the string.
    unsafe {
        let Head { length, cut, .. } = *text;
        let first = text.add(1).cast::<u8>();
        first.add(length.into()).write(0);
        let string = CStr::from_ptr(first.cast());
        (!cut && string.count_bytes() == usize::from(length)).then_some(string)
    }
}

/// A string up to its NUL, as `CStr::from_bytes_until_nul` gives it, which brings a search by words of 250 bytes along.
#[inline(never)]
pub fn until_nul(bytes: &[u8]) -> Option<&CStr> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    // SAFETY: the first NUL, at the end.
    bytes.get(..=end).map(|string| unsafe { CStr::from_bytes_with_nul_unchecked(string) })
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

/// The part of this number, an empty one where there are not so many.
#[inline(never)]
pub fn part(text: &[u8], separator: u8, number: usize) -> &[u8] {
    Parts::new(text, separator).nth(number).unwrap_or(b"")
}

/// What is behind the last slash.
#[inline(never)]
pub fn last_component(path: &[u8]) -> &[u8] {
    let behind = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    path.get(behind..).unwrap_or(path)
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

/// Whether a component of the path is `.` or `..`.
pub fn has_dots(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|part| matches!(part, b"." | b".."))
}

/// Splits an absolute path into its directory (`/` for the root) and its last component. Slashes at the end are ignored.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
    let path = path.get(..end)?;
    let name = last_component(path);
    let directory = match path.len().saturating_sub(name.len()) {
        0 => b".",
        1 => b"/",
        length => path.get(..length - 1)?,
    };
    Some((directory, name))
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
    fn what_is_no_utf8_is_what_the_standard_library_says() {
        let bytes = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec];
        let bytes: Vec<u8> = bytes.into_iter().chain([0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff]).collect();
        let mut all = vec![vec![]];
        for _ in 0..4 {
            all = all
                .iter()
                .flat_map(|some: &Vec<u8>| bytes.iter().map(move |&byte| [&some[..], &[byte]].concat()))
                .collect();
            for text in &all {
                let mut rest = &text[..];
                let mut found = String::new();
                while !rest.is_empty() {
                    let (length, valid) = character(rest);
                    let (character, after) = rest.split_at(length);
                    found.push_str(if valid { str::from_utf8(character).unwrap() } else { "\u{fffd}" });
                    rest = after;
                }
                assert_eq!(found, String::from_utf8_lossy(text), "{text:x?}");
            }
        }
    }

    #[test]
    fn a_nul_in_the_middle_is_no_c_string() {
        assert_eq!(Text::<9>::new().push(b"a\0b").as_c_str(), None);
        assert_eq!(Text::<9>::new().as_c_str(), Some(c""));
        let mut text = Text::<5>::new();
        text.spare().copy_from_slice(b"abcde");
        text.set_length(5);
        assert!(text.is_cut() && text.as_bytes() == b"abcd" && text.as_c_str().is_none());
        text.set_length(3);
        assert_eq!(text.as_c_str(), Some(c"abc"));
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
            ("//a", Some(("/", "a"))),
            ("a//b", Some(("a/", "b"))),
            ("/", None),
            ("", None),
            ("a/b", Some(("a", "b"))),
        ] {
            let expected = expected.map(|(directory, name)| (directory.as_bytes(), name.as_bytes()));
            assert_eq!(split(path.as_bytes()), expected, "{path}");
        }
    }
}
