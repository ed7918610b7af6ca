"""The declarations of capsa.h. Made by tools/gen_bindings.py: do not edit."""
from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any, Callable, Dict, Optional, Tuple

CAPSA_VERSION_MAJOR = 0
CAPSA_VERSION_MINOR = 1
CAPSA_VERSION_PATCH = 0
CAPSA_VERSION_STRING = "0.1.0"
CAPSA_ABI_VERSION = 0
CAPSA_OK = 0
CAPSA_E_INVALID_ARG = -1
CAPSA_E_HANDLE = -2
CAPSA_E_STATE = -3
CAPSA_E_CONFIG = -4
CAPSA_E_UNSUPPORTED = -5
CAPSA_E_UNAVAILABLE = -6
CAPSA_E_NOT_FOUND = -7
CAPSA_E_EXISTS = -8
CAPSA_E_PERMISSION = -9
CAPSA_E_NO_MEMORY = -10
CAPSA_E_LIMIT = -11
CAPSA_E_TIMEOUT = -12
CAPSA_E_CANCELLED = -13
CAPSA_E_CLOSED = -14
CAPSA_E_IO = -15
CAPSA_E_BOOT = -16
CAPSA_E_GUEST = -17
CAPSA_E_PROTOCOL = -18
CAPSA_E_VMM_DIED = -19
CAPSA_E_FORKED = -20
CAPSA_E_INTERNAL = -21
CAPSA_E_INTERRUPTED = -269
CAPSA_STATE_CREATED = 0
CAPSA_STATE_STARTING = 1
CAPSA_STATE_RUNNING = 2
CAPSA_STATE_PAUSED = 3
CAPSA_STATE_STOPPING = 4
CAPSA_STATE_STOPPED = 5
CAPSA_STATE_FAILED = 6
CAPSA_CAUSE_NONE = 0
CAPSA_CAUSE_GUEST_SHUTDOWN = 1
CAPSA_CAUSE_MAIN_EXITED = 2
CAPSA_CAUSE_REBOOT = 3
CAPSA_CAUSE_PANIC = 4
CAPSA_CAUSE_OOM = 5
CAPSA_CAUSE_STOPPED = 6
CAPSA_CAUSE_KILLED = 7
CAPSA_CAUSE_TIMED_OUT = 8
CAPSA_CAUSE_VMM_CRASH = 9
CAPSA_CAUSE_BOOT_FAILED = 10
CAPSA_CAUSE_TRIPLE_FAULT = 11
CAPSA_STAGE_NONE = 0
CAPSA_STAGE_AGENT = 1
CAPSA_STAGE_POWER_BUTTON = 2
CAPSA_STAGE_KILL = 3
CAPSA_DISK_READ_ONLY = 1
CAPSA_DISK_TEMPORARY = 2
CAPSA_DISK_DIRECT = 4
CAPSA_DISK_ROOT = 8
CAPSA_DISK_FORMAT_AUTO = 0
CAPSA_DISK_FORMAT_RAW = 1
CAPSA_DISK_FORMAT_QCOW2 = 2
CAPSA_SHARE_READ_ONLY = 1
CAPSA_SHARE_WRITEBACK = 2
CAPSA_SHARE_ACL = 4
CAPSA_SHARE_GUEST_LOCKS = 8
CAPSA_SHARE_ONE_FILE_SYSTEM = 16
CAPSA_SHARE_ALLOW_SET_ID = 32
CAPSA_SHARE_DIRECT_IO = 64
CAPSA_SHARE_HOST_IDS = 128
CAPSA_SHARE_CACHE_AUTO = 0
CAPSA_SHARE_CACHE_NONE = 1
CAPSA_SHARE_CACHE_ALWAYS = 2
CAPSA_SHARE_OWNER_SQUASH = 0
CAPSA_SHARE_OWNER_PASSTHROUGH = 1
CAPSA_SHARE_OWNER_CALLER = 2
CAPSA_SHARE_OWNER_RANGES = 3
CAPSA_SHARE_XATTR_USER = 0
CAPSA_SHARE_XATTR_NONE = 1
CAPSA_SHARE_XATTR_ALL = 2
CAPSA_BALLOON_OFF = 1
CAPSA_BALLOON_NO_REPORTING = 2
CAPSA_BALLOON_NO_DEFLATE_ON_OOM = 4
CAPSA_PATTERN_LITERAL = 1
CAPSA_PATTERN_REGEX = 2
CAPSA_EVENT_STATE = 1
CAPSA_EVENT_READY = 2
CAPSA_EVENT_EXITED = 3
CAPSA_EVENT_EXEC_EXITED = 4
CAPSA_EVENT_CONSOLE_DATA = 5
CAPSA_EVENT_PORT_BOUND = 6
CAPSA_EVENT_POLICY_DENY = 7
CAPSA_EVENT_OOM = 8
CAPSA_EVENT_LOG = 9
CAPSA_EVENT_EVENTS_LOST = 10
CAPSA_EVENT_DISK_ERROR = 11
CAPSA_VSOCK_SEQPACKET = 1


