"""Disks of a machine to be built."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

from . import _bindings as c
from ._ffi import Path, optional_path, path, string, strings, unsigned
from .enums import DiskFormat


@dataclass(frozen=True)
class Disk:
    """An image or a block device that the guest sees as /dev/vda, /dev/vdb, ... in the order of adding.

    With an overlay, or as a temporary disk, the image is only read and any number of machines may share it.
    """

    path: Path
    format: DiskFormat = DiskFormat.AUTO
    read_only: bool = False
    """the guest cannot write"""
    temporary: bool = False
    """changes go to an unnamed file that is gone with the machine"""
    overlay: Optional[Path] = None
    """a qcow2 image that takes the changes; it is made if it is not there, and kept"""
    root: bool = False
    """the root file system is here, unless an argument has root="""
    direct: bool = False
    """I/O goes past the host's page cache"""
    serial: Optional[str] = None
    """what the guest sees: up to 20 bytes of printable ASCII without '/'"""
    scratch_dir: Optional[Path] = None
    """where a temporary disk keeps its file; None: /var/tmp"""
    backing_dirs: Sequence[Path] = ()
    """directories in which a qcow2 image may have backing files, besides its own"""
    queues: int = 0
    """request queues, 16 at most; 0: as suits the number of processors"""
    iops: int = 0
    """requests per second; 0: no limit"""
    iops_burst: int = 0
    """requests at once after a pause; 0: a tenth of a second's"""
    bytes_per_sec: int = 0
    """bytes per second; 0: no limit"""
    bytes_burst: int = 0
    """bytes at once after a pause; 0: a tenth of a second's"""

    def options(self) -> Tuple[c.capsa_disk_options, Any]:
        """The header's structure, and what has to live as long as it."""
        o = c.capsa_disk_options.init()
        dirs = strings(tuple(path(d, "a backing directory") for d in self.backing_dirs))
        o.flags = (
            c.CAPSA_DISK_READ_ONLY * bool(self.read_only)
            | c.CAPSA_DISK_TEMPORARY * bool(self.temporary)
            | c.CAPSA_DISK_DIRECT * bool(self.direct)
            | c.CAPSA_DISK_ROOT * bool(self.root)
        )
        o.format = unsigned(self.format, 32, "the format")
        o.queues = unsigned(self.queues, 32, "queues")
        o.overlay = optional_path(self.overlay, "the overlay")
        o.scratch_dir = optional_path(self.scratch_dir, "the scratch directory")
        o.serial = None if self.serial is None else string(self.serial, "the serial number")
        if dirs is not None:
            o.backing_dirs = dirs
            o.n_backing_dirs = len(dirs)
        o.iops = unsigned(self.iops, 64, "iops")
        o.iops_burst = unsigned(self.iops_burst, 64, "iops_burst")
        o.bytes_per_sec = unsigned(self.bytes_per_sec, 64, "bytes_per_sec")
        o.bytes_burst = unsigned(self.bytes_burst, 64, "bytes_burst")
        return o, dirs
