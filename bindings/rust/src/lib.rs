//! Declarations of libcapsa's C ABI, by hand, in the order of `include/capsa.h`, which documents them.
//!
//! Handles are tokens and never dereferenced; every function may be called from any thread.
#![no_std]
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_int, c_void};

pub type capsa_status = i32;

macro_rules! handles {
    ($($name:ident),*) => {$(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
            _marker: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,
        }
    )*};
}
handles!(
    capsa_error,
    capsa_cancel,
    capsa_builder,
    capsa_vm,
    capsa_console,
    capsa_output,
    capsa_network,
    capsa_exec
);

pub const CAPSA_ABI_VERSION: u32 = 0;

pub const CAPSA_OK: capsa_status = 0;
pub const CAPSA_E_INVALID_ARG: capsa_status = -1;
pub const CAPSA_E_HANDLE: capsa_status = -2;
pub const CAPSA_E_STATE: capsa_status = -3;
pub const CAPSA_E_CONFIG: capsa_status = -4;
pub const CAPSA_E_UNSUPPORTED: capsa_status = -5;
pub const CAPSA_E_UNAVAILABLE: capsa_status = -6;
pub const CAPSA_E_NOT_FOUND: capsa_status = -7;
pub const CAPSA_E_EXISTS: capsa_status = -8;
pub const CAPSA_E_PERMISSION: capsa_status = -9;
pub const CAPSA_E_NO_MEMORY: capsa_status = -10;
pub const CAPSA_E_LIMIT: capsa_status = -11;
pub const CAPSA_E_TIMEOUT: capsa_status = -12;
pub const CAPSA_E_CANCELLED: capsa_status = -13;
pub const CAPSA_E_CLOSED: capsa_status = -14;
pub const CAPSA_E_IO: capsa_status = -15;
pub const CAPSA_E_BOOT: capsa_status = -16;
pub const CAPSA_E_GUEST: capsa_status = -17;
pub const CAPSA_E_PROTOCOL: capsa_status = -18;
pub const CAPSA_E_VMM_DIED: capsa_status = -19;
pub const CAPSA_E_FORKED: capsa_status = -20;
pub const CAPSA_E_INTERNAL: capsa_status = -21;
pub const CAPSA_E_INTERRUPTED: capsa_status = -269;

pub const CAPSA_STATE_CREATED: u32 = 0;
pub const CAPSA_STATE_STARTING: u32 = 1;
pub const CAPSA_STATE_RUNNING: u32 = 2;
pub const CAPSA_STATE_PAUSED: u32 = 3;
pub const CAPSA_STATE_STOPPING: u32 = 4;
pub const CAPSA_STATE_STOPPED: u32 = 5;
pub const CAPSA_STATE_FAILED: u32 = 6;

pub const CAPSA_CAUSE_NONE: u32 = 0;
pub const CAPSA_CAUSE_GUEST_SHUTDOWN: u32 = 1;
pub const CAPSA_CAUSE_MAIN_EXITED: u32 = 2;
pub const CAPSA_CAUSE_REBOOT: u32 = 3;
pub const CAPSA_CAUSE_PANIC: u32 = 4;
pub const CAPSA_CAUSE_OOM: u32 = 5;
pub const CAPSA_CAUSE_STOPPED: u32 = 6;
pub const CAPSA_CAUSE_KILLED: u32 = 7;
pub const CAPSA_CAUSE_TIMED_OUT: u32 = 8;
pub const CAPSA_CAUSE_VMM_CRASH: u32 = 9;
pub const CAPSA_CAUSE_BOOT_FAILED: u32 = 10;
pub const CAPSA_CAUSE_TRIPLE_FAULT: u32 = 11;

pub const CAPSA_STAGE_NONE: u32 = 0;
pub const CAPSA_STAGE_AGENT: u32 = 1;
pub const CAPSA_STAGE_POWER_BUTTON: u32 = 2;
pub const CAPSA_STAGE_KILL: u32 = 3;

