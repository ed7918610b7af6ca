"""Sockets between guest and host (AF_VSOCK), as sockets of Python."""
from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Optional, Tuple

from . import _bindings as c
from .errors import CapsaError

if TYPE_CHECKING:
    from .vm import VM


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
        """the listening socket: for select, selectors and asyncio"""

    def accept(self, timeout: Optional[float] = None) -> VsockStream:
        """Waits for the guest's next connection. TimeoutError when it does not come."""
        self.socket.settimeout(timeout)
        try:
            return self.accepted(self.socket.accept())
        except BlockingIOError:  # what sockets raise for a timeout of 0
            raise TimeoutError(f"no connection waits at port {self.port}") from None
        except socket.timeout as error:  # until Python 3.10 not a TimeoutError
            raise TimeoutError(f"nobody connected to port {self.port}: {error}") from None

    def accepted(self, pair: Tuple[socket.socket, Any]) -> VsockStream:
        """Makes what accept() of a socket gave a VsockStream."""
        stream = VsockStream(fileno=pair[0].detach())
        stream.setblocking(True)
        stream.port = self.port
        return stream

    def fileno(self) -> int:
        """The descriptor, for select."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stops listening and frees the port. May be repeated."""
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        try:
            self.vm.vsock_unlisten(self.port)
        except CapsaError:
            pass  # the machine has ended, or somebody else has freed the port

    def __enter__(self) -> VsockListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VsockListener port={self.port} fd={self.socket.fileno()}>"


def flags(seqpacket: bool) -> int:
    """The header's flags."""
    return c.CAPSA_VSOCK_SEQPACKET if seqpacket else 0
