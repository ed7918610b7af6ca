"""Directories of the host that the guest mounts."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

from . import _bindings as c
from ._ffi import Path, unsigned
from .enums import ShareCache, ShareOwner, ShareXattr


@dataclass(frozen=True)
class IDRange:
    """Consecutive ids of the guest and what they are on the host."""

    guest: int
    host: int
    count: int = 1


@dataclass(frozen=True)
class Share:
    """A directory that the guest mounts by its tag: ``mount -t virtiofs TAG /mnt``.

    Nothing outside of the directory can be reached, whatever the guest does and whatever links are in it.
    """

    path: Path
    read_only: bool = False
    """enforced on the host"""
    cache: ShareCache = ShareCache.AUTO
    owner: ShareOwner = ShareOwner.SQUASH
    xattr: ShareXattr = ShareXattr.USER
    guest_uid: int = 0
    """who owns everything in the guest, when the owner is SQUASH"""
    guest_gid: int = 0
    host_uid: Optional[int] = None
    """who owns on the host what the guest makes; given together with host_gid. None: this process's user"""
    host_gid: Optional[int] = None
    uids: Sequence[IDRange] = ()
    """how ids are shifted, when the owner is RANGES"""
    gids: Sequence[IDRange] = ()
    writeback: bool = False
    """the guest delays writes; right when only it writes"""
    acl: bool = False
    """POSIX access control lists, when the owner is PASSTHROUGH or RANGES"""
    guest_locks: bool = False
    """locks stay in the guest; else they hold between the host and all guests"""
    one_file_system: bool = False
    """what is mounted below the directory is not shared"""
    allow_set_id: bool = False
    """set-user-ID and set-group-ID bits are kept, and hold on the host too"""
    allow_devices: bool = False
    """device nodes are made, and are the host's devices there; when the owner is PASSTHROUGH"""
    direct_io: bool = False
    """O_DIRECT is passed on to the host, with its demands on alignment"""
    max_files: int = 0
    """descriptors the share may have open; 0: half of the process's limit"""
    max_inodes: int = 0
    """files that are remembered; 0: 262,144"""
    queues: int = 0
    """request queues, 16 at most; 0: as suits the number of processors"""

    def options(self) -> Tuple[c.capsa_share_options, Any]:
        """The header's structure, and what has to live as long as it."""
        o = c.capsa_share_options.init()
        given = self.host_uid is not None or self.host_gid is not None
        o.flags = (
            c.CAPSA_SHARE_READ_ONLY * bool(self.read_only)
            | c.CAPSA_SHARE_WRITEBACK * bool(self.writeback)
            | c.CAPSA_SHARE_ACL * bool(self.acl)
            | c.CAPSA_SHARE_GUEST_LOCKS * bool(self.guest_locks)
            | c.CAPSA_SHARE_ONE_FILE_SYSTEM * bool(self.one_file_system)
            | c.CAPSA_SHARE_ALLOW_SET_ID * bool(self.allow_set_id)
            | c.CAPSA_SHARE_ALLOW_DEVICES * bool(self.allow_devices)
            | c.CAPSA_SHARE_DIRECT_IO * bool(self.direct_io)
            | c.CAPSA_SHARE_HOST_IDS * given
        )
        for name in ("cache", "owner", "xattr", "queues", "guest_uid", "guest_gid", "max_files", "max_inodes"):
            setattr(o, name, unsigned(getattr(self, name), 32, name))
        if given:
            if self.host_uid is None or self.host_gid is None:
                raise TypeError("host_uid and host_gid are given both or not at all")
            o.host_uid = unsigned(self.host_uid, 32, "host_uid")
            o.host_gid = unsigned(self.host_gid, 32, "host_gid")
        uids, gids = _ranges(self.uids, "uids"), _ranges(self.gids, "gids")
        if uids is not None:
            o.uids, o.n_uids = uids, len(uids)
        if gids is not None:
            o.gids, o.n_gids = gids, len(gids)
        return o, (uids, gids)


def _ranges(ranges: Sequence[IDRange], what: str) -> Any:
    """The header's array; None when it is empty."""
    if not ranges:
        return None
    made = [c.capsa_id_range(*(unsigned(n, 32, what) for n in (r.guest, r.host, r.count))) for r in ranges]
    return (c.capsa_id_range * len(made))(*made)
