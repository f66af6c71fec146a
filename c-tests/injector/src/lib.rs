//! The fault injector: a second preload, which stands where another interposer would. Loaded after libtmpshim.so it is the
//! next `open` in the chain; so it sees what the library passes on, and can make it fail.
//!
//! `FAULT` holds rules, `call:condition:errno`, separated by commas. `call` is `open` (in all its spellings), `openat`,
//! `linkat` or `unlinkat`, `condition` is `O_TMPFILE`, `O_CREAT` or `any`, `errno` a number. A program sets other rules with
//! `fault_rules`, and asks with `fault_calls` how many calls came through. With `FAULT_CALLS=file`, each call appends its
//! name to the file.

#![cfg(target_env = "gnu")]

mod hooks;
#[expect(unreachable_pub, reason = "its functions are exported to C programs, not to a crate")]
mod rules;
