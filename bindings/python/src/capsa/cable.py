"""What the guest's cable leads to besides its own network, what bounds it, and who listens in."""
from __future__ import annotations

from ctypes import POINTER, byref, c_char_p, cast
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

from . import _bindings as c
from ._ffi import Handle, Path, lib, optional_path, unsigned
from .enums import Framing
from .network import Address, Prefix, host_names, text, texts


class SharedNetwork(Handle):
    """A network of several machines, in user space: a switch, and for each machine a gateway of its own with DHCP, DNS
    and NAT, its policy, its forwarded ports and its limits. Machines find each other by name::

        with SharedNetwork() as network:
            web = Builder(kernel=..., name="web").attach(network).build()
            db = Builder(kernel=..., name="db").attach(network).build()

    A flow between two machines needs the leave of both: of the policy of the one that opens it, and of the inbound
    rules of the other's. Closing it lets no more machines on; those that are there stay.
    """

    _type = c.capsa_network
    _free = "capsa_network_free"

    def __init__(
        self,
        *,
        ipv4: Optional[Prefix] = None,
        gateway: Optional[Address] = None,
        ipv6: Union[Prefix, bool] = True,
        mtu: int = 0,
        domain: Optional[str] = None,
        dns: Sequence[Address] = (),
        search: Sequence[str] = (),
        hosts: Optional[Mapping[str, Union[Address, Sequence[Address]]]] = None,
        nat: bool = True,
        host_access: bool = False,
        isolated: bool = False,
        broadcast: bool = False,
    ) -> None:
        o = c.capsa_shared_options.init()
        o.flags = (
            c.CAPSA_SHARED_NO_IPV6 * (ipv6 is False) | c.CAPSA_SHARED_HOST_ACCESS * bool(host_access)
            | c.CAPSA_SHARED_NO_NAT * (not nat) | c.CAPSA_SHARED_ISOLATED * bool(isolated)
            | c.CAPSA_SHARED_BROADCAST * bool(broadcast)
        )
        o.mtu = unsigned(mtu, 32, "mtu")
        o.ipv4, o.gateway, o.domain = text(ipv4, "ipv4"), text(gateway, "gateway"), text(domain, "domain")
        if not isinstance(ipv6, bool):
            o.ipv6 = text(ipv6, "ipv6")
        servers, domains, names = texts(dns, "dns"), texts(search, "search"), host_names(hosts or {})
        places = POINTER(c_char_p)
        o.dns, o.n_dns = cast(servers, places), len(dns)
        o.search, o.n_search = cast(domains, places), len(search)
        if names is not None:
            o.hosts, o.n_hosts = names, len(names)
        super().__init__(lib.capsa_network_new, byref(o))
        del servers, domains, names


@dataclass(frozen=True)
class NetworkLimits:
    """What bounds a network device. What is over a bound waits; of new connections the guest asks again.

    Rates are per second, 0 bounds nothing; a burst of 0 is a tenth of a second's.
    """

    from_guest_bytes: int = 0
    """of Ethernet"""
    from_guest_bytes_burst: int = 0
    from_guest_packets: int = 0
    """of a long frame: those that it will be cut into"""
    from_guest_packets_burst: int = 0
    to_guest_bytes: int = 0
    to_guest_bytes_burst: int = 0
    to_guest_packets: int = 0
    to_guest_packets_burst: int = 0
    connections: int = 0
    """flows that the guest opens, of every protocol"""
    connections_burst: int = 0

    def options(self) -> c.capsa_network_limits:
        """The header's structure."""
        o = c.capsa_network_limits.init()
        for name in self.__dataclass_fields__:
            setattr(o, name, unsigned(getattr(self, name), 64, name))
        return o


@dataclass(frozen=True)
class Capture:
    """Where what passes a network device is written to, as pcapng."""

    path: Optional[Path] = None
    """of a file, which is made or emptied"""
    fd: Optional[int] = None
    """descriptor in place of a path, 1 or more; the library makes a copy"""
    snap_len: int = 0
    """bytes of each frame; 0: all"""
    max_size: int = 0
    """bytes of the file, at which the capture ends; 0: no limit"""

    def options(self) -> c.capsa_capture_options:
        """The header's structure."""
        o = c.capsa_capture_options.init()
        o.path, o.fd = optional_path(self.path), -1 if self.fd is None else unsigned(self.fd, 31, "fd")
        o.snap_len = unsigned(self.snap_len, 32, "snap_len")
        o.max_size = unsigned(self.max_size, 64, "max_size")
        return o


def capture_of(given: Union[Capture, Path, int]) -> Capture:
    """A Capture, the path of a file, or a descriptor."""
    if isinstance(given, Capture):
        return given
    return Capture(fd=given) if isinstance(given, int) else Capture(given)


def attach_options(
    *,
    framing: Framing = Framing.STREAM,
    mac: Optional[str] = None,
    mtu: int = 0,
    address: Optional[Address] = None,
    hostname: Optional[str] = None,
    link_down: bool = False,
) -> Tuple[c.capsa_attach_options, Any]:
    """The header's structure, and what has to live as long as it."""
    o = c.capsa_attach_options.init()
    o.flags = c.CAPSA_NETWORK_LINK_DOWN * bool(link_down)
    o.framing, o.mtu = unsigned(framing, 32, "framing"), unsigned(mtu, 32, "mtu")
    kept = text(mac, "mac"), text(address, "address"), text(hostname, "hostname")
    o.mac, o.guest, o.hostname = kept
    return o, kept
