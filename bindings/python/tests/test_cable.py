"""Shared networks, descriptors, limits, captures. The bare guest has no driver: nothing passes its device."""
from __future__ import annotations

import os
import pathlib
import socket
from typing import Any, Callable, Dict

import pytest

import capsa
from capsa import Capture, EventType, Framing, NetworkLimits, SharedNetwork

from conftest import PATIENCE

Describe = Callable[..., capsa.Builder]


def link(vm: capsa.VM) -> int:
    """The value of the next event of that type."""
    while True:
        event = vm.next_event(PATIENCE)
        if event.type == EventType.LINK:
            return event.value


def test_machines_of_one_network(kvm: None, describe: Describe) -> None:
    with SharedNetwork(ipv4="10.77.0.0/24", domain="lan.example", hosts={"db": "192.0.2.7"}, search=["example.com"],
                       dns=["192.0.2.53"], ipv6=False, mtu=9000, broadcast=True) as network:
        with describe(name="one").attach(network).build() as one:
            with pytest.raises(capsa.ExistsError):
                describe().attach(network, hostname="one").build()
            with describe().attach(network, hostname="two", address="10.77.0.200", mac="02:00:5e:10:00:02").build():
                with pytest.raises(capsa.ExistsError):
                    describe().attach(network, address="10.77.0.200").build()
            opened = one.add_forward(80)
            assert [f.id for f in one.forwards()] == [opened.id]
            one.set_policy({"default": "deny-all"})
            one.set_link(False)
            assert one.stats_json()["devices"]
        builder = describe(name="one").attach(network, link_down=True)
        builder.build().close()
    with pytest.raises(capsa.StateError):
        builder.build()


@pytest.mark.parametrize("options", [
    {"ipv4": "10.0.0.0/31"}, {"ipv6": "fd00::/48"}, {"mtu": 7}, {"domain": "a..b"}, {"nat": False, "host_access": True},
    {"gateway": "192.0.2.1"}, {"dns": ["x"]}, {"hosts": {"a b": "192.0.2.1"}},
])
def test_networks_that_are_refused(options: Dict[str, Any]) -> None:
    with pytest.raises(capsa.InvalidArgumentError):
        SharedNetwork(**options)
    SharedNetwork(isolated=True, nat=False).close()


def test_a_descriptor_as_a_network(kvm: None, describe: Describe) -> None:
    near, far = socket.socketpair()
    with near, far, describe().attach_fd(near.fileno(), mac="02:00:5e:10:00:01").build() as vm:
        with pytest.raises(capsa.UnsupportedError):
            vm.add_forward(80)
        far.close()
        assert link(vm) == 0
        other, end = socket.socketpair()
        with other, end:
            vm.attach_fd(other.fileno())
            assert link(vm) == 1
    with pytest.raises(capsa.InvalidArgumentError):
        describe().attach_fd(0)
    datagrams, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with datagrams, end:
        describe().attach_fd(datagrams.fileno(), framing=Framing.DATAGRAM).build().close()
        with pytest.raises(capsa.InvalidArgumentError):
            describe().attach_fd(datagrams.fileno()).build()


def test_interfaces_that_are_not_there(kvm: None, describe: Describe) -> None:
    with pytest.raises(capsa.NotFoundError):
        describe().attach_tap("no-such-tap").build()
    with pytest.raises(capsa.InvalidArgumentError):
        describe().attach_tap("a/b")
    with open(os.devnull, "r+b") as null, pytest.raises(capsa.InvalidArgumentError):
        describe().attach_fd(null.fileno(), framing=Framing.TAP).build()


def test_limits(kvm: None, describe: Describe) -> None:
    every = NetworkLimits(**{name: i + 1 for i, name in enumerate(NetworkLimits.__dataclass_fields__)})
    assert capsa.Builder(network=True).network_limits(every).to_dict()["network"]["limits"] == {
        "from_guest": {"bytes_per_sec": 1, "bytes_burst": 2, "packets_per_sec": 3, "packets_burst": 4},
        "to_guest": {"bytes_per_sec": 5, "bytes_burst": 6, "packets_per_sec": 7, "packets_burst": 8},
        "connections_per_sec": 9, "connections_burst": 10,
    }
    with pytest.raises(capsa.InvalidArgumentError):
        capsa.Builder().network_limits(connections_burst=1)
    with describe(network=True).network_limits(connections=10).build() as vm:
        vm.set_network_limits(from_guest_bytes=1_000_000)
        vm.set_network_limits()


def test_captures(kvm: None, describe: Describe, tmp_path: pathlib.Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with describe(network=True).capture(first).build() as vm:
        vm.set_capture(Capture(second, snap_len=128, max_size=1 << 20))
        assert first.read_bytes()[:4] == bytes.fromhex("0a0d0d0a")
        readable, writable = os.pipe()
        vm.set_capture(writable)
        os.close(writable)
        vm.set_capture(None)
        with os.fdopen(readable, "rb") as pipe:
            assert pipe.read(4) == bytes.fromhex("0a0d0d0a")
        with pytest.raises(capsa.NotFoundError):
            vm.set_capture("/no/such/directory/file")
    assert second.stat().st_size > 0
    builder = capsa.Builder(network=True).capture(first)
    assert builder.to_dict()["network"]["capture"] == {"path": str(first)}
    assert "capture" not in builder.capture(None).to_dict()["network"]
    for wrong in (Capture(first, fd=1), Capture(), Capture(first, max_size=7), Capture(fd=0)):
        with pytest.raises(capsa.InvalidArgumentError):
            builder.capture(wrong)