class capsa_error(ctypes.Structure):
    """struct capsa_error, which nobody looks into"""


class capsa_cancel(ctypes.Structure):
    """struct capsa_cancel, which nobody looks into"""


class capsa_builder(ctypes.Structure):
    """struct capsa_builder, which nobody looks into"""


class capsa_vm(ctypes.Structure):
    """struct capsa_vm, which nobody looks into"""


class capsa_console(ctypes.Structure):
    """struct capsa_console, which nobody looks into"""


class capsa_output(ctypes.Structure):
    """struct capsa_output, which nobody looks into"""


class capsa_exit_info(ctypes.Structure):
    """struct capsa_exit_info"""

    size: int
    cause: int
    code: int
    signal: int
    flags: int
    reserved: int
    uptime_ns: int
    _fields_ = [
        ("size", c_uint32),
        ("cause", c_uint32),
        ("code", c_int32),
        ("signal", c_int32),
        ("flags", c_uint32),
        ("reserved", c_uint32),
        ("uptime_ns", c_uint64),
    ]

    @classmethod
    def init(cls) -> capsa_exit_info:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_console_options(ctypes.Structure):
    """struct capsa_console_options"""

    size: int
    columns: int
    rows: int
    ring_size: int
    _fields_ = [
        ("size", c_uint32),
        ("columns", c_uint16),
        ("rows", c_uint16),
        ("ring_size", c_uint64),
    ]

    @classmethod
    def init(cls) -> capsa_console_options:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_disk_options(ctypes.Structure):
    """struct capsa_disk_options"""

    size: int
    flags: int
    format: int
    queues: int
    overlay: Optional[bytes]
    scratch_dir: Optional[bytes]
    serial: Optional[bytes]
    backing_dirs: Any
    n_backing_dirs: int
    iops: int
    iops_burst: int
    bytes_per_sec: int
    bytes_burst: int
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("format", c_uint32),
        ("queues", c_uint32),
        ("overlay", c_char_p),
        ("scratch_dir", c_char_p),
        ("serial", c_char_p),
        ("backing_dirs", POINTER(c_char_p)),
        ("n_backing_dirs", c_size_t),
        ("iops", c_uint64),
        ("iops_burst", c_uint64),
        ("bytes_per_sec", c_uint64),
        ("bytes_burst", c_uint64),
    ]

    @classmethod
    def init(cls) -> capsa_disk_options:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_id_range(ctypes.Structure):
    """struct capsa_id_range"""

    guest: int
    host: int
    count: int
    _fields_ = [
        ("guest", c_uint32),
        ("host", c_uint32),
        ("count", c_uint32),
    ]


class capsa_share_options(ctypes.Structure):
    """struct capsa_share_options"""

    size: int
    flags: int
    cache: int
    owner: int
    xattr: int
    queues: int
    guest_uid: int
    guest_gid: int
    host_uid: int
    host_gid: int
    max_files: int
    max_inodes: int
    uids: Any
    n_uids: int
    gids: Any
    n_gids: int
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("cache", c_uint32),
        ("owner", c_uint32),
        ("xattr", c_uint32),
        ("queues", c_uint32),
        ("guest_uid", c_uint32),
        ("guest_gid", c_uint32),
        ("host_uid", c_uint32),
        ("host_gid", c_uint32),
        ("max_files", c_uint32),
        ("max_inodes", c_uint32),
        ("uids", POINTER(capsa_id_range)),
        ("n_uids", c_size_t),
        ("gids", POINTER(capsa_id_range)),
        ("n_gids", c_size_t),
    ]

    @classmethod
    def init(cls) -> capsa_share_options:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_balloon_options(ctypes.Structure):
    """struct capsa_balloon_options"""

    size: int
    flags: int
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
    ]

    @classmethod
    def init(cls) -> capsa_balloon_options:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_stop_options(ctypes.Structure):
    """struct capsa_stop_options"""

    size: int
    flags: int
    agent_ms: int
    power_button_ms: int
    kill_ms: int
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("agent_ms", c_int64),
        ("power_button_ms", c_int64),
        ("kill_ms", c_int64),
    ]

    @classmethod
    def init(cls) -> capsa_stop_options:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls), 0, 10000, 30000, -1)


