"""A machine for asyncio."""
from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import weakref
from typing import Any, Dict, Generator, List, Optional, Tuple, Union

from .. import vm as sync
from .._ffi import Path
from .._wait import Cancel
from ..builder import Builder
from ..enums import ForwardProtocol, Stage, State
from ..errors import CallTimeoutError, CapsaError, ClosedError
from ..network import Forward, OpenForward, Policy
from ..records import Event, ExitInfo, Stats, StopOutcome
from ..vsock import VsockStream
from ._wait import in_thread, readable
from .console import Console
from .vsock import VsockListener


class Events:
    """The events of a machine as they come, to its end: ``async for event in vm.events()``."""

    def __init__(self, vm: sync.VM) -> None:
        self._vm = vm
        self._fd = vm.event_fd()
        self._finalizer = weakref.finalize(self, _hang_up, self._fd)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        while self._finalizer.alive:
            try:
                return self._vm.next_event(0)
            except CallTimeoutError:
                pass
            except ClosedError:
                break
            # A descriptor of its own, so that any number of tasks may wait.
            fd = os.dup(self._fd)
            try:
                await readable(fd)
            finally:
                os.close(fd)
        raise StopAsyncIteration

    def close(self) -> None:
        """Ends the iteration, also for tasks that wait. Events that were not taken are there for others."""
        self._finalizer()


def _hang_up(fd: int) -> None:
    """Closes a socket so that those who wait with copies of its descriptor see the end."""
    with socket.socket(fileno=fd) as stream, contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)


class VM:
    """A machine; see capsa.VM. Leaving ``async with`` ends it."""

    def __init__(self, vm: sync.VM) -> None:
        self.sync = vm
        """the same machine for calls that do not wait: counters, pause, resume, ..."""

    async def start(self) -> VM:
        """Runs the machine; returns when its processors run."""
        await in_thread(lambda cancel: self.sync.start(cancel=cancel))
        return self

    async def wait(self) -> ExitInfo:
        """Waits for the end of the machine, however it ends; in any number of tasks."""
        fd = self.sync.exit_fd()
        try:
            await readable(fd)
        finally:
            os.close(fd)
        return self.sync.wait(0)

    async def stop(self, grace: Optional[float] = 30.0) -> Union[Stage, int]:
        """Asks the guest to shut down, waits up to grace seconds, and then kills it. Cancelled, it does not kill."""
        return await in_thread(lambda cancel: self.sync.stop(grace, cancel=cancel))

    async def stop_in_stages(
        self, agent: Optional[float] = 10.0, power_button: Optional[float] = 30.0, kill: Optional[float] = None
    ) -> StopOutcome:
        """Asks the agent, presses the power button, kills; see capsa.VM.stop_in_stages."""
        return await in_thread(lambda cancel: self.sync.stop_in_stages(agent, power_button, kill, cancel=cancel))

    async def kill(self) -> None:
        """Stops the machine at once."""
        await in_thread(lambda _: self.sync.kill())

    async def pause(self) -> None:
        """Stops the processors, which keep their state."""
        await in_thread(lambda _: self.sync.pause())

    async def resume(self) -> None:
        """Lets paused processors run on."""
        await in_thread(lambda _: self.sync.resume())

    @property
    def state(self) -> Union[State, int]:
        """Created, running, paused, ..."""
        return self.sync.state

    def stats(self) -> Stats:
        """Counters and time line."""
        return self.sync.stats()

    def exit_record(self) -> Dict[str, Any]:
        """The whole record of an ended machine."""
        return self.sync.exit_record()

    def boot_log(self) -> bytes:
        """What the guest wrote to its first serial port; the last 64 KiB."""
        return self.sync.boot_log()

    def console(self) -> Console:
        """A new reader and writer of the console."""
        return Console(self)

    def events(self) -> Events:
        """The events as they come; each is given once, whoever iterates."""
        return Events(self.sync)

    async def vsock_connect(self, port: int, *, seqpacket: bool = False) -> VsockStream:
        """Connects to a port of the guest. The stream does not block: it is for the methods of the loop."""

        def connect(cancel: Cancel) -> VsockStream:
            return self.sync.vsock_connect(port, seqpacket=seqpacket, cancel=cancel)

        stream = await in_thread(connect, VsockStream.close)
        stream.setblocking(False)
        return stream

    async def open_vsock(self, port: int) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to a port of the guest, as asyncio.open_connection does to one of a host."""
        return await asyncio.open_connection(sock=await self.vsock_connect(port))

    def vsock_listen(self, port: int, backlog: int = 16, *, seqpacket: bool = False) -> VsockListener:
        """Listens at a port of the host for the guest's connections."""
        return VsockListener(self.sync.vsock_listen(port, backlog, seqpacket=seqpacket))

    # ---- Network

    async def add_forward(self, forward: Union[Forward, int], **options: Any) -> OpenForward:
        """Opens one more port of the guest to the host's side; see capsa.VM.add_forward. open_forward() connects to it.

        Cancelled, it opens none.
        """

        def undo(opened: OpenForward) -> None:
            with contextlib.suppress(CapsaError):  # the machine has ended, and its ports with it
                self.sync.remove_forward(opened)

        return await in_thread(lambda _: self.sync.add_forward(forward, **options), undo)

    async def remove_forward(self, forward: Union[OpenForward, int]) -> None:
        """Closes a forwarded port. TCP connections that are established go on."""
        await in_thread(lambda _: self.sync.remove_forward(forward))

    async def forwards(self) -> List[OpenForward]:
        """The forwarded ports, those of the builder first."""
        return await in_thread(lambda _: self.sync.forwards())

    async def set_policy(self, policy: Optional[Policy]) -> None:
        """Puts another policy in force, at once: flows that it does not allow end. events() tells what it refuses."""
        await in_thread(lambda _: self.sync.set_policy(policy))

    async def set_link(self, up: bool) -> None:
        """Plugs the guest's cable in, or pulls it out."""
        await in_thread(lambda _: self.sync.set_link(up))

    async def close(self) -> None:
        """Ends and frees the machine; also when the task is cancelled meanwhile."""
        await in_thread(lambda _: self.sync.close())

    async def __aenter__(self) -> VM:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio {self.sync!r}>"


