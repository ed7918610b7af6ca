//! Options of a machine to be built. Zero, empty and `None` are the defaults that `capsa.h` tells.
use crate::error::{text, Result};
use crate::handle::{optional, path, pointer, string, strings};
use capsa_sys::*;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::net::IpAddr;
use std::path::PathBuf;

/// The flags of those that are given.
fn flags(given: &[(bool, u32)]) -> u32 {
    given.iter().filter(|(on, _)| *on).fold(0, |all, (_, flag)| all | flag)
}

/// The console.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsoleOptions {
    /// Width in characters; 0: 80.
    pub columns: u16,
    /// Height in lines; 0: 24.
    pub rows: u16,
    /// Bytes of output kept for readers; 0: 1 MiB.
    pub ring_size: u64,
}

/// The format of a disk's image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFormat {
    /// qcow2 if the content says so, else an error: raw must be said.
    #[default]
    Auto,
    /// The file is the disk, byte by byte; also for block devices.
    Raw,
    /// QEMU's format, versions 2 and 3.
    Qcow2,
}

/// A disk. With an overlay, or as a temporary one, the image is only read and any number of machines may share it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Of the image.
    pub format: DiskFormat,
    /// The guest cannot write.
    pub read_only: bool,
    /// Changes go to an unnamed file that is gone with the machine.
    pub temporary: bool,
    /// I/O goes past the host's page cache.
    pub direct: bool,
    /// The root file system is here, unless an argument has `root=`.
    pub root: bool,
    /// A qcow2 image that takes the changes. It is made if it is not there, and kept.
    pub overlay: Option<PathBuf>,
    /// Where a temporary disk keeps its file; None: `/var/tmp`.
    pub scratch_dir: Option<PathBuf>,
    /// What the guest sees: up to 20 bytes of printable ASCII without `/`.
    pub serial: Option<String>,
    /// Directories in which a qcow2 image may have backing files, besides its own.
    pub backing_dirs: Vec<PathBuf>,
    /// Request queues, 16 at most; 0: as suits the number of processors.
    pub queues: u32,
    /// Requests per second; 0: no limit.
    pub iops: u64,
    /// Requests at once after a pause; 0: a tenth of a second's.
    pub iops_burst: u64,
    /// Bytes per second; 0: no limit.
    pub bytes_per_sec: u64,
    /// Bytes at once after a pause; 0: a tenth of a second's.
    pub bytes_burst: u64,
}

impl Disk {
    /// Calls `f` with the header's structure.
    pub(crate) fn with(&self, f: impl FnOnce(&capsa_disk_options) -> Result<()>) -> Result<()> {
        let overlay = optional(self.overlay.as_ref(), path)?;
        let scratch = optional(self.scratch_dir.as_ref(), path)?;
        let serial = optional(self.serial.as_ref(), |s| string("the serial number", s))?;
        let dirs = self.backing_dirs.iter().map(path).collect::<Result<Vec<CString>>>()?;
        let places: Vec<_> = dirs.iter().map(|d| d.as_ptr()).collect();
        f(&capsa_disk_options {
            flags: flags(&[
                (self.read_only, CAPSA_DISK_READ_ONLY),
                (self.temporary, CAPSA_DISK_TEMPORARY),
                (self.direct, CAPSA_DISK_DIRECT),
                (self.root, CAPSA_DISK_ROOT),
            ]),
            format: match self.format {
                DiskFormat::Auto => CAPSA_DISK_FORMAT_AUTO,
                DiskFormat::Raw => CAPSA_DISK_FORMAT_RAW,
                DiskFormat::Qcow2 => CAPSA_DISK_FORMAT_QCOW2,
            },
            queues: self.queues,
            overlay: pointer(&overlay),
            scratch_dir: pointer(&scratch),
            serial: pointer(&serial),
            backing_dirs: places.as_ptr(),
            n_backing_dirs: places.len(),
            iops: self.iops,
            iops_burst: self.iops_burst,
            bytes_per_sec: self.bytes_per_sec,
            bytes_burst: self.bytes_burst,
            ..capsa_disk_options::INIT
        })
    }
}

/// How long the guest believes what it has seen of a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShareCache {
    /// Names and attributes for a second, data until an open finds it changed.
    #[default]
    Auto,
    /// Every access asks the host.
    None,
    /// Everything for a day; right when the host does not change the directory.
    Always,
}