class capsa_stop_outcome(ctypes.Structure):
    """struct capsa_stop_outcome"""

    size: int
    stage: int
    agent_ns: int
    power_button_ns: int
    kill_ns: int
    _fields_ = [
        ("size", c_uint32),
        ("stage", c_uint32),
        ("agent_ns", c_uint64),
        ("power_button_ns", c_uint64),
        ("kill_ns", c_uint64),
    ]

    @classmethod
    def init(cls) -> capsa_stop_outcome:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_stats(ctypes.Structure):
    """struct capsa_stats"""

    size: int
    state: int
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
    reserved: int
    _fields_ = [
        ("size", c_uint32),
        ("state", c_uint32),
        ("cpus", c_uint32),
        ("devices", c_uint32),
        ("memory_bytes", c_uint64),
        ("exits", c_uint64),
        ("exits_io", c_uint64),
        ("exits_mmio", c_uint64),
        ("exits_other", c_uint64),
        ("oom_kills", c_uint64),
        ("events_lost", c_uint64),
        ("created_ns", c_uint64),
        ("started_ns", c_uint64),
        ("first_instruction_ns", c_uint64),
        ("first_exit_ns", c_uint64),
        ("drivers_up_ns", c_uint64),
        ("console_open_ns", c_uint64),
        ("ended_ns", c_uint64),
        ("resident_bytes", c_uint64),
        ("target_bytes", c_uint64),
        ("current_bytes", c_uint64),
        ("inflated_bytes", c_uint64),
        ("deflated_bytes", c_uint64),
        ("reported_bytes", c_uint64),
        ("guest_free_bytes", c_uint64),
        ("guest_available_bytes", c_uint64),
        ("guest_said_ns", c_uint64),
        ("balloon", c_uint32),
        ("reserved", c_uint32),
    ]

    @classmethod
    def init(cls) -> capsa_stats:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_device_stats(ctypes.Structure):
    """struct capsa_device_stats"""

    size: int
    virtio_id: int
    name: bytes
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
    _fields_ = [
        ("size", c_uint32),
        ("virtio_id", c_uint32),
        ("name", c_char * 32),
        ("kicks", c_uint64),
        ("interrupts", c_uint64),
        ("requests", c_uint64),
        ("bytes_in", c_uint64),
        ("bytes_out", c_uint64),
        ("errors", c_uint64),
        ("faults", c_uint64),
        ("resets", c_uint64),
        ("reads", c_uint64),
        ("writes", c_uint64),
        ("flushes", c_uint64),
        ("discards", c_uint64),
        ("write_zeroes", c_uint64),
        ("refused", c_uint64),
        ("stalls", c_uint64),
        ("throttled", c_uint64),
    ]

    @classmethod
    def init(cls) -> capsa_device_stats:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_pattern(ctypes.Structure):
    """struct capsa_pattern"""

    size: int
    kind: int
    data: Optional[int]
    len: int
    _fields_ = [
        ("size", c_uint32),
        ("kind", c_uint32),
        ("data", c_void_p),
        ("len", c_size_t),
    ]

    @classmethod
    def init(cls) -> capsa_pattern:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_match(ctypes.Structure):
    """struct capsa_match"""

    size: int
    pattern: int
    start: int
    len: int
    _fields_ = [
        ("size", c_uint32),
        ("pattern", c_uint32),
        ("start", c_size_t),
        ("len", c_size_t),
    ]

    @classmethod
    def init(cls) -> capsa_match:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class capsa_event(ctypes.Structure):
    """struct capsa_event"""

    size: int
    type: int
    time_ns: int
    value: int
    _fields_ = [
        ("size", c_uint32),
        ("type", c_uint32),
        ("time_ns", c_uint64),
        ("value", c_int64),
    ]

    @classmethod
    def init(cls) -> capsa_event:
        """As the header's _INIT macro."""
        return cls(ctypes.sizeof(cls))


