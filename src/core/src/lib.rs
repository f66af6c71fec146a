//! What tmpshim decides and does, for both engines: `no_std`, no allocation, no lock, no panic path.
//!
//! Everything here may run inside somebody else's process: in any thread, in a signal handler, after fork, in a vfork
//! child. Only system calls are made, never a libc function, so errno stays as it was and no interposer is disturbed.
//! Which labels of the contract a module answers for stands at its head.
#![cfg_attr(not(test), no_std)]

pub mod clean;
pub mod event;
pub mod fd;
pub mod glob;
pub mod identity;
pub mod journal;
pub mod kin;
pub mod lease;
pub mod listing;
pub mod mapping;
pub mod name;
pub mod next;
pub mod parasite;
pub mod publish;
pub mod records;
pub mod remove;
pub mod settings;
pub mod stack;
pub mod state;
pub mod sys;
pub mod tempdir;
pub mod text;
pub mod tmpfile;
pub mod tracker;