pub const CAPSA_PATTERN_LITERAL: u32 = 1;
pub const CAPSA_PATTERN_REGEX: u32 = 2;

pub const CAPSA_EVENT_STATE: u32 = 1;
pub const CAPSA_EVENT_READY: u32 = 2;
pub const CAPSA_EVENT_EXITED: u32 = 3;
pub const CAPSA_EVENT_EXEC_EXITED: u32 = 4;
pub const CAPSA_EVENT_CONSOLE_DATA: u32 = 5;
pub const CAPSA_EVENT_PORT_BOUND: u32 = 6;
pub const CAPSA_EVENT_POLICY_DENY: u32 = 7;
pub const CAPSA_EVENT_OOM: u32 = 8;
pub const CAPSA_EVENT_LOG: u32 = 9;
pub const CAPSA_EVENT_EVENTS_LOST: u32 = 10;
pub const CAPSA_EVENT_DISK_ERROR: u32 = 11;
pub const CAPSA_EVENT_CRASH_KERNEL: u32 = 12;
pub const CAPSA_EVENT_LINK: u32 = 13;

pub const CAPSA_DISK_READ_ONLY: u32 = 1;
pub const CAPSA_DISK_TEMPORARY: u32 = 2;
pub const CAPSA_DISK_DIRECT: u32 = 4;
pub const CAPSA_DISK_ROOT: u32 = 8;
pub const CAPSA_DISK_FORMAT_AUTO: u32 = 0;
pub const CAPSA_DISK_FORMAT_RAW: u32 = 1;
pub const CAPSA_DISK_FORMAT_QCOW2: u32 = 2;

pub const CAPSA_SHARE_READ_ONLY: u32 = 1;
pub const CAPSA_SHARE_WRITEBACK: u32 = 2;
pub const CAPSA_SHARE_ACL: u32 = 4;
pub const CAPSA_SHARE_GUEST_LOCKS: u32 = 8;
pub const CAPSA_SHARE_ONE_FILE_SYSTEM: u32 = 16;
pub const CAPSA_SHARE_ALLOW_SET_ID: u32 = 32;
pub const CAPSA_SHARE_DIRECT_IO: u32 = 64;
pub const CAPSA_SHARE_HOST_IDS: u32 = 128;
pub const CAPSA_SHARE_ALLOW_DEVICES: u32 = 256;
pub const CAPSA_SHARE_CACHE_AUTO: u32 = 0;
pub const CAPSA_SHARE_CACHE_NONE: u32 = 1;
pub const CAPSA_SHARE_CACHE_ALWAYS: u32 = 2;
pub const CAPSA_SHARE_OWNER_SQUASH: u32 = 0;
pub const CAPSA_SHARE_OWNER_PASSTHROUGH: u32 = 1;
pub const CAPSA_SHARE_OWNER_CALLER: u32 = 2;
pub const CAPSA_SHARE_OWNER_RANGES: u32 = 3;
pub const CAPSA_SHARE_XATTR_USER: u32 = 0;
pub const CAPSA_SHARE_XATTR_NONE: u32 = 1;
pub const CAPSA_SHARE_XATTR_ALL: u32 = 2;

pub const CAPSA_BALLOON_OFF: u32 = 1;
pub const CAPSA_BALLOON_NO_REPORTING: u32 = 2;
pub const CAPSA_BALLOON_NO_DEFLATE_ON_OOM: u32 = 4;

pub const CAPSA_ISOLATION_DEFAULT: u32 = 0;
pub const CAPSA_ISOLATION_NONE: u32 = 1;
pub const CAPSA_ISOLATION_PROCESS: u32 = 2;
pub const CAPSA_ISOLATION_JAIL_PARTIAL: u32 = 1;
pub const CAPSA_ISOLATION_JAIL_OFF: u32 = 2;

