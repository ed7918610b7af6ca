"""A machine in which programs are run, for asyncio."""
from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Union

from .. import process as sync_process
from .. import sandbox as sync
from .._ffi import Bytes, Path
from .._wait import Cancel
from ..disk import Disk
from ..process import ExitStatus, Result, Text
from ._wait import in_thread
from .vm import VM


class Process:
    """A program that runs in the guest; see capsa.Process. Leaving ``async with`` kills it.

    ``asyncio.open_connection(sock=process.sync.stdout)`` gives its streams to the event loop.
    """

    def __init__(self, process: sync_process.Process) -> None:
        self.sync = process
        """the same program for calls that do not wait"""

    async def wait(self) -> ExitStatus:
        """Waits for its end."""
        return await in_thread(lambda cancel: self.sync.wait(cancel=cancel))

    async def signal(self, number: int) -> None:
        """Sends a signal to its process group."""
        await in_thread(lambda cancel: self.sync.signal(number, cancel=cancel))

    async def kill(self) -> None:
        """Kills it and everything that came from it."""
        await in_thread(lambda cancel: self.sync.kill(cancel=cancel))

    async def resize(self, columns: int, rows: int) -> None:
        """Tells it the size of its terminal."""
        await in_thread(lambda cancel: self.sync.resize(columns, rows, cancel=cancel))

    def close(self) -> None:
        """Kills it if it has not ended, and closes its streams."""
        self.sync.close()

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Sandbox(VM):
    """A fresh machine that runs programs; see capsa.Sandbox::

        async with await Sandbox.start_new("bzImage", "/srv/debian") as box:
            result = await box.run(["uname", "-a"])
    """

    sync: sync.Sandbox

    @classmethod
    async def start_new(
        cls,
        kernel: Path,
        root: Union[Path, Disk],
        *,
        mounts: Optional[Mapping[str, Any]] = None,
        guest: Optional[Mapping[str, Any]] = None,
        **description: Any,
    ) -> Sandbox:
        """Makes one and waits until it is up; takes what capsa.Sandbox takes."""
        def make(cancel: Cancel) -> sync.Sandbox:
            return sync.Sandbox(kernel, root, mounts=mounts, guest=guest, cancel=cancel, **description)

        return cls(await in_thread(make, undo=sync.Sandbox.close))

    async def info(self) -> Dict[str, Any]:
        """What the guest says of itself."""
        return await in_thread(lambda cancel: self.sync.wait_ready(cancel=cancel))

    async def exec(self, args: Sequence[Text], **options: Any) -> Process:
        """Starts a program; takes what capsa.VM.exec takes."""
        return Process(await in_thread(
            lambda cancel: self.sync.exec(args, cancel=cancel, **options), undo=lambda process: process.close()))

    async def run(self, args: Sequence[Text], **options: Any) -> Result:
        """Runs a program to its end; takes what capsa.VM.run takes. Cancelled, it kills the program."""
        return await in_thread(lambda cancel: self.sync.run(args, cancel=cancel, **options))

    async def copy_in(self, source: Path, target: Path, *, keep_owner: bool = False) -> None:
        """Copies a file or directory of the host into the guest."""
        await in_thread(lambda cancel: self.sync.copy_in(source, target, keep_owner=keep_owner, cancel=cancel))

    async def copy_out(self, source: Path, target: Path, *, keep_owner: bool = False) -> None:
        """Copies a file or directory of the guest to the host."""
        await in_thread(lambda cancel: self.sync.copy_out(source, target, keep_owner=keep_owner, cancel=cancel))

    async def read_file(self, name: Path) -> bytes:
        """Reads a whole file of the guest."""
        return await in_thread(lambda cancel: self.sync.read_file(name, cancel=cancel))

    async def write_file(self, name: Path, data: Bytes, mode: int = 0) -> None:
        """Writes a whole file of the guest."""
        await in_thread(lambda cancel: self.sync.write_file(name, data, mode, cancel=cancel))
