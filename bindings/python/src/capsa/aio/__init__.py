"""The same for asyncio::

    async with capsa.aio.boot("bzImage", "initrd.cpio") as vm:
        async with vm.console() as console:
            await asyncio.wait_for(console.expect("# "), 60)
            async for line in console.lines():
                ...

Waits stand on descriptors that the event loop polls. The few calls that have none (start, stop, run, connect, those
of the network) wait on a thread of their own. Cancelling a task ends its wait at once, and loses nothing: what
expect() and read() had not returned is there for the next call. Time limits are those of asyncio:
``asyncio.wait_for``, ``asyncio.timeout``.
"""
from __future__ import annotations

from .console import Console
from .sandbox import Process, Sandbox
from .vm import VM, Boot, Events, boot, build, open_forward
from .vsock import VsockListener

__all__ = [
    "VM", "Boot", "Console", "Events", "Process", "Sandbox", "VsockListener", "boot", "build", "open_forward",
]
