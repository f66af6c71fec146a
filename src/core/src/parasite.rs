//! What a tracer and the code that it puts into a program say to each other (the traced engine, S).
//!
//! The tracer maps that code, the *parasite* (compel's word), into a stopped thread's memory, writes a [`Frame`] where
//! its stack begins, and sends the thread there: so it is the program's own thread that makes the calls, with its own
//! credentials, umask, working directory, root and namespaces. Signals that it handles wait meanwhile. What only the tracer can
//! do, the journal above all, the thread asks for by a [`Trap`]: an open that no kernel carries out and that the filter
//! stops. At the last one the tracer gives the thread everything back as it was, and the answer. Where the tracer has
//! died meanwhile, traps fail, and the parasite itself gives back what is in the frame.
//!
//! Only words of fixed size, whatever the program's own are.

use crate::identity::Identity;
use crate::text::PATH_MAX;
use crate::tmpfile::survey::Survey;

/// What is written where the parasite's stack begins: its address is the first argument and, at the start, the stack
/// pointer, a multiple of 64.
#[repr(C, align(64))]
pub struct Frame {
    /// What the thread gets back.
    pub saved: Saved,
    /// What is to be done.
    pub errand: Errand,
    /// What was done.
    pub answer: Answer,
    /// What is known of filesystems; what is new is added.
    pub survey: Survey,
}

/// A thread's state between two instructions, for a parasite without a tracer. In the order of the assembler that reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Saved {
    /// x86-64: rbx, rbp, rdi, rsi, rdx, r8, r9, r10, r12, r13, r14, r15, rsp, rcx, r11: the last two as they are behind
    /// the system call, which a `syscall` instruction destroys and no other does. AArch64: x1 to x30, sp.
    pub registers: [u64; 31],
    /// Where it goes on.
    pub instruction: u64,
    /// Flags.
    pub flags: u64,
    /// Its code segment, which says how many bits it has.
    pub segment: u64,
    /// Blocked signals.
    pub mask: u64,
}

/// Which errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Stand in for O_TMPFILE.
    Open = 1,
    /// Publish, if it is one of ours.
    Link = 2,
    /// Make a directory, and have it recorded.
    Directory = 3,
}

/// A call of the program's that it is to make differently. Paths are addresses in its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Errand {
    /// [`Kind`]
    pub kind: u32,
    /// The errno of the program's own attempt; 0 where there was none, or it does not matter.
    pub refusal: u32,
    /// openat and mkdirat: where a relative path starts. linkat: where the old path does.
    pub directory: i32,
    /// openat: `O_*`. linkat: `AT_*`.
    pub flags: i32,
    /// openat and mkdirat: the path. linkat: the old one.
    pub path: u64,
    /// openat and mkdirat: the mode.
    pub mode: u32,
    /// linkat: where the new path starts.
    pub to: i32,
    /// linkat: the new path.
    pub new: u64,
    /// openat2: `RESOLVE_*`.
    pub resolve: u64,
}

/// What became of an errand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    /// What the program's call gives: a descriptor or 0, or a negated errno.
    pub result: i64,
    /// [`Said`]
    pub said: u32,
    /// Bit n: what ticket n announced is not there, or not any more.
    pub abandoned: u32,
}

/// What the log says of it; whether it failed, the result tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Said {
    /// Nothing: it was none of ours after all.
    Nothing = 0,
    /// A file that was unlinked stands in.
    Unlinked = 1,
    /// A file that keeps a hidden name does.
    Kept = 2,
    /// A file was published.
    Published = 3,
    /// A directory was made.
    Made = 4,
}

/// The reasons to stop for the tracer, in the fifth argument of an openat(2) with
/// [`QUESTION_DIRECTORY`](crate::tmpfile::plan::QUESTION_DIRECTORY), the null path and
/// [`QUESTION_FLAGS`](crate::tmpfile::plan::QUESTION_FLAGS). The fourth is the address of what it is about. [`NO`]
/// is the tracer's; any other negative answer is the kernel's own, and there is no tracer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Trap {
    /// All is done, and the answer in the frame. Does not come back.
    End = 1,
    /// Something is about to be made: an [`Announcement`]. The answer is a ticket, from 0 to 31.
    Announce = 2,
    /// It was made, and is to be kept track of: a [`Confirmation`].
    Confirm = 3,
    /// What is the mode that the kept file of this [`Place`] is still to have? The answer is that, or [`NO_MODE`].
    ModeOfFile = 4,
    /// The kept file of this [`Place`] has no hidden name any more.
    ForgetFile = 5,
}

/// What the tracer says where it will not, or cannot.
pub const NO: i64 = -1;

/// A file of ours that has its mode already.
pub const NO_MODE: i64 = 0x1_0000;

/// As [`crate::tracker::Entry`], and whether it may be removed, should it be found empty and nothing more have been said.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Announcement {
    /// A descriptor of the thread's: the directory.
    pub directory: i32,
    /// 1 a file, 2 a directory.
    pub entry: u32,
    /// The mode that a file is to have in the end, or -1.
    pub mode: i32,
    /// 0 where the name is the program's own and something else may have it: then only a place is taken.
    pub removable: u32,
    /// How long the name is.
    pub length: u32,
    /// The name.
    pub name: [u8; 256],
}

/// What was made for a ticket.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Confirmation {
    /// The ticket.
    pub ticket: u32,
    /// Zero.
    pub padding: u32,
    /// What it is.
    pub identity: Identity,
}

/// A path as `/proc/self/fd` shows it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Place {
    /// How long it is.
    pub length: u32,
    /// The path.
    pub path: [u8; PATH_MAX],
}
