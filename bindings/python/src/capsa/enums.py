"""The header's numbers with names. What a newer library has and this package does not know stays a plain int."""
from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any, Dict, Type, TypeVar, Union

from . import _bindings as c

_Enum = TypeVar("_Enum", bound=IntEnum)


_members: Dict[Type[IntEnum], Dict[int, Any]] = {}


def known(kind: Type[_Enum], value: int) -> Union[_Enum, int]:
    """The member with that value, or the value itself."""
    members = _members.get(kind)
    if members is None:  # several times faster than kind(value)
        members = _members[kind] = {int(member): member for member in kind}
    member: Union[_Enum, int] = members.get(value, value)
    return member


class State(IntEnum):
    """States of a machine."""

    CREATED = c.CAPSA_STATE_CREATED
    STARTING = c.CAPSA_STATE_STARTING
    RUNNING = c.CAPSA_STATE_RUNNING
    PAUSED = c.CAPSA_STATE_PAUSED
    STOPPING = c.CAPSA_STATE_STOPPING
    STOPPED = c.CAPSA_STATE_STOPPED
    FAILED = c.CAPSA_STATE_FAILED


class Cause(IntEnum):
    """Why a machine ended."""

    NONE = c.CAPSA_CAUSE_NONE
    GUEST_SHUTDOWN = c.CAPSA_CAUSE_GUEST_SHUTDOWN
    MAIN_EXITED = c.CAPSA_CAUSE_MAIN_EXITED
    REBOOT = c.CAPSA_CAUSE_REBOOT
    PANIC = c.CAPSA_CAUSE_PANIC
    OOM = c.CAPSA_CAUSE_OOM
    STOPPED = c.CAPSA_CAUSE_STOPPED
    KILLED = c.CAPSA_CAUSE_KILLED
    TIMED_OUT = c.CAPSA_CAUSE_TIMED_OUT
    VMM_CRASH = c.CAPSA_CAUSE_VMM_CRASH
    BOOT_FAILED = c.CAPSA_CAUSE_BOOT_FAILED
    TRIPLE_FAULT = c.CAPSA_CAUSE_TRIPLE_FAULT


class Stage(IntEnum):
    """How far a stop had to go."""

    NONE = c.CAPSA_STAGE_NONE
    AGENT = c.CAPSA_STAGE_AGENT
    POWER_BUTTON = c.CAPSA_STAGE_POWER_BUTTON
    KILL = c.CAPSA_STAGE_KILL


class EventType(IntEnum):
    """What happened to a machine."""

    STATE = c.CAPSA_EVENT_STATE
    READY = c.CAPSA_EVENT_READY
    EXITED = c.CAPSA_EVENT_EXITED
    EXEC_EXITED = c.CAPSA_EVENT_EXEC_EXITED
    CONSOLE_DATA = c.CAPSA_EVENT_CONSOLE_DATA
    PORT_BOUND = c.CAPSA_EVENT_PORT_BOUND
    POLICY_DENY = c.CAPSA_EVENT_POLICY_DENY
    OOM = c.CAPSA_EVENT_OOM
    LOG = c.CAPSA_EVENT_LOG
    EVENTS_LOST = c.CAPSA_EVENT_EVENTS_LOST
    DISK_ERROR = c.CAPSA_EVENT_DISK_ERROR
    CRASH_KERNEL = c.CAPSA_EVENT_CRASH_KERNEL
    LINK = c.CAPSA_EVENT_LINK


class DiskFormat(IntEnum):
    """The format of a disk's image."""

    AUTO = c.CAPSA_DISK_FORMAT_AUTO
    """qcow2 if the content says so, else an error: raw must be said"""
    RAW = c.CAPSA_DISK_FORMAT_RAW
    QCOW2 = c.CAPSA_DISK_FORMAT_QCOW2


class ShareCache(IntEnum):
    """How long the guest believes what it has seen of a share."""

    AUTO = c.CAPSA_SHARE_CACHE_AUTO
    """names and attributes for a second, data until an open finds it changed"""
    NONE = c.CAPSA_SHARE_CACHE_NONE
    """every access asks the host"""
    ALWAYS = c.CAPSA_SHARE_CACHE_ALWAYS
    """everything for a day; right when the host does not change the directory"""


class ShareOwner(IntEnum):
    """Whose the files of a share are."""

    SQUASH = c.CAPSA_SHARE_OWNER_SQUASH
    """all belongs to one user in the guest, and to one on the host"""
    PASSTHROUGH = c.CAPSA_SHARE_OWNER_PASSTHROUGH
    """ids are the same on both sides"""
    CALLER = c.CAPSA_SHARE_OWNER_CALLER
    """to each user of the guest all belongs to that user; slower"""
    RANGES = c.CAPSA_SHARE_OWNER_RANGES
    """ids are shifted by ``uids`` and ``gids``"""


class ShareXattr(IntEnum):
    """Which extended attributes a share has."""

    USER = c.CAPSA_SHARE_XATTR_USER
    NONE = c.CAPSA_SHARE_XATTR_NONE
    ALL = c.CAPSA_SHARE_XATTR_ALL


class NetworkMode(IntEnum):
    """What is at the other end of the guest's cable."""

    NONE = c.CAPSA_NETWORK_NONE
    """no network device"""
    USER = c.CAPSA_NETWORK_USER
    """a network of the machine's own, in user space"""
    NAT = c.CAPSA_NETWORK_NAT
    """the platform's network; not on every backend"""


class Framing(IntEnum):
    """How frames lie on a descriptor."""

    STREAM = c.CAPSA_FRAMING_STREAM
    """a stream socket; 4 bytes of length before each frame: QEMU, passt"""
    DATAGRAM = c.CAPSA_FRAMING_DATAGRAM
    """a datagram or seqpacket socket; a frame is a message"""
    TAP = c.CAPSA_FRAMING_TAP
    """an open TAP interface"""


class ForwardProtocol(IntEnum):
    """What a forwarded port speaks."""

    TCP = c.CAPSA_FORWARD_TCP
    UDP = c.CAPSA_FORWARD_UDP


class Isolation(IntEnum):
    """The process in which a machine runs."""

    DEFAULT = c.CAPSA_ISOLATION_DEFAULT
    """as the backend prefers: kvm runs it in this process"""
    NONE = c.CAPSA_ISOLATION_NONE
    """in this process"""
    PROCESS = c.CAPSA_ISOLATION_PROCESS
    """in a process of its own, whose death is only the machine's"""


class Jail(IntEnum):
    """How far a machine's own process is confined."""

    FULL = 0
    """as far as the library goes; what the host's kernel cannot do is an error of the build"""
    PARTIAL = c.CAPSA_ISOLATION_JAIL_PARTIAL
    """as far as the host's kernel goes"""
    OFF = c.CAPSA_ISOLATION_JAIL_OFF
    """not at all"""


class Balloon(IntFlag):
    """How memory that the guest does without goes back to the host; all of it is on unless a flag says otherwise."""

    DEFAULT = 0
    OFF = c.CAPSA_BALLOON_OFF
    """no balloon: the host keeps all that the guest has ever touched"""
    NO_REPORTING = c.CAPSA_BALLOON_NO_REPORTING
    """the guest does not give back by itself what is free"""
    NO_DEFLATE_ON_OOM = c.CAPSA_BALLOON_NO_DEFLATE_ON_OOM
    """it kills programs rather than take back what it was asked for"""
