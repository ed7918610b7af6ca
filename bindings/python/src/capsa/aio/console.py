"""A machine's console for asyncio."""
from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Optional, Set, TypeVar

from .._ffi import Bytes, fd_from, lib
from .._wait import Cancel
from ..console import LineSplitter, Pattern
from ..errors import CallTimeoutError, ClosedError
from ..records import Completed, Match
from ._wait import in_thread, readable

if TYPE_CHECKING:
    from .vm import VM

_Result = TypeVar("_Result")


class Console:
    """A reader and writer of a machine's console, with a position of its own; see capsa.Console.

    A socket of the console wakes the readers; what comes on it is thrown away, and read from the console's own
    position, so that a cancelled wait has taken nothing.
    """

    def __init__(self, vm: VM) -> None:
        self.vm = vm
        self.sync = vm.sync.console()
        """the same console for calls that do not wait"""
        self._lock: Optional[asyncio.Lock] = None
        self._bell: Optional[int] = None
        self._close_bell: Any = None  # a weakref.finalize, which is generic for some checkers only
        self._waiter: Optional[asyncio.Task[Set[int]]] = None

    async def read(self, size: int = 65536) -> bytes:
        """Waits for output and reads up to size bytes of it; ``b""`` is the end."""
        return await self._when_possible(lambda timeout, cancel: self.sync.read(size, timeout, cancel=cancel))

    async def expect(self, *patterns: Pattern) -> Match:
        """Waits until one of the patterns appears in the output; see capsa.Console.expect."""
        return await self._when_possible(
            lambda timeout, cancel: self.sync.expect(*patterns, timeout=timeout, cancel=cancel))

    async def write(self, data: Bytes) -> None:
        """Types all of it. When it is cancelled, some of it may have been taken."""
        whole, done = bytes(data), 0
        try:
            done = self.sync.write(whole, 0)
        except CallTimeoutError:
            pass
        if done < len(whole):
            await in_thread(lambda cancel: self.sync.write(whole[done:], cancel=cancel))

    async def write_line(self, line: str) -> None:
        """Types a line and the Enter key."""
        await self.write(line.encode("utf-8", "surrogateescape") + b"\n")

    async def run(self, command: str, *, check: bool = False) -> Completed:
        """Runs a command line in the shell that waits on the console; see capsa.Console.run."""
        return await in_thread(lambda cancel: self.sync.run(command, check=check, cancel=cancel))

    async def interrupt(self) -> None:
        """Types Ctrl-C."""
        await self.write(b"\x03")

    async def eof(self) -> None:
        """Types Ctrl-D, the end of input."""
        await self.write(b"\x04")

    def resize(self, columns: int, rows: int) -> None:
        """Tells the guest the size of the terminal."""
        self.sync.resize(columns, rows)

    async def read_all(self) -> bytes:
        """Reads to the end of the console, which is that of the machine."""
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The output in pieces, as it comes, to the end."""
        while True:
            piece = await self.read()
            if not piece:
                return
            yield piece

    async def lines(self) -> AsyncIterator[bytes]:
        """The output in lines, without their ends, to the end."""
        splitter = LineSplitter()
        while True:
            piece = await self.read()
            for line in splitter.feed(piece) if piece else splitter.end():
                yield line
            if not piece:
                return

    def close(self) -> None:
        """Frees the console. A task that waits for it gets ClosedError."""
        self.sync.close()
        if self._waiter is not None:
            self._waiter.cancel()
        elif self._close_bell is not None:
            self._close_bell()

    async def __aenter__(self) -> Console:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _when_possible(self, attempt: Callable[[Optional[float], Optional[Cancel]], _Result]) -> _Result:
        """Calls attempt whenever there is output, until it need not wait."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            while True:
                try:
                    return attempt(0, None)
                except CallTimeoutError:
                    pass
                if not await self._output():
                    return await in_thread(lambda cancel: attempt(None, cancel))

    async def _output(self) -> bool:
        """Waits for output; False at the end of it."""
        if self._bell is None:
            self._bell = fd_from(lib.capsa_console_fd, self.sync._handle)
            self._close_bell = weakref.finalize(self, os.close, self._bell)
        self._waiter = asyncio.ensure_future(readable(self._bell))
        try:
            await self._waiter
        except asyncio.CancelledError:
            if not self.sync.closed:
                raise
        finally:
            self._waiter.cancel()
            self._waiter = None
        if self.sync.closed:
            self._close_bell()
            raise ClosedError("the console was closed while a task waited for its output")
        try:
            while os.read(self._bell, 1 << 16):
                pass
        except BlockingIOError:
            return True
        return False