class Functions:
    """The functions of the library; who fills it in decides when to load."""

    capsa_version: Callable[..., int]
    capsa_version_string: Callable[..., Optional[bytes]]
    capsa_abi_version: Callable[..., int]
    capsa_has: Callable[..., int]
    capsa_doctor: Callable[..., int]
    capsa_metrics: Callable[..., int]
    capsa_mem_free: Callable[..., None]
    capsa_status_name: Callable[..., Optional[bytes]]
    capsa_status_class: Callable[..., int]
    capsa_error_code: Callable[..., int]
    capsa_error_message: Callable[..., Optional[bytes]]
    capsa_error_hint: Callable[..., Optional[bytes]]
    capsa_error_component: Callable[..., Optional[bytes]]
    capsa_error_os_errno: Callable[..., int]
    capsa_error_detail_json: Callable[..., Optional[bytes]]
    capsa_error_console_tail: Callable[..., Optional[int]]
    capsa_error_free: Callable[..., None]
    capsa_cancel_new: Callable[..., int]
    capsa_cancel_trigger: Callable[..., int]
    capsa_cancel_free: Callable[..., None]
    capsa_builder_new: Callable[..., int]
    capsa_builder_clone: Callable[..., int]
    capsa_builder_free: Callable[..., None]
    capsa_builder_set_name: Callable[..., int]
    capsa_builder_set_backend: Callable[..., int]
    capsa_builder_boot_linux: Callable[..., int]
    capsa_builder_cmdline_arg: Callable[..., int]
    capsa_builder_set_cmdline: Callable[..., int]
    capsa_builder_set_cpus: Callable[..., int]
    capsa_builder_set_memory_mib: Callable[..., int]
    capsa_builder_set_timeout: Callable[..., int]
    capsa_builder_set_console: Callable[..., int]
    capsa_builder_add_disk: Callable[..., int]
    capsa_builder_add_share: Callable[..., int]
    capsa_builder_set_balloon: Callable[..., int]
    capsa_builder_set_vsock: Callable[..., int]
    capsa_builder_vsock_listen: Callable[..., int]
    capsa_builder_vsock_connect: Callable[..., int]
    capsa_builder_to_json: Callable[..., int]
    capsa_builder_from_json: Callable[..., int]
    capsa_builder_build: Callable[..., int]
    capsa_vm_start: Callable[..., int]
    capsa_vm_wait: Callable[..., int]
    capsa_vm_exit_json: Callable[..., int]
    capsa_vm_stop: Callable[..., int]
    capsa_vm_stop_in_stages: Callable[..., int]
    capsa_vm_kill: Callable[..., int]
    capsa_vm_pause: Callable[..., int]
    capsa_vm_resume: Callable[..., int]
    capsa_vm_set_memory_target: Callable[..., int]
    capsa_vm_vsock_connect: Callable[..., int]
    capsa_vm_vsock_listen: Callable[..., int]
    capsa_vm_vsock_unlisten: Callable[..., int]
    capsa_vm_state: Callable[..., int]
    capsa_vm_stats_json: Callable[..., int]
    capsa_vm_stats: Callable[..., int]
    capsa_vm_device_stats: Callable[..., int]
    capsa_vm_metrics: Callable[..., int]
    capsa_vm_boot_log: Callable[..., int]
    capsa_vm_event_fd: Callable[..., int]
    capsa_vm_next_event: Callable[..., int]
    capsa_vm_exit_fd: Callable[..., int]
    capsa_vm_console: Callable[..., int]
    capsa_vm_free: Callable[..., None]
    capsa_console_fd: Callable[..., int]
    capsa_console_read: Callable[..., int]
    capsa_console_write: Callable[..., int]
    capsa_console_expect: Callable[..., int]
    capsa_console_run: Callable[..., int]
    capsa_console_interrupt: Callable[..., int]
    capsa_console_eof: Callable[..., int]
    capsa_console_resize: Callable[..., int]
    capsa_console_lost: Callable[..., int]
    capsa_console_free: Callable[..., None]
    capsa_output_data: Callable[..., Optional[int]]
    capsa_output_missing: Callable[..., int]
    capsa_output_free: Callable[..., None]


