//! The next definition in line of each function that is hooked: another interposer's, or libc's (T8).

use crate::elf::{self, Wanted};
use crate::errno;
use core::ffi::{c_char, c_int};
use core::marker::PhantomData;
use core::num::NonZeroUsize;
use once_cell::race::OnceNonZeroUsize;
use rustix::io::Errno;
use tmpshim_core::next::Next as Core;
use tmpshim_core::sys;

/// A function that is looked for when it is first wanted. Lock-free: threads that look at the same time find the same.
/// Who asks says what to call where there is none, the system call itself for the most part: a pointer to that in here
/// would be one more that the loader has to relocate.
pub(crate) struct Next<F: Copy + 'static> {
    entry: Entry,
    kind: PhantomData<F>,
}

impl<F: Copy> Next<F> {
    pub(crate) const fn new(name: &'static core::ffi::CStr) -> Self {
        assert!(size_of::<F>() == size_of::<usize>());
        Self { entry: Entry::new(name), kind: PhantomData }
    }

    /// The function, where it was looked for already. The hot doors ask this first and leave the looking to a function
    /// of its own, so that what is not ours costs a test and a jump and nothing is saved on the stack.
    #[inline]
    pub(crate) fn known(&self) -> Option<F> {
        // SAFETY: the address of a function of this very signature: `F` is a function pointer, and the hook that is
        // declared for the same name is checked against libc's declaration.
        self.entry.found.get().map(|address| unsafe { core::mem::transmute_copy::<usize, F>(&address.get()) })
    }

    /// The function, or `instead`.
    #[inline]
    pub(crate) fn get(&self, instead: F) -> F {
        // SAFETY: `F` is a function pointer, which a pointer holds as it is.
        let instead = unsafe { core::mem::transmute_copy::<F, *const ()>(&instead) };
        // SAFETY: as above.
        unsafe { core::mem::transmute_copy::<*const (), F>(&self.entry.get(instead)) }
    }

    /// Whether there is one.
    pub(crate) fn exists(&self) -> bool {
        self.entry.find().is_some()
    }

    /// For [`look_for`], whatever kind of function it is.
    pub(crate) const fn entry(&self) -> &Entry {
        &self.entry
    }
}

/// Looks for all of these in one walk over the loaded objects: reading an object's tables is most of the work, and some
/// programs have a hundred.
#[cold]
#[inline(never)]
pub(crate) fn look_for(entries: &[&Entry]) {
    elf::each_behind(|tables| {
        let mut are_missing = false;
        for entry in entries {
            if entry.found.get().is_none() {
                match tables.look_up(&entry.wanted).and_then(NonZeroUsize::new) {
                    Some(address) => drop(entry.found.set(address)),
                    None => are_missing = true,
                }
            }
        }
        are_missing
    });
}

/// The same whatever kind of function it is, so that what looks is there once.
pub(crate) struct Entry {
    found: OnceNonZeroUsize,
    wanted: Wanted,
}

impl Entry {
    const fn new(name: &'static core::ffi::CStr) -> Self {
        Self { found: OnceNonZeroUsize::new(), wanted: Wanted::new(name) }
    }

    #[inline(never)]
    fn find(&self) -> Option<NonZeroUsize> {
        if self.found.get().is_none() {
            look_for(&[self]);
        }
        self.found.get()
    }

    fn get(&self, instead: *const ()) -> *const () {
        self.find().map_or(instead, |address| address.get() as *const ())
    }
}

pub(crate) type Open = unsafe extern "C" fn(*const c_char, c_int, libc::mode_t) -> c_int;
pub(crate) type OpenAt = unsafe extern "C" fn(c_int, *const c_char, c_int, libc::mode_t) -> c_int;
pub(crate) type OpenAt2 = unsafe extern "C" fn(c_int, *const c_char, *const u8, usize) -> c_int;
pub(crate) type LinkAt = unsafe extern "C" fn(c_int, *const c_char, c_int, *const c_char, c_int) -> c_int;
pub(crate) type MkDir = unsafe extern "C" fn(*const c_char, libc::mode_t) -> c_int;
pub(crate) type MkDirAt = unsafe extern "C" fn(c_int, *const c_char, libc::mode_t) -> c_int;

pub(crate) static OPENAT: Next<OpenAt> = Next::new(c"openat");
pub(crate) static OPENAT2: Next<OpenAt2> = Next::new(c"openat2");
pub(crate) static LINKAT: Next<LinkAt> = Next::new(c"linkat");
pub(crate) static MKDIR: Next<MkDir> = Next::new(c"mkdir");
pub(crate) static MKDIRAT: Next<MkDirAt> = Next::new(c"mkdirat");

fn answer(result: Result<c_int, Errno>) -> c_int {
    errno::answer(result, errno::get())
}

pub(crate) unsafe extern "C" fn raw_open(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    // SAFETY: the program's own arguments, for the kernel to judge.
    answer(unsafe { sys::openat(sys::CWD, path, flags, mode) })
}

pub(crate) unsafe extern "C" fn raw_openat(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
    mode: libc::mode_t,
) -> c_int {
    // SAFETY: the program's own arguments, for the kernel to judge.
    answer(unsafe { sys::openat(directory, path, flags, mode) })
}

pub(crate) unsafe extern "C" fn raw_openat2(
    directory: c_int,
    path: *const c_char,
    how: *const u8,
    size: usize,
) -> c_int {
    // SAFETY: the program's own arguments, for the kernel to judge.
    answer(unsafe { sys::openat2(directory, path, how, size) })
}

pub(crate) unsafe extern "C" fn raw_linkat(
    from: c_int,
    old: *const c_char,
    to: c_int,
    new: *const c_char,
    flags: c_int,
) -> c_int {
    answer(sys::linkat(from, old, to, new, flags).map(|()| 0))
}

pub(crate) unsafe extern "C" fn raw_mkdir(path: *const c_char, mode: libc::mode_t) -> c_int {
    answer(sys::mkdirat(sys::CWD, path, mode).map(|()| 0))
}

pub(crate) unsafe extern "C" fn raw_mkdirat(directory: c_int, path: *const c_char, mode: libc::mode_t) -> c_int {
    answer(sys::mkdirat(directory, path, mode).map(|()| 0))
}

/// The core's calls, through the next in line: fakechroot moves paths, eatmydata takes O_SYNC away.
pub(crate) static CORE: Core = Core {
    openat: |directory, path, flags, mode| {
        // SAFETY: as the core's caller promises.
        errno::result(unsafe { OPENAT.get(raw_openat)(directory, path, flags, mode) })
    },
    openat2: |directory, path, how, size| {
        // SAFETY: as the core's caller promises.
        errno::result(unsafe { OPENAT2.get(raw_openat2)(directory, path, how, size) })
    },
    mkdirat: |directory, path, mode| {
        let made = if directory == sys::CWD {
            // SAFETY: as the core's caller promises.
            unsafe { MKDIR.get(raw_mkdir)(path, mode) }
        } else {
            // SAFETY: as the core's caller promises.
            unsafe { MKDIRAT.get(raw_mkdirat)(directory, path, mode) }
        };
        errno::result(made).map(drop)
    },
};
