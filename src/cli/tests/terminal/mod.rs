//! A terminal for tests: they hold the keyboard and read the screen.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{ioctl_tiocsctty, setsid};

/// A terminal, and what was shown on it.
pub(crate) struct Terminal {
    pub(crate) master: File,
    slave: File,
    shown: String,
}

impl Terminal {
    /// A new one.
    pub(crate) fn open() -> Self {
        let master = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx").unwrap();
        let locked = 0i32;
        // SAFETY: the request reads one int.
        assert_eq!(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }, 0);
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: the request takes flags by value.
        let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
        assert!(slave >= 0);
        // SAFETY: just opened, owned by nobody else.
        let slave = File::from(unsafe { OwnedFd::from_raw_fd(slave) });
        Self { master, slave, shown: String::new() }
    }

    /// Makes the command the leader of a session with this terminal.
    pub(crate) fn lead(&self, command: &mut Command) {
        let slave = self.slave.try_clone().unwrap();
        // SAFETY: two system calls, in the child.
        unsafe {
            command.pre_exec(move || {
                setsid()?;
                ioctl_tiocsctty(&slave)?;
                Ok(())
            });
        }
    }

    /// The program's end, for one of its standard streams.
    pub(crate) fn stdio(&self) -> Stdio {
        self.slave.try_clone().unwrap().into()
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this has been shown, after what was expected last.
    pub(crate) fn expect(&mut self, text: &str) {
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            let ready = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&patience)).unwrap();
            assert_eq!(ready, 1, "{text:?} is not in {:?}", self.shown);
            let mut bytes = [0; 1024];
            let length = self.master.read(&mut bytes).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }
}