/// Consecutive ids of the guest and what they are on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first one in the guest.
    pub guest: u32,
    /// The first one on the host.
    pub host: u32,
    /// How many; at least 1.
    pub count: u32,
}

/// Whose the files of a share are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareOwner {
    /// In the guest all belongs to one user and group.
    Squash {
        /// The user in the guest.
        guest_uid: u32,
        /// The group in the guest.
        guest_gid: u32,
        /// User and group on the host of what the guest makes; None: this process's.
        host: Option<(u32, u32)>,
    },
    /// Ids are the same on both sides.
    Passthrough,
    /// To each user of the guest all belongs to that user; slower.
    Caller,
    /// Ids are shifted.
    Ranges {
        /// Of users.
        uids: Vec<IdRange>,
        /// Of groups.
        gids: Vec<IdRange>,
    },
}

impl Default for ShareOwner {
    fn default() -> Self {
        Self::Squash { guest_uid: 0, guest_gid: 0, host: None }
    }
}

/// Which extended attributes a share has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShareXattr {
    /// Those of the namespace `user.`.
    #[default]
    User,
    /// None.
    None,
    /// `trusted.` and `security.` too.
    All,
}

/// A directory of the host that the guest mounts. Nothing outside of it can be reached, whatever the guest does.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Enforced on the host.
    pub read_only: bool,
    /// The guest delays writes; right when only it writes.
    pub writeback: bool,
    /// POSIX access control lists.
    pub acl: bool,
    /// Locks stay in the guest; else they hold between the host and all guests.
    pub guest_locks: bool,
    /// What is mounted below the directory is not shared.
    pub one_file_system: bool,
    /// Set-user-ID and set-group-ID bits are kept, and hold on the host too.
    pub allow_set_id: bool,
    /// Device nodes are made, and are the host's devices; with [`ShareOwner::Passthrough`].
    pub allow_devices: bool,
    /// `O_DIRECT` is passed on to the host, with its demands on alignment.
    pub direct_io: bool,
    /// How long the guest believes what it has seen.
    pub cache: ShareCache,
    /// Whose the files are.
    pub owner: ShareOwner,
    /// Which extended attributes there are.
    pub xattr: ShareXattr,
    /// Request queues, 16 at most; 0: as suits the number of processors.
    pub queues: u32,
    /// Descriptors the share may have open; 0: half of the process's limit.
    pub max_files: u32,
    /// Files that are remembered; 0: 262,144.
    pub max_inodes: u32,
}

impl Share {
    /// Calls `f` with the header's structure.
    pub(crate) fn with(&self, f: impl FnOnce(&capsa_share_options) -> Result<()>) -> Result<()> {
        let ranges = |list: &[IdRange]| -> Vec<capsa_id_range> {
            list.iter().map(|r| capsa_id_range { guest: r.guest, host: r.host, count: r.count }).collect()
        };
        let (uids, gids) = match &self.owner {
            ShareOwner::Ranges { uids, gids } => (ranges(uids), ranges(gids)),
            _ => Default::default(),
        };
        let mut options = capsa_share_options {
            flags: flags(&[
                (self.read_only, CAPSA_SHARE_READ_ONLY),
                (self.writeback, CAPSA_SHARE_WRITEBACK),
                (self.acl, CAPSA_SHARE_ACL),
                (self.guest_locks, CAPSA_SHARE_GUEST_LOCKS),
                (self.one_file_system, CAPSA_SHARE_ONE_FILE_SYSTEM),
                (self.allow_set_id, CAPSA_SHARE_ALLOW_SET_ID),
                (self.allow_devices, CAPSA_SHARE_ALLOW_DEVICES),
                (self.direct_io, CAPSA_SHARE_DIRECT_IO),
            ]),
            cache: match self.cache {
                ShareCache::Auto => CAPSA_SHARE_CACHE_AUTO,
                ShareCache::None => CAPSA_SHARE_CACHE_NONE,
                ShareCache::Always => CAPSA_SHARE_CACHE_ALWAYS,
            },
            xattr: match self.xattr {
                ShareXattr::User => CAPSA_SHARE_XATTR_USER,
                ShareXattr::None => CAPSA_SHARE_XATTR_NONE,
                ShareXattr::All => CAPSA_SHARE_XATTR_ALL,
            },
            queues: self.queues,
            max_files: self.max_files,
            max_inodes: self.max_inodes,
            ..capsa_share_options::INIT
        };
        match self.owner {
            ShareOwner::Squash { guest_uid, guest_gid, host } => {
                options.owner = CAPSA_SHARE_OWNER_SQUASH;
                (options.guest_uid, options.guest_gid) = (guest_uid, guest_gid);
                if let Some((uid, gid)) = host {
                    options.flags |= CAPSA_SHARE_HOST_IDS;
                    (options.host_uid, options.host_gid) = (uid, gid);
                }
            }
            ShareOwner::Passthrough => options.owner = CAPSA_SHARE_OWNER_PASSTHROUGH,
            ShareOwner::Caller => options.owner = CAPSA_SHARE_OWNER_CALLER,
            ShareOwner::Ranges { .. } => {
                options.owner = CAPSA_SHARE_OWNER_RANGES;
                (options.uids, options.n_uids) = (uids.as_ptr(), uids.len());
                (options.gids, options.n_gids) = (gids.as_ptr(), gids.len());
            }
        }
        f(&options)
    }
}

