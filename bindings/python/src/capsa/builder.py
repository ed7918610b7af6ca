"""The description of a machine."""
from __future__ import annotations

import json
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Tuple, Type, TypeVar, Union

from . import _bindings as c
from ._ffi import Handle, Path, call, handle_of, json_from, lib, optional_path, path, string, text_from, unsigned
from ._wait import milliseconds
from .disk import Disk
from .cable import Capture, NetworkLimits, SharedNetwork, attach_options, capture_of
from .enums import Balloon, Isolation, Jail, NetworkMode
from .network import Forward, Network, Policy, forward as forward_of, policy_text
from .share import Share
from .vm import VM
from .vsock import flags


_Builder = TypeVar("_Builder", bound="Builder")


@dataclass(frozen=True)
class ConsoleOptions:
    """The console of a machine to be built."""

    columns: int = 0
    """width in characters; 0: 80"""
    rows: int = 0
    """height in lines; 0: 24"""
    ring_size: int = 0
    """bytes of output kept for readers; 0: 1 MiB"""


class Builder(Handle):
    """Describes a machine and builds any number of them.

    Everything can be said by keywords, or by the methods, which return the builder::

        Builder(kernel="bzImage", initrd="initrd.cpio", cpus=2, memory_mib=512)
        Builder().linux("bzImage", "initrd.cpio").cpus(2).memory_mib(512)

    A new one has 1 processor, 256 MiB, the best backend of the host, and nothing to boot. A method that fails changes
    nothing; the last call wins.
    """

    _type = c.capsa_builder
    _free = "capsa_builder_free"
    _new = "capsa_builder_new"
    _attached: Optional[SharedNetwork] = None

    def __init__(
        self,
        *,
        kernel: Optional[Path] = None,
        initrd: Optional[Path] = None,
        args: Iterable[str] = (),
        cmdline: Optional[str] = None,
        name: Optional[str] = None,
        backend: Optional[str] = None,
        cpus: Optional[int] = None,
        memory_mib: Optional[int] = None,
        timeout: Optional[float] = None,
        disks: Iterable[Union[Disk, Path]] = (),
        shares: Optional[Mapping[str, Union[Share, Path]]] = None,
        console: Optional[ConsoleOptions] = None,
        balloon: Optional[Balloon] = None,
        isolation: Optional[Isolation] = None,
        jail: Optional[Jail] = None,
        network: Union[Network, bool, None] = None,
        policy: Optional[Policy] = None,
        forwards: Iterable[Union[Forward, int]] = (),
        vsock: Optional[bool] = None,
        vsock_listen: Optional[Mapping[int, Path]] = None,
        vsock_connect: Optional[Mapping[int, Path]] = None,
    ) -> None:
        super().__init__(getattr(lib, self._new))
        if kernel is not None:
            self.linux(kernel, initrd)
        elif initrd is not None:
            raise TypeError("an initrd without a kernel")
        self.args(*args)
        given: Tuple[Tuple[Any, Callable[[Any], Any]], ...] = (
            (cmdline, self.cmdline), (name, self.name), (backend, self.backend), (cpus, self.cpus),
            (memory_mib, self.memory_mib), (timeout, self.timeout), (balloon, self.balloon), (network, self.network),
            (policy, self.policy), (vsock, self.vsock),
        )
        for value, method in given:
            if value is not None:
                method(value)
        if isolation is not None or jail is not None:
            self.isolation(Isolation.DEFAULT if isolation is None else isolation, jail=jail or Jail.FULL)
        for disk in disks:
            self.disk(disk)
        for tag, share in (shares or {}).items():
            self.share(tag, share)
        for port in forwards:
            self.forward(port)
        if console is not None:
            self.console(console.columns, console.rows, console.ring_size)
        for number, at in (vsock_listen or {}).items():
            self.vsock_listen(number, at)
        for number, to in (vsock_connect or {}).items():
            self.vsock_connect(number, to)

    @classmethod
    def _made(cls: Type[_Builder], function: Any, *arguments: Any) -> _Builder:
        """A builder that another function of the library makes."""
        builder = cls.__new__(cls)
        Handle.__init__(builder, function, *arguments)
        return builder

    def clone(self: _Builder) -> _Builder:
        """A copy that from now on changes by itself."""
        copy = self._made(lib.capsa_builder_clone, self._handle)
        copy._attached = self._attached
        return copy

    @classmethod
    def from_json(cls: Type[_Builder], description: Union[str, bytes, Mapping[str, Any]]) -> _Builder:
        """A builder from such JSON, as text or as a mapping. Unknown fields are errors."""
        if isinstance(description, Mapping):
            description = json.dumps(dict(description))
        data = description.encode() if isinstance(description, str) else bytes(description)
        return cls._made(lib.capsa_builder_from_json, data, len(data))

    def to_json(self) -> str:
        """The description as JSON."""
        return text_from(lib.capsa_builder_to_json, self._handle)

    def to_dict(self) -> Dict[str, Any]:
        """The same, parsed."""
        return json_from(lib.capsa_builder_to_json, self._handle)

    def linux(self: _Builder, kernel: Path, initrd: Optional[Path] = None) -> _Builder:
        """Boots a Linux kernel (bzImage or ELF vmlinux) with an initial RAM disk. Opened by build()."""
        call(lib.capsa_builder_boot_linux, self._handle, path(kernel, "the kernel"),
             optional_path(initrd, "the initrd"))
        return self

    def args(self: _Builder, *args: str) -> _Builder:
        """Appends arguments to the kernel command line, after the machine's own; of several values the last wins."""
        for arg in args:
            call(lib.capsa_builder_cmdline_arg, self._handle, string(arg, "an argument"))
        return self

    def cmdline(self: _Builder, cmdline: Optional[str]) -> _Builder:
        """Gives the whole command line, in place of the machine's own and of args(); None goes back to its own."""
        value = None if cmdline is None else string(cmdline, "the command line")
        call(lib.capsa_builder_set_cmdline, self._handle, value)
        return self

    def name(self: _Builder, name: str) -> _Builder:
        """Names the machine, for messages and process listings: up to 64 bytes of printable text."""
        call(lib.capsa_builder_set_name, self._handle, string(name, "the name"))
        return self

    def backend(self: _Builder, name: str) -> _Builder:
        """Chooses the backend: ``"kvm"``, or ``""`` for the best one of the host."""
        call(lib.capsa_builder_set_backend, self._handle, string(name, "the backend"))
        return self

    def cpus(self: _Builder, cpus: int) -> _Builder:
        """Sets the number of virtual processors, at least 1."""
        call(lib.capsa_builder_set_cpus, self._handle, unsigned(cpus, 32, "the number of cpus"))
        return self

    def memory_mib(self: _Builder, mib: int) -> _Builder:
        """Sets the guest's memory in MiB."""
        call(lib.capsa_builder_set_memory_mib, self._handle, unsigned(mib, 64, "the memory in MiB"))
        return self

    def timeout(self: _Builder, seconds: Optional[float]) -> _Builder:
        """Limits the machine's whole life, from start on; it then ends with Cause.TIMED_OUT. None: no limit."""
        call(lib.capsa_builder_set_timeout, self._handle, 0 if seconds is None else milliseconds(seconds))
        return self

    def console(self: _Builder, columns: int = 0, rows: int = 0, ring_size: int = 0) -> _Builder:
        """Sets the console's size in characters and the bytes of output kept for readers. 0: 80, 24, and 1 MiB."""
        options = c.capsa_console_options.init()
        options.columns = unsigned(columns, 16, "columns")
        options.rows = unsigned(rows, 16, "rows")
        options.ring_size = unsigned(ring_size, 64, "ring_size")
        call(lib.capsa_builder_set_console, self._handle, byref(options))
        return self

    def disk(self: _Builder, disk: Union[Disk, Path], **options: Any) -> _Builder:
        """Adds a disk: a Disk, or a path and what a Disk takes by keyword."""
        if not isinstance(disk, Disk):
            disk = Disk(disk, **options)
        elif options:
            raise TypeError("options beside a Disk, which has its own")
        made, keep = disk.options()
        call(lib.capsa_builder_add_disk, self._handle, path(disk.path, "the disk's path"), byref(made))
        del keep
        return self

    def share(self: _Builder, tag: str, share: Union[Share, Path], **options: Any) -> _Builder:
        """Adds a directory that the guest mounts by its tag: a Share, or a path and what a Share takes by keyword."""
        if not isinstance(share, Share):
            share = Share(share, **options)
        elif options:
            raise TypeError("options beside a Share, which has its own")
        made, keep = share.options()
        call(lib.capsa_builder_add_share, self._handle, string(tag, "the tag"), path(share.path, "the share's path"),
             byref(made))
        del keep
        return self

    def balloon(self: _Builder, flags: Balloon = Balloon.DEFAULT) -> _Builder:
        """Sets how memory that the guest does without goes back to the host."""
        options = c.capsa_balloon_options.init()
        options.flags = unsigned(flags, 32, "the balloon's flags")
        call(lib.capsa_builder_set_balloon, self._handle, byref(options))
        return self

    def isolation(self: _Builder, isolation: Isolation = Isolation.PROCESS, *, jail: Jail = Jail.FULL) -> _Builder:
        """Chooses the process in which the machine runs, and how far one of its own is confined.

        A machine whose process dies ends with Cause.VMM_CRASH. UnavailableError of build() when the program capsa-vzd,
        which the package brings along, is in none of the places where it could be.
        """
        call(lib.capsa_builder_set_isolation, self._handle, unsigned(isolation, 32, "the isolation"),
             unsigned(jail, 32, "the jail"))
        return self

    def network(self: _Builder, network: Union[Network, bool] = True, **options: Any) -> _Builder:
        """Gives the guest a network: a Network, or what a Network takes by keyword. False: none."""
        if not isinstance(network, Network):
            network = Network(**options) if network else Network(NetworkMode.NONE, **options)
        elif options:
            raise TypeError("options beside a Network, which has its own")
        made, keep = network.options()
        call(lib.capsa_builder_set_network, self._handle, byref(made))
        del keep
        return self

    def policy(self: _Builder, policy: Optional[Policy]) -> _Builder:
        """Says what the guest may reach, and what may reach it: JSON as text or as a mapping; capsa.h has its form.

        None goes back to everything but the host itself, and what only the host should reach.
        """
        call(lib.capsa_builder_set_policy_json, self._handle, *policy_text(policy))
        return self

    def forward(self: _Builder, forward: Union[Forward, int], **options: Any) -> _Builder:
        """Opens a port of the guest to the host's side: a Forward, or a port and what a Forward takes by keyword."""
        made = forward_of(forward, options).options()
        call(lib.capsa_builder_add_forward, self._handle, byref(made))
        return self

    def attach(self: _Builder, network: SharedNetwork, **options: Any) -> _Builder:
        """Puts the guest on a network of several machines.

        By keyword: `hostname`, its name in DNS, which is the builder's name if that can be one; `address`, a static
        one; `mac`; `link_down`.
        """
        made, keep = attach_options(**options)
        call(lib.capsa_builder_attach_network, self._handle, handle_of(SharedNetwork, network), byref(made))
        self._attached = network  # which lets machines on as long as it lives
        del keep
        return self

    def attach_fd(self: _Builder, fd: int, **options: Any) -> _Builder:
        """Makes whoever holds the other end of a descriptor the guest's network: passt, a TAP.

        By keyword: `framing`, a Framing; `mac`, `mtu`, `link_down`. The descriptor stays open until the build, which
        makes a copy of it and makes both non-blocking.
        """
        made, keep = attach_options(**options)
        call(lib.capsa_builder_attach_fd, self._handle, unsigned(fd, 31, "the descriptor"), byref(made))
        del keep
        return self

    def attach_tap(self: _Builder, name: str, **options: Any) -> _Builder:
        """Makes a TAP interface of the host the guest's network. By keyword: `mac`, `mtu`, `link_down`."""
        made, keep = attach_options(**options)
        call(lib.capsa_builder_attach_tap, self._handle, string(name, "the interface"), byref(made))
        del keep
        return self

    def network_limits(self: _Builder, limits: Optional[NetworkLimits] = None, **options: int) -> _Builder:
        """Bounds what passes the guest's network device: NetworkLimits, or what they take by keyword; nothing: none."""
        made = (limits or NetworkLimits(**options)).options()
        call(lib.capsa_builder_set_network_limits, self._handle, byref(made))
        return self

    def capture(self: _Builder, to: Union[Capture, Path, int, None]) -> _Builder:
        """Has what passes the guest's network device written to a file, by its path or descriptor. None: not."""
        made = None if to is None else byref(capture_of(to).options())
        call(lib.capsa_builder_set_capture, self._handle, made)
        return self

    def vsock(self: _Builder, on: bool = True) -> _Builder:
        """Gives the machine sockets between guest and host; a bound port does so too."""
        call(lib.capsa_builder_set_vsock, self._handle, int(bool(on)))
        return self

    def vsock_listen(self: _Builder, port: int, at: Path, *, seqpacket: bool = False) -> _Builder:
        """Binds a port of the guest to a path: the host listens there and connects each client to the guest's port."""
        call(lib.capsa_builder_vsock_listen, self._handle, unsigned(port, 32, "the port"), path(at), flags(seqpacket))
        return self

    def vsock_connect(self: _Builder, port: int, to: Path, *, seqpacket: bool = False) -> _Builder:
        """Binds a port of the host to a path: each connection of the guest to it is one to the unix socket there."""
        call(lib.capsa_builder_vsock_connect, self._handle, unsigned(port, 32, "the port"), path(to), flags(seqpacket))
        return self

    def root(self: _Builder, root: Union[Disk, Path], *, writable: bool = False) -> _Builder:
        """Makes a directory of the host, or the file system on a Disk, the root directory of a guest with an agent.

        It is only read, and what the guest writes is gone with the machine; writable: the guest writes it.
        """
        overlay = c.CAPSA_OVERLAY_NONE if writable else c.CAPSA_OVERLAY_MEMORY
        if isinstance(root, Disk):
            made, keep = root.options()
            call(lib.capsa_builder_set_root_disk, self._handle, path(root.path, "the disk's path"), byref(made),
                 overlay)
            del keep
        else:
            call(lib.capsa_builder_set_root_dir, self._handle, path(root, "the root directory"), overlay)
        return self

    def mount(self: _Builder, share: Union[Share, Path], target: Path) -> _Builder:
        """Has the guest's agent mount a directory of the host at an absolute path of the guest."""
        if not isinstance(share, Share):
            share = Share(share)
        made, keep = share.options()
        call(lib.capsa_builder_mount, self._handle, path(share.path, "the share's path"), path(target, "the target"),
             byref(made))
        del keep
        return self

    def guest(self: _Builder, guest: Union[str, Mapping[str, Any]]) -> _Builder:
        """Says what the guest's agent does (modules, root, mounts, hostname, network, main): JSON, or a mapping.

        What is left out stays as it is.
        """
        data = (guest if isinstance(guest, str) else json.dumps(dict(guest))).encode()
        call(lib.capsa_builder_set_guest_json, self._handle, data, len(data))
        return self

    def build(self) -> VM:
        """Checks the description, loads the kernel and makes the machine; nothing runs yet.

        ConfigError and others have everything that is wrong in ``problems``. The builder can build again.
        """
        return VM(lib.capsa_builder_build, self._handle)

    def start(self, timeout: Optional[float] = None) -> VM:
        """Builds a machine and starts it."""
        vm = self.build()
        try:
            return vm.start(timeout)
        except BaseException:
            vm.close()
            raise

    def __repr__(self) -> str:
        return super().__repr__() if self.closed else f"<Builder {self.to_json()}>"


class SandboxBuilder(Builder):
    """Describes a machine in which programs are run: with the library's agent, in a process of its own, no network.

    Give it a kernel and a root directory.
    """

    _new = "capsa_builder_new_sandbox"


def boot(kernel: Path, initrd: Optional[Path] = None, **description: Any) -> VM:
    """Builds a machine and starts it; takes what Builder takes::

        with capsa.boot("bzImage", "initrd.cpio", memory_mib=512) as vm:
            console = vm.console()
    """
    with Builder(kernel=kernel, initrd=initrd, **description) as builder:
        return builder.start()