# The type of each function's result, and those of its parameters.
PROTOTYPES: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {
    "capsa_version": (
        c_uint32,
        (),
    ),
    "capsa_version_string": (
        c_char_p,
        (),
    ),
    "capsa_abi_version": (
        c_uint32,
        (),
    ),
    "capsa_has": (
        c_int,
        (c_char_p,),
    ),
    "capsa_doctor": (
        c_int32,
        (POINTER(c_void_p), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_metrics": (
        c_int32,
        (POINTER(c_void_p), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_mem_free": (
        None,
        (c_void_p,),
    ),
    "capsa_status_name": (
        c_char_p,
        (c_int32,),
    ),
    "capsa_status_class": (
        c_int32,
        (c_int32,),
    ),
    "capsa_error_code": (
        c_int32,
        (POINTER(capsa_error),),
    ),
    "capsa_error_message": (
        c_char_p,
        (POINTER(capsa_error),),
    ),
    "capsa_error_hint": (
        c_char_p,
        (POINTER(capsa_error),),
    ),
    "capsa_error_component": (
        c_char_p,
        (POINTER(capsa_error),),
    ),
    "capsa_error_os_errno": (
        c_int32,
        (POINTER(capsa_error),),
    ),
    "capsa_error_detail_json": (
        c_char_p,
        (POINTER(capsa_error),),
    ),
    "capsa_error_console_tail": (
        c_void_p,
        (POINTER(capsa_error), POINTER(c_size_t),),
    ),
    "capsa_error_free": (
        None,
        (POINTER(capsa_error),),
    ),
    "capsa_cancel_new": (
        c_int32,
        (POINTER(POINTER(capsa_cancel)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_cancel_trigger": (
        c_int32,
        (POINTER(capsa_cancel), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_cancel_free": (
        None,
        (POINTER(capsa_cancel),),
    ),
    "capsa_builder_new": (
        c_int32,
        (POINTER(POINTER(capsa_builder)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_clone": (
        c_int32,
        (POINTER(capsa_builder), POINTER(POINTER(capsa_builder)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_free": (
        None,
        (POINTER(capsa_builder),),
    ),
    "capsa_builder_set_name": (
        c_int32,
        (POINTER(capsa_builder), c_char_p, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_backend": (
        c_int32,
        (POINTER(capsa_builder), c_char_p, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_boot_linux": (
        c_int32,
        (POINTER(capsa_builder), c_char_p, c_char_p, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_cmdline_arg": (
        c_int32,
        (POINTER(capsa_builder), c_char_p, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_cmdline": (
        c_int32,
        (POINTER(capsa_builder), c_char_p, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_cpus": (
        c_int32,
        (POINTER(capsa_builder), c_uint32, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_memory_mib": (
        c_int32,
        (POINTER(capsa_builder), c_uint64, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_timeout": (
        c_int32,
        (POINTER(capsa_builder), c_int64, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_console": (
        c_int32,
        (POINTER(capsa_builder), POINTER(capsa_console_options), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_add_disk": (
        c_int32,
        (POINTER(capsa_builder), c_char_p, POINTER(capsa_disk_options), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_add_share": (
        c_int32,
        (POINTER(capsa_builder), c_char_p, c_char_p, POINTER(capsa_share_options),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_balloon": (
        c_int32,
        (POINTER(capsa_builder), POINTER(capsa_balloon_options), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_set_vsock": (
        c_int32,
        (POINTER(capsa_builder), c_int, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_vsock_listen": (
        c_int32,
        (POINTER(capsa_builder), c_uint32, c_char_p, c_uint32, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_vsock_connect": (
        c_int32,
        (POINTER(capsa_builder), c_uint32, c_char_p, c_uint32, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_to_json": (
        c_int32,
        (POINTER(capsa_builder), POINTER(c_void_p), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_from_json": (
        c_int32,
        (c_char_p, c_size_t, POINTER(POINTER(capsa_builder)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_builder_build": (
        c_int32,
        (POINTER(capsa_builder), POINTER(POINTER(capsa_vm)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_start": (
        c_int32,
        (POINTER(capsa_vm), c_int64, POINTER(capsa_cancel), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_wait": (
        c_int32,
        (POINTER(capsa_vm), c_int64, POINTER(capsa_cancel), POINTER(capsa_exit_info),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_exit_json": (
        c_int32,
        (POINTER(capsa_vm), POINTER(c_void_p), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_stop": (
        c_int32,
        (POINTER(capsa_vm), c_int64, POINTER(capsa_cancel), POINTER(c_uint32),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_stop_in_stages": (
        c_int32,
        (POINTER(capsa_vm), POINTER(capsa_stop_options), POINTER(capsa_cancel), POINTER(capsa_stop_outcome),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_kill": (
        c_int32,
        (POINTER(capsa_vm), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_pause": (
        c_int32,
        (POINTER(capsa_vm), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_resume": (
        c_int32,
        (POINTER(capsa_vm), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_set_memory_target": (
        c_int32,
        (POINTER(capsa_vm), c_uint64, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_vsock_connect": (
        c_int32,
        (POINTER(capsa_vm), c_uint32, c_uint32, c_int64, POINTER(capsa_cancel), POINTER(c_int),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_vsock_listen": (
        c_int32,
        (POINTER(capsa_vm), c_uint32, c_uint32, c_int, POINTER(c_int), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_vsock_unlisten": (
        c_int32,
        (POINTER(capsa_vm), c_uint32, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_state": (
        c_int32,
        (POINTER(capsa_vm), POINTER(c_uint32), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_stats_json": (
        c_int32,
        (POINTER(capsa_vm), POINTER(c_void_p), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_stats": (
        c_int32,
        (POINTER(capsa_vm), POINTER(capsa_stats), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_device_stats": (
        c_int32,
        (POINTER(capsa_vm), c_uint32, POINTER(capsa_device_stats), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_metrics": (
        c_int32,
        (POINTER(capsa_vm), POINTER(c_void_p), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_boot_log": (
        c_int32,
        (POINTER(capsa_vm), POINTER(POINTER(capsa_output)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_event_fd": (
        c_int32,
        (POINTER(capsa_vm), POINTER(c_int), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_next_event": (
        c_int32,
        (POINTER(capsa_vm), c_int64, POINTER(capsa_cancel), POINTER(capsa_event), POINTER(c_void_p),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_exit_fd": (
        c_int32,
        (POINTER(capsa_vm), POINTER(c_int), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_console": (
        c_int32,
        (POINTER(capsa_vm), POINTER(POINTER(capsa_console)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_vm_free": (
        None,
        (POINTER(capsa_vm),),
    ),
    "capsa_console_fd": (
        c_int32,
        (POINTER(capsa_console), POINTER(c_int), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_read": (
        c_int32,
        (POINTER(capsa_console), c_int64, POINTER(capsa_cancel), c_void_p, c_size_t, POINTER(c_size_t),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_write": (
        c_int32,
        (POINTER(capsa_console), c_int64, POINTER(capsa_cancel), c_void_p, c_size_t, POINTER(c_size_t),
         POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_expect": (
        c_int32,
        (POINTER(capsa_console), c_int64, POINTER(capsa_cancel), POINTER(capsa_pattern), c_size_t,
         POINTER(capsa_match), POINTER(POINTER(capsa_output)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_run": (
        c_int32,
        (POINTER(capsa_console), c_int64, POINTER(capsa_cancel), c_char_p, POINTER(c_int32),
         POINTER(POINTER(capsa_output)), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_interrupt": (
        c_int32,
        (POINTER(capsa_console), c_int64, POINTER(capsa_cancel), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_eof": (
        c_int32,
        (POINTER(capsa_console), c_int64, POINTER(capsa_cancel), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_resize": (
        c_int32,
        (POINTER(capsa_console), c_uint16, c_uint16, POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_lost": (
        c_int32,
        (POINTER(capsa_console), POINTER(c_uint64), POINTER(POINTER(capsa_error)),),
    ),
    "capsa_console_free": (
        None,
        (POINTER(capsa_console),),
    ),
    "capsa_output_data": (
        c_void_p,
        (POINTER(capsa_output), POINTER(c_size_t),),
    ),
    "capsa_output_missing": (
        c_uint64,
        (POINTER(capsa_output),),
    ),
    "capsa_output_free": (
        None,
        (POINTER(capsa_output),),
    ),
}