/// How memory that the guest does without goes back to the host; all of it is on by default.
#[derive(Clone, Copy, Debug)]
pub struct Balloon {
    /// There is a balloon.
    pub enabled: bool,
    /// The guest gives back by itself what is free.
    pub reporting: bool,
    /// It takes back what it was asked for rather than kill programs.
    pub deflate_on_oom: bool,
}

impl Default for Balloon {
    fn default() -> Self {
        Self { enabled: true, reporting: true, deflate_on_oom: true }
    }
}

impl Balloon {
    pub(crate) fn options(&self) -> capsa_balloon_options {
        capsa_balloon_options {
            flags: flags(&[
                (!self.enabled, CAPSA_BALLOON_OFF),
                (!self.reporting, CAPSA_BALLOON_NO_REPORTING),
                (!self.deflate_on_oom, CAPSA_BALLOON_NO_DEFLATE_ON_OOM),
            ]),
            ..capsa_balloon_options::INIT
        }
    }
}

/// The process in which a machine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// As the backend prefers: kvm runs it in this process.
    #[default]
    Default,
    /// In this process.
    None,
    /// In a process of its own, whose death is only the machine's.
    Process(Jail),
}

/// How far a process of a machine's own is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jail {
    /// As far as the library goes; what the host's kernel cannot do is an error of the build.
    #[default]
    Full,
    /// As far as the host's kernel goes.
    Partial,
    /// Not at all.
    Off,
}

impl Isolation {
    pub(crate) fn numbers(self) -> (u32, u32) {
        match self {
            Self::Default => (CAPSA_ISOLATION_DEFAULT, 0),
            Self::None => (CAPSA_ISOLATION_NONE, 0),
            Self::Process(Jail::Full) => (CAPSA_ISOLATION_PROCESS, 0),
            Self::Process(Jail::Partial) => (CAPSA_ISOLATION_PROCESS, CAPSA_ISOLATION_JAIL_PARTIAL),
            Self::Process(Jail::Off) => (CAPSA_ISOLATION_PROCESS, CAPSA_ISOLATION_JAIL_OFF),
        }
    }
}

/// A network of the machine's own, in user space: it needs no privileges and changes nothing about the host.
///
/// The guest reaches what this process does, as far as the policy lets it. It gets its address by DHCP, and over IPv6 by
/// router advertisements; the gateway answers DNS, also for `host.capsa.internal`, which is its own address.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// The platform's network in place of one of the machine's own; not on every backend.
    pub nat: bool,
    /// Of the guest, `"02:00:5e:10:00:01"`; None: made of the machine's name, or of chance.
    pub mac: Option<String>,
    /// Bytes, 1280 to 65520; 0: 1500.
    pub mtu: u32,
    /// Network of 8 to 30 bits; None: `"10.0.2.0/24"`.
    pub ipv4: Option<String>,
    /// The guest's address there; None: the 15th.
    pub guest: Option<String>,
    /// This side's; None: the 2nd.
    pub gateway: Option<String>,
    /// Network of 64 bits; None: `"fd6c:6962:6361::/64"`.
    pub ipv6: Option<String>,
    /// IPv4 only.
    pub no_ipv6: bool,
    /// That DHCP gives the guest.
    pub hostname: Option<String>,
    /// Name servers, `"192.0.2.53"` or `"192.0.2.53:5353"`; none: the host's.
    pub dns: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Static names and their addresses.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// The gateway's address leads to the host's loopback, where the policy allows it.
    pub host_access: bool,
    /// The cable is not plugged in, until [`Vm::set_link`](crate::Vm::set_link).
    pub link_down: bool,
}

