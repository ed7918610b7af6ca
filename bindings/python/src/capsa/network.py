"""The guest's network: what it is like, what it may reach, which of its ports the host reaches."""
from __future__ import annotations

import ipaddress
import json
import os
from ctypes import POINTER, c_char_p, cast
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _bindings as c
from ._ffi import Path, optional_path, string, strings, unsigned
from .enums import ForwardProtocol, NetworkMode, known

Address = Union[str, ipaddress.IPv4Address, ipaddress.IPv6Address]
Prefix = Union[str, ipaddress.IPv4Network, ipaddress.IPv6Network]
Policy = Union[str, bytes, Mapping[str, Any]]

_SINGLE = (str, ipaddress.IPv4Address, ipaddress.IPv6Address)


@dataclass(frozen=True)
class Network:
    """A network of the machine's own, in user space: needs no privileges and changes nothing about the host.

    The guest reaches what this process does, as far as the policy lets it. It gets its address by DHCP, and over IPv6
    by router advertisements; the gateway answers DNS, also for ``host.capsa.internal``, which is its own address.
    """

    mode: NetworkMode = NetworkMode.USER
    mac: Optional[str] = None
    """of the guest, ``"02:00:5e:10:00:01"``; None: made of the machine's name, or of chance"""
    mtu: int = 0
    """bytes, 1280 to 65520; 0: 1500"""
    ipv4: Optional[Prefix] = None
    """network of 8 to 30 bits; None: ``"10.0.2.0/24"``"""
    guest: Optional[Address] = None
    """the guest's address there; None: the 15th"""
    gateway: Optional[Address] = None
    """this side's; None: the 2nd"""
    ipv6: Union[Prefix, bool] = True
    """network of 64 bits; True: ``"fd6c:6962:6361::/64"``, False: IPv4 only"""
    hostname: Optional[str] = None
    """that DHCP gives the guest"""
    dns: Sequence[Address] = ()
    """name servers, also with a port (``"192.0.2.53:5353"``); none: the host's"""
    search: Sequence[str] = ()
    """search domains"""
    hosts: Mapping[str, Union[Address, Sequence[Address]]] = field(default_factory=dict)
    """static names and their addresses"""
    host_access: bool = False
    """the gateway's address leads to the host's loopback, where the policy allows it"""
    link_down: bool = False
    """the cable is not plugged in, until VM.set_link()"""

    def options(self) -> Tuple[c.capsa_network_options, Any]:
        """The header's structure, and what has to live as long as it."""
        o = c.capsa_network_options.init()
        o.mode, o.mtu = unsigned(self.mode, 32, "mode"), unsigned(self.mtu, 32, "mtu")
        o.flags = (
            c.CAPSA_NETWORK_NO_IPV6 * (self.ipv6 is False)
            | c.CAPSA_NETWORK_HOST_ACCESS * bool(self.host_access)
            | c.CAPSA_NETWORK_LINK_DOWN * bool(self.link_down)
        )
        for name in ("mac", "ipv4", "guest", "gateway", "hostname"):
            setattr(o, name, text(getattr(self, name), name))
        if not isinstance(self.ipv6, bool):
            o.ipv6 = text(self.ipv6, "ipv6")
        dns, search, hosts = texts(self.dns, "dns"), texts(self.search, "search"), host_names(self.hosts)
        places = POINTER(c_char_p)
        o.dns, o.n_dns = cast(dns, places), len(self.dns)
        o.search, o.n_search = cast(search, places), len(self.search)
        if hosts is not None:
            o.hosts, o.n_hosts = hosts, len(hosts)
        return o, (dns, search, hosts)


@dataclass(frozen=True)
class Forward:
    """A port of the guest that the host's side reaches. Until the guest answers, clients wait."""

    guest_port: int
    host_port: int = 0
    """0: any that is free"""
    host: Optional[Address] = None
    """address of the host to listen at, ``"0.0.0.0"`` or ``"::"`` for all; None: ``"127.0.0.1"``"""
    path: Optional[Path] = None
    """of a unix socket that leads to a TCP port, in place of host and host_port"""
    protocol: ForwardProtocol = ForwardProtocol.TCP

    def options(self) -> c.capsa_forward_options:
        """The header's structure."""
        o = c.capsa_forward_options.init()
        o.protocol = unsigned(self.protocol, 32, "protocol")
        o.host, o.path = text(self.host, "host"), optional_path(self.path)
        o.host_port = unsigned(self.host_port, 16, "host_port")
        o.guest_port = unsigned(self.guest_port, 16, "guest_port")
        return o


@dataclass(frozen=True)
class OpenForward:
    """A forwarded port as it is."""

    id: int
    """for VM.remove_forward(); no other forward of the machine ever has it"""
    protocol: Union[ForwardProtocol, int]
    guest_port: int
    host: Optional[str]
    """the address of the host; None of a unix socket"""
    host_port: int
    """that was chosen if none was given; 0 of a unix socket"""
    path: Optional[str] = None
    """of a unix socket"""

    @property
    def address(self) -> Union[str, Tuple[str, int]]:
        """Where a socket of the host connects to reach the guest."""
        return self.path if self.path is not None else (self.host or "", self.host_port)

    @classmethod
    def of(cls, info: c.capsa_forward_info) -> OpenForward:
        """From the header's structure."""
        where, at_path = os.fsdecode(info.host), not info.host_port
        return cls(info.id, known(ForwardProtocol, info.protocol), info.guest_port, None if at_path else where,
                   info.host_port, where if at_path else None)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> OpenForward:
        """From the library's JSON."""
        host, _, port = value.get("host", "").rpartition(":")
        protocol = ForwardProtocol.__members__.get(value["protocol"].upper(), -1)
        return cls(value["id"], protocol, value["guest_port"], host.strip("[]") or None, int(port or 0),
                   value.get("path"))


def forward(given: Union[Forward, int], options: Dict[str, Any]) -> Forward:
    """A Forward, or a port of the guest and what a Forward takes by keyword."""
    if not isinstance(given, Forward):
        return Forward(given, **options)
    if options:
        raise TypeError("options beside a Forward, which has its own")
    return given


def policy_text(policy: Optional[Policy]) -> Tuple[Optional[bytes], int]:
    """A policy for the library: its JSON and the length of that. None is the library's own."""
    if policy is None:
        return None, 0
    if isinstance(policy, Mapping):
        policy = json.dumps(dict(policy))
    data = policy.encode() if isinstance(policy, str) else bytes(policy)
    return data, len(data)


def host_names(hosts: Mapping[str, Union[Address, Sequence[Address]]]) -> Any:
    """The header's array: an element for each address; None when it is empty."""
    made: List[c.capsa_host_name] = []
    for name, addresses in hosts.items():
        for address in (addresses,) if isinstance(addresses, _SINGLE) else addresses:
            made.append(c.capsa_host_name(string(name, "a host's name"), text(address, "a host's address")))
    return (c.capsa_host_name * len(made))(*made) if made else None


def text(value: Union[Address, Prefix, None], what: str) -> Optional[bytes]:
    """An address, or another text, for the library."""
    if value is None:
        return None
    if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network)):
        value = str(value)
    return string(value, what)


def texts(values: Sequence[Address], what: str) -> Any:
    """An array of them; None when it is empty."""
    if isinstance(values, str):
        raise TypeError(f"{what} is a sequence, not a str")
    return strings(tuple(text(value, what) or b"" for value in values))
