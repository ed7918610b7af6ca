"""Sockets between guest and host (AF_VSOCK), as sockets of Python."""
from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING, Optional

from . import _bindings as c
from ._wait import Clock
from .errors import CallTimeoutError, CapsaError, ClosedError

if TYPE_CHECKING:
    from .vm import VM

# poll(2) takes an int of milliseconds.
_LONGEST_POLL = (1 << 31) - 1


class VsockStream(socket.socket):
    """A connection with a program in the guest. It is a socket in every way, and outlives the machine's object.

    ``shutdown(SHUT_WR)`` shows the guest the end; reading gives the end when the guest has shut its side down, and when
    the machine has ended.
    """

    port: Optional[int] = None
    """the port of the guest that it is connected to, or of the host at which the guest connected"""

    def __repr__(self) -> str:
        return f"<VsockStream port={self.port} fd={self.fileno()}>"


class VsockListener:
    """Takes the guest's connections to a port of the host. Closing it frees the port; connections stay."""

    def __init__(self, vm: VM, port: int, listening: socket.socket) -> None:
        self.vm = vm
        self.port = port
        self.socket = listening
        """the listening socket, which does not block: for select, selectors and servers of asyncio"""
        listening.setblocking(False)

    def accept(self, timeout: Optional[float] = None) -> VsockStream:
        """Waits for the guest's next connection. ClosedError when the machine has ended and none is left."""
        clock, ended = Clock(timeout), False
        exit_fd = self.vm.exit_fd()
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            poll.register(exit_fd, select.POLLIN)
            while True:
                stream = self.accept_waiting()
                if stream is not None:
                    return stream
                if ended:
                    raise ClosedError(f"no connection waits at port {self.port}, and the machine has ended")
                left = clock.left()
                if left == 0:
                    raise CallTimeoutError(f"no connection came to port {self.port} in time")
                ended = exit_fd in (fd for fd, _ in poll.poll(None if left < 0 else min(left, _LONGEST_POLL)))
        finally:
            os.close(exit_fd)

    def accept_waiting(self) -> Optional[VsockStream]:
        """Takes a connection that waits; None when there is none."""
        try:
            accepted, _ = self.socket.accept()
        except BlockingIOError:
            return None
        except OSError:
            if self.socket.fileno() >= 0:
                raise
            raise ClosedError("this VsockListener has been closed") from None
        stream = VsockStream(fileno=accepted.detach())
        stream.setblocking(True)
        stream.port = self.port
        return stream

    def fileno(self) -> int:
        """The descriptor, for select."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stops listening and frees the port; who waits for a connection gets ClosedError. May be repeated."""
        if self.socket.fileno() < 0:
            return
        waker = self.socket.dup()
        self.socket.close()
        with waker, contextlib.suppress(OSError):
            waker.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(CapsaError):  # the machine has ended, or somebody else has freed the port
            self.vm.vsock_unlisten(self.port)

    def __enter__(self) -> VsockListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VsockListener port={self.port} fd={self.socket.fileno()}>"


def flags(seqpacket: bool) -> int:
    """The header's flags."""
    return c.CAPSA_VSOCK_SEQPACKET if seqpacket else 0