pub const CAPSA_VSOCK_SEQPACKET: u32 = 1;

pub const CAPSA_NETWORK_NONE: u32 = 0;
pub const CAPSA_NETWORK_USER: u32 = 1;
pub const CAPSA_NETWORK_NAT: u32 = 2;
pub const CAPSA_NETWORK_NO_IPV6: u32 = 1;
pub const CAPSA_NETWORK_HOST_ACCESS: u32 = 2;
pub const CAPSA_NETWORK_LINK_DOWN: u32 = 4;
pub const CAPSA_SHARED_NO_IPV6: u32 = 1;
pub const CAPSA_SHARED_HOST_ACCESS: u32 = 2;
pub const CAPSA_SHARED_NO_NAT: u32 = 4;
pub const CAPSA_SHARED_ISOLATED: u32 = 8;
pub const CAPSA_SHARED_BROADCAST: u32 = 16;
pub const CAPSA_FRAMING_STREAM: u32 = 0;
pub const CAPSA_FRAMING_DATAGRAM: u32 = 1;
pub const CAPSA_FRAMING_TAP: u32 = 2;
pub const CAPSA_FORWARD_TCP: u32 = 0;
pub const CAPSA_FORWARD_UDP: u32 = 1;

/// A structure of the ABI: its first field is its size, and `INIT` is the header's initialiser.
macro_rules! sized {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $value:expr),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name { pub size: u32, $(pub $field: $type),* }

        impl $name {
            pub const INIT: Self = Self { size: core::mem::size_of::<Self>() as u32, $($field: $value),* };
        }
    };
}

sized!(
    /// How a machine ended.
    capsa_exit_info { cause: u32 = 0, code: i32 = 0, signal: i32 = 0, flags: u32 = 0, reserved: u32 = 0, uptime_ns: u64 = 0 }
);
sized!(
    /// The console of a machine to be built.
    capsa_console_options { columns: u16 = 0, rows: u16 = 0, ring_size: u64 = 0 }
);
sized!(
    /// A disk of a machine to be built.
    capsa_disk_options {
        flags: u32 = 0,
        format: u32 = 0,
        queues: u32 = 0,
        overlay: *const c_char = core::ptr::null(),
        scratch_dir: *const c_char = core::ptr::null(),
        serial: *const c_char = core::ptr::null(),
        backing_dirs: *const *const c_char = core::ptr::null(),
        n_backing_dirs: usize = 0,
        iops: u64 = 0,
        iops_burst: u64 = 0,
        bytes_per_sec: u64 = 0,
        bytes_burst: u64 = 0,
    }
);
/// Consecutive ids of the guest and what they are on the host.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct capsa_id_range {
    pub guest: u32,
    pub host: u32,
    pub count: u32,
}

sized!(
    /// A directory of the host that the guest mounts.
    capsa_share_options {
        flags: u32 = 0,
        cache: u32 = 0,
        owner: u32 = 0,
        xattr: u32 = 0,
        queues: u32 = 0,
        guest_uid: u32 = 0,
        guest_gid: u32 = 0,
        host_uid: u32 = 0,
        host_gid: u32 = 0,
        max_files: u32 = 0,
        max_inodes: u32 = 0,
        uids: *const capsa_id_range = core::ptr::null(),
        n_uids: usize = 0,
        gids: *const capsa_id_range = core::ptr::null(),
        n_gids: usize = 0,
    }
);
sized!(
    /// How memory that the guest does without goes back to the host.
    capsa_balloon_options { flags: u32 = 0 }
);
/// A static name of a machine's network.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct capsa_host_name {
    pub name: *const c_char,
    pub address: *const c_char,
}

