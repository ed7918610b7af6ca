//! Sockets between guest and host.
use crate::error::{Error, ErrorKind, Result};
use crate::poll::readable;
use crate::vm::Vm;
use crate::wait::Wait;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

/// A stream of the standard library, which blocks.
pub(crate) fn stream(fd: OwnedFd) -> Result<UnixStream> {
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(false).map_err(|e| Error::os("the socket", &e))?;
    Ok(stream)
}

/// Takes the guest's connections to a port of the host. Dropping it frees the port; connections stay.
#[derive(Debug)]
pub struct VsockListener<'a> {
    vm: &'a Vm,
    port: u32,
    listener: UnixListener,
}

impl<'a> VsockListener<'a> {
    pub(crate) fn own(vm: &'a Vm, port: u32, fd: OwnedFd) -> Self {
        Self { vm, port, listener: UnixListener::from(fd) }
    }

    /// The port of the host.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Waits for the guest's next connection, for as long as the wait says; its [`Cancel`](crate::Cancel) is not used. Of
    /// [`ErrorKind::Closed`] when the machine has ended and none is left.
    pub fn accept<'w>(&self, wait: impl Into<Wait<'w>>) -> Result<UnixStream> {
        let (limit, begin) = (wait.into().limit(), Instant::now());
        let (exit, mut ended) = (self.vm.exit_fd()?, false);
        loop {
            match self.listener.accept() {
                Ok((connection, _)) => return stream(connection.into()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::os("accept", &e)),
            }
            if ended {
                let message = format!("no connection waits at port {}, and the machine has ended", self.port);
                return Err(Error::new(ErrorKind::Closed, message));
            }
            let left = limit.map(|t| t.saturating_sub(begin.elapsed()));
            match readable([self.listener.as_fd(), exit.as_fd()], left) {
                Ok([false, false]) => {
                    let message = format!("no connection came to port {} in time", self.port);
                    return Err(Error::new(ErrorKind::Timeout, message));
                }
                Ok([_, gone]) => ended = gone,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::os("poll", &e)),
            }
        }
    }
}

/// The listening socket, which does not block.
impl AsFd for VsockListener<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for VsockListener<'_> {
    fn drop(&mut self) {
        // It fails when the machine has ended, or the port was freed already: there is nothing to do then.
        let _ = self.vm.vsock_unlisten(self.port);
    }
}
