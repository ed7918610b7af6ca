"""Sockets between guest and host for asyncio."""
from __future__ import annotations

import asyncio
from typing import AsyncIterator

from .. import vsock as sync
from ..vsock import VsockStream


class VsockListener:
    """Takes the guest's connections to a port of the host.

    For a server of asyncio: ``asyncio.start_unix_server(callback, sock=listener.sync.socket)``.
    """

    def __init__(self, listener: sync.VsockListener) -> None:
        self.sync = listener
        listener.socket.setblocking(False)

    async def accept(self) -> VsockStream:
        """Waits for the guest's next connection. The stream does not block: it is for the methods of the loop."""
        stream = self.sync.accepted(await asyncio.get_running_loop().sock_accept(self.sync.socket))
        stream.setblocking(False)
        return stream

    async def __aiter__(self) -> AsyncIterator[VsockStream]:
        """The connections, as they come."""
        while True:
            yield await self.accept()

    def close(self) -> None:
        """Stops listening and frees the port."""
        self.sync.close()

    async def __aenter__(self) -> VsockListener:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