sized!(
    /// The guest's network.
    capsa_network_options {
        mode: u32 = 0,
        flags: u32 = 0,
        mtu: u32 = 0,
        mac: *const c_char = core::ptr::null(),
        ipv4: *const c_char = core::ptr::null(),
        guest: *const c_char = core::ptr::null(),
        gateway: *const c_char = core::ptr::null(),
        ipv6: *const c_char = core::ptr::null(),
        hostname: *const c_char = core::ptr::null(),
        dns: *const *const c_char = core::ptr::null(),
        n_dns: usize = 0,
        search: *const *const c_char = core::ptr::null(),
        n_search: usize = 0,
        hosts: *const capsa_host_name = core::ptr::null(),
        n_hosts: usize = 0,
    }
);
sized!(
    /// A network of several machines.
    capsa_shared_options {
        flags: u32 = 0,
        mtu: u32 = 0,
        reserved: u32 = 0,
        ipv4: *const c_char = core::ptr::null(),
        gateway: *const c_char = core::ptr::null(),
        ipv6: *const c_char = core::ptr::null(),
        domain: *const c_char = core::ptr::null(),
        dns: *const *const c_char = core::ptr::null(),
        n_dns: usize = 0,
        search: *const *const c_char = core::ptr::null(),
        n_search: usize = 0,
        hosts: *const capsa_host_name = core::ptr::null(),
        n_hosts: usize = 0,
    }
);
sized!(
    /// How a machine is attached to a network of several, to a descriptor or to a TAP.
    capsa_attach_options {
        flags: u32 = 0,
        framing: u32 = 0,
        mtu: u32 = 0,
        mac: *const c_char = core::ptr::null(),
        guest: *const c_char = core::ptr::null(),
        hostname: *const c_char = core::ptr::null(),
    }
);
sized!(
    /// What bounds the guest's network device.
    capsa_network_limits {
        flags: u32 = 0,
        from_guest_bytes: u64 = 0,
        from_guest_bytes_burst: u64 = 0,
        from_guest_packets: u64 = 0,
        from_guest_packets_burst: u64 = 0,
        to_guest_bytes: u64 = 0,
        to_guest_bytes_burst: u64 = 0,
        to_guest_packets: u64 = 0,
        to_guest_packets_burst: u64 = 0,
        connections: u64 = 0,
        connections_burst: u64 = 0,
    }
);
sized!(
    /// Where what passes the guest's network device is written to.
    capsa_capture_options {
        fd: i32 = -1,
        path: *const c_char = core::ptr::null(),
        snap_len: u32 = 0,
        reserved: u32 = 0,
        max_size: u64 = 0,
    }
);
sized!(
    /// A port of the guest that the host's side reaches.
    capsa_forward_options {
        protocol: u32 = 0,
        host: *const c_char = core::ptr::null(),
        path: *const c_char = core::ptr::null(),
        host_port: u16 = 0,
        guest_port: u16 = 0,
        reserved: u32 = 0,
    }
);
sized!(
    /// A forwarded port as it is.
    capsa_forward_info {
        id: u32 = 0,
        protocol: u32 = 0,
        host_port: u16 = 0,
        guest_port: u16 = 0,
        host: [c_char; 112] = [0; 112],
    }
);
/// A resource limit of a program in the guest.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct capsa_rlimit {
    pub resource: u32,
    pub reserved: u32,
    pub soft: u64,
    pub hard: u64,
}

