//! Errors by name: what an operator searches for, and what a document keeps.

use rustix::io::Errno;

use crate::state::text;

macro_rules! names {
    ($($name:ident)*) => {
        /// Such as ENOENT.
        pub(super) fn name(errno: Errno) -> String {
            match errno.raw_os_error() {
                $(libc::$name => stringify!($name).to_owned(),)*
                number => format!("E{number}"),
            }
        }
    };
}

names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
    ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
    ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA ETIME ENOLINK EREMOTE ECOMM EPROTO EBADMSG EOVERFLOW EILSEQ
    EUSERS ENOTSOCK EOPNOTSUPP EADDRINUSE ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN
    ESHUTDOWN ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN EREMOTEIO EDQUOT
    ENOMEDIUM ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED
}

/// Name and meaning.
pub(super) fn said(errno: Errno) -> String {
    format!("{} ({})", name(errno), text(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_names() {
        assert_eq!(said(Errno::OPNOTSUPP), "EOPNOTSUPP (Operation not supported)");
        assert_eq!(name(Errno::from_raw_os_error(4000)), "E4000");
    }
}