async def open_forward(forward: OpenForward) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to a forwarded TCP port, as asyncio.open_connection does to one of a host."""
    if forward.protocol != ForwardProtocol.TCP:
        raise ValueError("a forwarded port that speaks UDP has no streams: loop.create_datagram_endpoint()")
    if forward.path is not None:
        return await asyncio.open_unix_connection(forward.path)
    return await asyncio.open_connection(forward.host, forward.host_port)


async def build(builder: Builder) -> VM:
    """Makes the machine that a builder describes; nothing runs yet."""
    return VM(await in_thread(lambda _: builder.build(), sync.VM.close))


class Boot:
    """What boot() gives: await it, or enter it with ``async with``."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._vm: Optional[VM] = None

    async def _boot(self) -> VM:
        with self._builder:
            built = await build(self._builder)
        try:
            return await built.start()
        except BaseException:
            await built.close()
            raise

    def __await__(self) -> Generator[Any, None, VM]:
        return self._boot().__await__()

    async def __aenter__(self) -> VM:
        self._vm = await self
        return self._vm

    async def __aexit__(self, *_: object) -> None:
        if self._vm is not None:
            await self._vm.close()


def boot(kernel: Union[Path, Builder], initrd: Optional[Path] = None, **description: Any) -> Boot:
    """Builds a machine and starts it; takes what capsa.Builder takes, or a builder, of which it takes a copy."""
    if isinstance(kernel, Builder):
        if initrd is not None or description:
            raise TypeError("a description beside a builder, which has its own")
        return Boot(kernel.clone())
    return Boot(Builder(kernel=kernel, initrd=initrd, **description))