impl Network {
    /// Calls `f` with the header's structure.
    pub(crate) fn with(&self, f: impl FnOnce(&capsa_network_options) -> Result<()>) -> Result<()> {
        let one = |what, value: &Option<String>| optional(value.as_ref(), |v| string(what, v));
        let (mac, ipv4) = (one("the MAC address", &self.mac)?, one("the IPv4 network", &self.ipv4)?);
        let (guest, gateway) = (one("the guest's address", &self.guest)?, one("the gateway", &self.gateway)?);
        let (ipv6, hostname) = (one("the IPv6 network", &self.ipv6)?, one("the host name", &self.hostname)?);
        let (_dns, dns) = strings("a name server", &self.dns)?;
        let (_search, search) = strings("a search domain", &self.search)?;
        let mut names = Vec::new();
        for (name, addresses) in &self.hosts {
            for address in addresses {
                names.push((string("a host's name", name)?, string("a host's address", address.to_string())?));
            }
        }
        let hosts: Vec<_> =
            names.iter().map(|(n, a)| capsa_host_name { name: n.as_ptr(), address: a.as_ptr() }).collect();
        f(&capsa_network_options {
            mode: if self.nat { CAPSA_NETWORK_NAT } else { CAPSA_NETWORK_USER },
            flags: flags(&[
                (self.no_ipv6, CAPSA_NETWORK_NO_IPV6),
                (self.host_access, CAPSA_NETWORK_HOST_ACCESS),
                (self.link_down, CAPSA_NETWORK_LINK_DOWN),
            ]),
            mtu: self.mtu,
            mac: pointer(&mac),
            ipv4: pointer(&ipv4),
            guest: pointer(&guest),
            gateway: pointer(&gateway),
            ipv6: pointer(&ipv6),
            hostname: pointer(&hostname),
            dns: dns.as_ptr(),
            n_dns: dns.len(),
            search: search.as_ptr(),
            n_search: search.len(),
            hosts: hosts.as_ptr(),
            n_hosts: hosts.len(),
            ..capsa_network_options::INIT
        })
    }
}

/// What a forwarded port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the guest that the host's side reaches. Until the guest answers, clients wait.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// From 1 on.
    pub guest_port: u16,
    /// 0: any that is free.
    pub host_port: u16,
    /// Address of the host to listen at, `"0.0.0.0"` or `"::"` for all; None: `"127.0.0.1"`.
    pub host: Option<String>,
    /// Of a unix socket that leads to a TCP port, in place of host and host_port.
    pub path: Option<PathBuf>,
    /// What it speaks.
    pub protocol: Protocol,
}

impl Forward {
    /// TCP from any free port of 127.0.0.1.
    pub fn tcp(guest_port: u16) -> Self {
        Self { guest_port, ..Self::default() }
    }

    /// Calls `f` with the header's structure.
    pub(crate) fn with(&self, f: impl FnOnce(&capsa_forward_options) -> Result<()>) -> Result<()> {
        let host = optional(self.host.as_ref(), |h| string("the address", h))?;
        let at = optional(self.path.as_ref(), path)?;
        f(&capsa_forward_options {
            protocol: match self.protocol {
                Protocol::Tcp => CAPSA_FORWARD_TCP,
                Protocol::Udp => CAPSA_FORWARD_UDP,
            },
            host: pointer(&host),
            path: pointer(&at),
            host_port: self.host_port,
            guest_port: self.guest_port,
            ..capsa_forward_options::INIT
        })
    }
}

/// A forwarded port as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenForward {
    /// For [`Vm::remove_forward`](crate::Vm::remove_forward); no other forward of the machine ever has it.
    pub id: u32,
    /// What it speaks.
    pub protocol: Protocol,
    /// As given.
    pub guest_port: u16,
    /// That was chosen if none was given; 0 of a unix socket.
    pub host_port: u16,
    /// Address, or path of the unix socket.
    pub host: String,
}

impl OpenForward {
    pub(crate) fn of(info: &capsa_forward_info) -> Self {
        Self {
            id: info.id,
            protocol: if info.protocol == CAPSA_FORWARD_UDP { Protocol::Udp } else { Protocol::Tcp },
            guest_port: info.guest_port,
            host_port: info.host_port,
            // SAFETY: the library ends the text with a zero byte.
            host: unsafe { text(info.host.as_ptr()) },
        }
    }
}
