"""What the library says of a machine, as values."""
from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Union

from . import _bindings as c
from .enums import Cause, EventType, Stage, State, known
from .errors import CommandError

_NS = 1e9  # nanoseconds in a second


@dataclass(frozen=True)
class ExitInfo:
    """How a machine ended."""

    cause: Union[Cause, int]
    code: int
    """exit code of the main program, else 0"""
    signal: int
    """signal that ended the main program, else 0"""
    uptime: float
    """seconds between start and end"""

    @property
    def success(self) -> bool:
        """Whether the guest ended by itself, or as asked, and nothing went wrong."""
        ended = self.cause in (Cause.GUEST_SHUTDOWN, Cause.MAIN_EXITED, Cause.STOPPED)
        return ended and not self.code and not self.signal

    @classmethod
    def of(cls, info: c.capsa_exit_info) -> ExitInfo:
        """From the header's structure."""
        return cls(known(Cause, info.cause), info.code, info.signal, info.uptime_ns / _NS)


@dataclass(frozen=True)
class StopOutcome:
    """How a stop went: the stage that ended the machine, and the seconds spent in each; 0: the stage did not come."""

    stage: Union[Stage, int]
    agent: float
    power_button: float
    kill: float


@dataclass(frozen=True)
class Event:
    """Something that happened to a machine."""

    type: Union[EventType, int]
    time: datetime.datetime
    """when, in UTC"""
    value: int
    """the new state, the cause of the end, the disk's index...: see the type in capsa.h"""
    details: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """What Console.expect found."""

    index: int
    """which of the patterns it was"""
    output: bytes
    """the output up to the end of the match, which was consumed"""
    start: int
    """where in it the match begins"""
    missing: int = 0
    """bytes of output that were overwritten before they were read"""
    groups: Optional["re.Match[bytes]"] = None
    """of a pattern of module re: its own match of the text, if Python's rules find one there"""

    @property
    def before(self) -> bytes:
        """The output before the match."""
        return self.output[: self.start]

    @property
    def matched(self) -> bytes:
        """The text that matched."""
        return self.output[self.start:]


@dataclass(frozen=True)
class Completed:
    """A command that ran in the guest's shell."""

    command: str
    exit_status: int
    output: bytes
    """what it wrote, to both of its outputs"""
    missing: int = 0
    """bytes of output beyond the library's limit, or overwritten before they were read"""

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace")

    def check(self) -> Completed:
        """Raises CommandError unless the exit status is 0."""
        if self.exit_status:
            raise CommandError(self.command, self.exit_status, self.output)
        return self


@dataclass(frozen=True)
class Stats:
    """Counters of a machine and its time line; each time is in nanoseconds since its making began, 0: not yet.

    The fields are those of ``capsa_stats`` in capsa.h, which explains each.
    """

    state: Union[State, int]
    cpus: int
    devices: int
    memory_bytes: int
    exits: int
    exits_io: int
    exits_mmio: int
    exits_other: int
    oom_kills: int
    events_lost: int
    created_ns: int
    started_ns: int
    first_instruction_ns: int
    first_exit_ns: int
    drivers_up_ns: int
    console_open_ns: int
    ended_ns: int
    resident_bytes: int
    target_bytes: int
    current_bytes: int
    inflated_bytes: int
    deflated_bytes: int
    reported_bytes: int
    guest_free_bytes: int
    guest_available_bytes: int
    guest_said_ns: int
    balloon: int

    @classmethod
    def of(cls, stats: c.capsa_stats) -> Stats:
        """From the header's structure."""
        values = _values(stats)
        values["state"] = known(State, stats.state)
        return cls(**values)


@dataclass(frozen=True)
class DeviceStats:
    """Counters of one device. The fields are those of ``capsa_device_stats`` in capsa.h, which explains each."""

    virtio_id: int
    name: str
    kicks: int
    interrupts: int
    requests: int
    bytes_in: int
    bytes_out: int
    errors: int
    faults: int
    resets: int
    reads: int
    writes: int
    flushes: int
    discards: int
    write_zeroes: int
    refused: int
    stalls: int
    throttled: int

    @classmethod
    def of(cls, stats: c.capsa_device_stats) -> DeviceStats:
        """From the header's structure."""
        values = _values(stats)
        values["name"] = stats.name.decode("utf-8", "replace")
        return cls(**values)


def _values(structure: Any) -> Dict[str, Any]:
    """The fields of a structure but those that say nothing."""
    names: List[str] = [f[0] for f in structure._fields_]
    return {name: getattr(structure, name) for name in names if name not in ("size", "reserved")}
