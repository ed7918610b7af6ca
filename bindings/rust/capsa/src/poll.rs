//! poll(2), which the standard library does not have.
use std::ffi::{c_int, c_short, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// struct pollfd of poll.h.
#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}
const POLLIN: c_short = 1;

extern "C" {
    fn poll(fds: *mut PollFd, n: c_ulong, timeout_ms: c_int) -> c_int;
}

/// Waits until one of the descriptors is readable or at its end, and says which are; none, when the time passed.
pub(crate) fn readable<const N: usize>(fds: [BorrowedFd<'_>; N], timeout: Option<Duration>) -> io::Result<[bool; N]> {
    let mut list = fds.map(|fd| PollFd { fd: fd.as_raw_fd(), events: POLLIN, revents: 0 });
    let ms = timeout.map_or(-1, |t| c_int::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX));
    // SAFETY: the list has N elements, and the descriptors are open as long as they are borrowed.
    if unsafe { poll(list.as_mut_ptr(), N as c_ulong, ms) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(list.map(|p| p.revents != 0))
}