pub const CAPSA_EXEC_TTY: u32 = 1;
pub const CAPSA_EXEC_ENV_ONLY: u32 = 2;
pub const CAPSA_EXEC_STDIN: u32 = 4;
pub const CAPSA_EXEC_STDOUT: u32 = 8;
pub const CAPSA_EXEC_STDERR: u32 = 16;
sized!(
    /// A program to be run in the guest.
    capsa_exec_options {
        flags: u32 = 0,
        args: *const *const c_char = core::ptr::null(),
        n_args: usize = 0,
        env: *const *const c_char = core::ptr::null(),
        n_env: usize = 0,
        dir: *const c_char = core::ptr::null(),
        user: *const c_char = core::ptr::null(),
        columns: u16 = 0,
        rows: u16 = 0,
        reserved: u32 = 0,
        memory: u64 = 0,
        pids: u64 = 0,
        timeout_ms: i64 = 0,
        rlimits: *const capsa_rlimit = core::ptr::null(),
        n_rlimits: usize = 0,
    }
);
pub const CAPSA_EXEC_OOM: u32 = 1;
pub const CAPSA_EXEC_TIMED_OUT: u32 = 2;
sized!(
    /// How a program in the guest ended.
    capsa_exec_status {
        code: i32 = 0,
        signal: i32 = 0,
        flags: u32 = 0,
        user_ns: u64 = 0,
        system_ns: u64 = 0,
        real_ns: u64 = 0,
        max_rss: u64 = 0,
    }
);
pub const CAPSA_OVERLAY_MEMORY: u32 = 0;
pub const CAPSA_OVERLAY_NONE: u32 = 1;
pub const CAPSA_SIGNAL_ALL: u32 = 1;
pub const CAPSA_COPY_KEEP_OWNER: u32 = 1;
sized!(
    /// How long each stage of a stop may take, in milliseconds.
    capsa_stop_options { flags: u32 = 0, agent_ms: i64 = 10000, power_button_ms: i64 = 30000, kill_ms: i64 = -1 }
);
sized!(
    /// How a stop went.
    capsa_stop_outcome { stage: u32 = 0, agent_ns: u64 = 0, power_button_ns: u64 = 0, kill_ns: u64 = 0 }
);
sized!(
    /// Counters of a machine, and its time line.
    capsa_stats {
        state: u32 = 0,
        cpus: u32 = 0,
        devices: u32 = 0,
        memory_bytes: u64 = 0,
        exits: u64 = 0,
        exits_io: u64 = 0,
        exits_mmio: u64 = 0,
        exits_other: u64 = 0,
        oom_kills: u64 = 0,
        events_lost: u64 = 0,
        created_ns: u64 = 0,
        started_ns: u64 = 0,
        first_instruction_ns: u64 = 0,
        first_exit_ns: u64 = 0,
        drivers_up_ns: u64 = 0,
        console_open_ns: u64 = 0,
        ended_ns: u64 = 0,
        resident_bytes: u64 = 0,
        target_bytes: u64 = 0,
        current_bytes: u64 = 0,
        inflated_bytes: u64 = 0,
        deflated_bytes: u64 = 0,
        reported_bytes: u64 = 0,
        guest_free_bytes: u64 = 0,
        guest_available_bytes: u64 = 0,
        guest_said_ns: u64 = 0,
        balloon: u32 = 0,
        reserved: u32 = 0,
    }
);
sized!(
    /// Counters of one device.
    capsa_device_stats {
        virtio_id: u32 = 0,
        name: [c_char; 32] = [0; 32],
        kicks: u64 = 0,
        interrupts: u64 = 0,
        requests: u64 = 0,
        bytes_in: u64 = 0,
        bytes_out: u64 = 0,
        errors: u64 = 0,
        faults: u64 = 0,
        resets: u64 = 0,
        reads: u64 = 0,
        writes: u64 = 0,
        flushes: u64 = 0,
        discards: u64 = 0,
        write_zeroes: u64 = 0,
        refused: u64 = 0,
        stalls: u64 = 0,
        throttled: u64 = 0,
    }
);
sized!(
    /// One thing to look for.
    capsa_pattern { kind: u32 = 0, data: *const c_void = core::ptr::null(), len: usize = 0 }
);
sized!(
    /// What was found.
    capsa_match { pattern: u32 = 0, start: usize = 0, len: usize = 0 }
);
sized!(
    /// Something that happened to a machine.
    capsa_event { type_: u32 = 0, time_ns: u64 = 0, value: i64 = 0 }
);

mod functions;
pub use functions::*;
