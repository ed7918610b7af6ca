"""Run Linux virtual machines inside your program.

    import capsa

    with capsa.boot("bzImage", "initrd.cpio", memory_mib=512) as vm:
        console = vm.console()
        console.expect("# ")
        print(console.run("uname -a").text)

Builder describes machines, VM is one, Console talks with it; module capsa.aio is the same for asyncio. Every failure is
a CapsaError that says what failed and what can be done. capsa.h is the reference of what happens below.
"""
from __future__ import annotations

from . import _bindings as _c
from ._wait import Cancel
from .builder import Builder, ConsoleOptions, SandboxBuilder, boot
from .cable import Capture, NetworkLimits, SharedNetwork
from .console import Console, Pattern
from .disk import Disk
from .enums import (
    Balloon, Cause, DiskFormat, EventType, ForwardProtocol, Framing, Isolation, Jail, NetworkMode, ShareCache,
    ShareOwner, ShareXattr, Stage, State,
)
from .errors import (
    BootError, CallCancelledError, CallInterruptedError, CallTimeoutError, CapsaError, ClosedError, CommandError,
    ConfigError, ExistsError, FailedError, ForkedError, GuestError, HandleError, InternalError, InvalidArgumentError,
    LibraryError, LimitError, NoMemoryError, NotFoundError, PermissionDeniedError, Problem, ProtocolError, RefusedError,
    ResetError, StateError, SystemCallError, UnavailableError, UnsupportedError, VMMDiedError,
)
from .library import abi_version, doctor, has, metrics, status_name, version, version_number
from .network import Forward, Network, OpenForward
from .process import ExitStatus, Process, Result
from .records import Completed, DeviceStats, Event, ExitInfo, Match, Stats, StopOutcome
from .sandbox import Sandbox
from .share import IDRange, Share
from .vm import VM
from .vsock import VsockListener, VsockStream

__version__ = _c.CAPSA_VERSION_STRING

__all__ = [
    "Balloon", "BootError", "Builder", "CallCancelledError", "CallInterruptedError", "CallTimeoutError", "Cancel",
    "CapsaError", "Capture", "Cause", "ClosedError", "CommandError", "Completed", "ConfigError", "Console",
    "ConsoleOptions", "DeviceStats", "Disk", "DiskFormat", "Event", "EventType", "ExistsError", "ExitInfo",
    "ExitStatus", "FailedError", "ForkedError", "Forward", "ForwardProtocol", "Framing", "GuestError", "HandleError",
    "IDRange", "InternalError", "InvalidArgumentError", "Isolation", "Jail", "LibraryError", "LimitError", "Match",
    "Network", "NetworkLimits", "NetworkMode", "NoMemoryError", "NotFoundError", "OpenForward", "Pattern",
    "PermissionDeniedError", "Problem", "Process", "ProtocolError", "RefusedError", "ResetError", "Result", "Sandbox",
    "SandboxBuilder", "Share", "ShareCache", "ShareOwner", "ShareXattr", "SharedNetwork", "Stage", "State",
    "StateError", "Stats", "StopOutcome", "SystemCallError", "UnavailableError", "UnsupportedError", "VM",
    "VMMDiedError", "VsockListener", "VsockStream", "abi_version", "boot", "doctor", "has", "metrics", "status_name",
    "version", "version_number",
]
