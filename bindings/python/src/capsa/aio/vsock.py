"""Sockets between guest and host for asyncio."""
from __future__ import annotations

import contextlib
import os
from typing import AsyncIterator

from .. import vsock as sync
from ..errors import ClosedError
from ..vsock import VsockStream
from ._wait import readable


class VsockListener:
    """Takes the guest's connections to a port of the host.

    For a server of asyncio: ``asyncio.start_unix_server(callback, sock=listener.sync.socket)``.
    """

    def __init__(self, listener: sync.VsockListener) -> None:
        self.sync = listener

    async def accept(self) -> VsockStream:
        """Waits for the guest's next connection; see capsa.VsockListener.accept.

        The stream does not block: it is for the methods of the loop.
        """
        ended = False
        while True:
            stream = self.sync.accept_waiting()
            if stream is not None:
                stream.setblocking(False)
                return stream
            if ended:
                raise ClosedError(f"no connection waits at port {self.sync.port}, and the machine has ended")
            # Descriptors of its own, so that any number of tasks may wait.
            with contextlib.ExitStack() as stack:
                exit_fd = self.sync.vm.exit_fd()
                stack.callback(os.close, exit_fd)
                listening = os.dup(self.sync.fileno())
                stack.callback(os.close, listening)
                ended = exit_fd in await readable(listening, exit_fd)

    async def __aiter__(self) -> AsyncIterator[VsockStream]:
        """The connections as they come, to the end of the machine."""
        while True:
            try:
                stream = await self.accept()
            except ClosedError:
                return
            yield stream

    def close(self) -> None:
        """Stops listening and frees the port."""
        self.sync.close()

    async def __aenter__(self) -> VsockListener:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
