"""Networks: descriptions, policies, forwarded ports. The bare guest has no driver: nobody in it answers."""
from __future__ import annotations

import ipaddress
import pathlib
import socket
import stat
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

import capsa
from capsa import EventType, Forward, ForwardProtocol, Isolation, Network, NetworkMode, OpenForward

from capsa.network import Policy

from conftest import PATIENCE

Start = Callable[..., capsa.VM]
Describe = Callable[..., capsa.Builder]

DENY = {"default": "deny-all", "rules": [{"action": "allow", "ports": [80, "8000-8010"], "domains": ["example.com"]}]}


def test_every_option_of_a_network() -> None:
    every = Network(
        mac="02:00:5e:10:00:01", mtu=9000, ipv4=ipaddress.ip_network("192.168.7.0/24"), guest="192.168.7.8",
        gateway=ipaddress.ip_address("192.168.7.1"), ipv6=False, hostname="web",
        dns=["192.0.2.53", ipaddress.ip_address("2001:db8::53"), "[2001:db8::53]:5353"], search=["example.com"],
        hosts={"db": ["192.0.2.7", ipaddress.ip_address("2001:db8::7")], "x": ipaddress.ip_address("192.0.2.8")},
        host_access=True, link_down=True)
    assert capsa.Builder(network=every).to_dict()["network"] == {
        "mode": "user", "mac": "02:00:5e:10:00:01", "mtu": 9000, "ipv4": "192.168.7.0/24", "guest": "192.168.7.8",
        "gateway": "192.168.7.1", "ipv6": "off", "hostname": "web",
        "dns": ["192.0.2.53:53", "[2001:db8::53]:53", "[2001:db8::53]:5353"], "search": ["example.com"],
        "hosts": [{"name": "db", "addresses": ["192.0.2.7", "2001:db8::7"]},
                  {"name": "x", "addresses": ["192.0.2.8"]}],
        "host_access": True, "link_down": True,
    }
    assert capsa.Builder().network(ipv6="fd00:1::/64").to_dict()["network"] == {"mode": "user", "ipv6": "fd00:1::/64"}
    assert capsa.Builder().network(mode=NetworkMode.NAT).to_dict()["network"] == {"mode": "nat"}
    assert "network" not in capsa.Builder(network=True).network(False).to_dict()
    with pytest.raises(TypeError):
        capsa.Builder().network(Network(), mtu=1500)


def test_keywords_and_methods_say_the_same() -> None:
    words = capsa.Builder(network=True, policy=DENY, forwards=[22, Forward(53, protocol=ForwardProtocol.UDP)])
    methods = capsa.Builder().policy(DENY).forward(22).forward(53, protocol=ForwardProtocol.UDP).network()
    assert words.to_json() == methods.to_json()
    assert words.to_dict()["network"]["policy"] == DENY
    assert capsa.Builder.from_json(words.to_json()).to_json() == words.to_json()
    assert capsa.Builder.from_json(words.to_dict()).to_dict() == words.to_dict()
    assert "policy" not in words.policy(None).to_dict()["network"]


def test_every_option_of_a_forward() -> None:
    builder = (
        capsa.Builder().forward(22, host_port=2222, host="0.0.0.0").forward(53, host=ipaddress.ip_address("::1"))
        .forward(Forward(80, path=pathlib.Path("/run/web"))))
    assert builder.to_dict()["network"]["forwards"] == [
        {"protocol": "tcp", "host": "0.0.0.0:2222", "guest_port": 22},
        {"protocol": "tcp", "host": "[::1]:0", "guest_port": 53},
        {"protocol": "tcp", "path": "/run/web", "guest_port": 80},
    ]
    with pytest.raises(TypeError):
        builder.forward(Forward(80), host_port=1)


@pytest.mark.parametrize("options", [
    {"mode": 3}, {"mtu": 1279}, {"mac": "01:00:5e:10:00:01"}, {"ipv4": "10.0.2.0"}, {"ipv4": "127.0.0.0/8"},
    {"guest": "10.0.3.15"}, {"gateway": "x"}, {"ipv6": "fd00::/63"}, {"ipv6": ""}, {"hostname": "a.b"},
    {"dns": ["localhost"]}, {"dns": ["192.0.2.1"] * 9}, {"search": ["a..b"]}, {"hosts": {"a b": "192.0.2.1"}},
    {"hosts": {"host.capsa.internal": ["192.0.2.1"]}}, {"hosts": {"a": "192.0.2"}}, {"mtu": -1}, {"hostname": "a\0b"},
])
def test_networks_that_are_refused(options: Dict[str, Any]) -> None:
    builder = capsa.Builder(network=True)
    with pytest.raises(capsa.InvalidArgumentError):
        builder.network(**options)
    assert builder.to_dict()["network"] == {"mode": "user"}


@pytest.mark.parametrize("options", [{"dns": "192.0.2.1"}, {"dns": [7]}, {"mac": b"02"}, {"hosts": {"a": 7}}])
def test_types_that_are_refused(options: Dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        capsa.Builder().network(**options)


@pytest.mark.parametrize("options", [
    {"guest_port": 0}, {"guest_port": 65536}, {"guest_port": 1, "host": "localhost"}, {"guest_port": 1, "path": ""},
    {"guest_port": 1, "path": "/x", "host_port": 1}, {"guest_port": 1, "path": "/x", "protocol": ForwardProtocol.UDP},
    {"guest_port": 1, "protocol": 2}, {"guest_port": 1, "host_port": -1}, {"guest_port": 1, "path": "/" + "x" * 108},
])
def test_forwards_that_are_refused(options: Dict[str, Any]) -> None:
    builder = capsa.Builder()
    with pytest.raises(capsa.InvalidArgumentError):
        builder.forward(Forward(**options))
    assert "network" not in builder.to_dict()


@pytest.mark.parametrize("policy", [
    "", "{", "[]", b"\xff", {}, {"default": "some"}, {"default": "deny-all", "more": 1}])
def test_policies_that_are_refused(policy: Any) -> None:
    with pytest.raises(capsa.InvalidArgumentError):
        capsa.Builder().policy(policy)


def test_everything_that_is_wrong_with_a_policy_is_said(describe: Describe) -> None:
    wrong = {"default": "some", "rules": [{"action": "allow", "any": True}, {"action": "x", "any": True}]}
    with pytest.raises(capsa.InvalidArgumentError) as e:
        capsa.Builder().policy(wrong)
    assert {p.field for p in e.value.problems} == {"default", "rules[1].action"}
    builder = capsa.Builder.from_json(
        {"boot": {"kernel": "/k"}, "network": {"mode": "user", "mtu": 1, "policy": {"default": "x"}}})
    with pytest.raises(capsa.ConfigError) as built:
        builder.build()
    assert {"network.mtu", "network.policy.default"} <= {p.field for p in built.value.problems}
    with pytest.raises(capsa.ConfigError):
        describe("spin", policy=DENY).build()  # for no network


def test_machines_without_a_network_say_so(start: Start, describe: Describe) -> None:
    vm = start("spin")
    calls: List[Callable[[], Any]] = [
        vm.forwards, lambda: vm.add_forward(80), lambda: vm.remove_forward(1), lambda: vm.set_policy(DENY),
        lambda: vm.set_link(True)]
    for call in calls:
        with pytest.raises(capsa.UnsupportedError):
            call()
    with pytest.raises(capsa.UnsupportedError, match="network-nat"):
        describe("spin", network=Network(NetworkMode.NAT)).build()


def test_forwards_of_the_builder(start: Start, tmp_path: pathlib.Path) -> None:
    at = tmp_path / "web"
    vm = start("spin", network=True, forwards=[22, Forward(80, path=at)])
    one, two = vm.forwards()
    assert one == OpenForward(one.id, ForwardProtocol.TCP, 22, "127.0.0.1", one.host_port) and one.host_port
    assert one.address == ("127.0.0.1", one.host_port)
    assert (two.path, two.address, two.host, two.host_port, two.guest_port) == (str(at), str(at), None, 0, 80)
    assert stat.S_IMODE(at.stat().st_mode) == 0o600
    bound = list(bound_ports(vm, 2))
    assert [e.value for e in bound] == [one.host_port, 0]
    assert [OpenForward.of_json(e.details["forward"]) for e in bound] == [one, two]
    with socket.create_connection(("127.0.0.1", one.host_port), PATIENCE) as client:
        vm.kill()
        assert hung_up(client)
    assert not at.exists()
    calls: List[Callable[[], Any]] = [
        vm.forwards, lambda: vm.add_forward(80), lambda: vm.set_policy(None), lambda: vm.set_link(True)]
    for call in calls:
        with pytest.raises(capsa.StateError):
            call()


def bound_ports(vm: capsa.VM, n: int) -> Iterator[capsa.Event]:
    """The next n events that tell of forwarded ports."""
    while n:
        event = vm.next_event(PATIENCE)
        if event.type is EventType.PORT_BOUND:
            n -= 1
            yield event


def hung_up(client: socket.socket) -> bool:
    """Whether a connection has ended."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_forwards_come_and_go(start: Start, tmp_path: pathlib.Path) -> None:
    vm = start("spin", network=True)
    assert vm.forwards() == []
    one = vm.add_forward(22)
    assert one.host_port and one == OpenForward(one.id, ForwardProtocol.TCP, 22, "127.0.0.1", one.host_port)
    with pytest.raises(capsa.ExistsError):
        vm.add_forward(23, host_port=one.host_port)
    two = vm.add_forward(Forward(53, one.host_port, protocol=ForwardProtocol.UDP))
    three = vm.add_forward(80, path=tmp_path / "web")
    assert two.host_port == one.host_port and three.path == str(tmp_path / "web")
    assert vm.forwards() == [one, two, three]
    with pytest.raises(capsa.NotFoundError):
        vm.add_forward(80, path=tmp_path / "none" / "web")
    with pytest.raises(capsa.InvalidArgumentError):
        vm.add_forward(0)
    vm.remove_forward(one)
    vm.remove_forward(three.id)
    assert vm.forwards() == [two] and not (tmp_path / "web").exists()
    with pytest.raises(capsa.NotFoundError):
        vm.remove_forward(one)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", one.host_port))


def test_policies_and_the_link_change_while_it_runs(start: Start) -> None:
    vm = start("spin", network=Network(link_down=True), policy={"default": "public-only"})
    (device,) = [d for d in vm.stats_json()["devices"] if d["name"] == "network"]
    assert device["net"]["link"] is False
    vm.set_link(True)
    (device,) = [d for d in vm.stats_json()["devices"] if d["name"] == "network"]
    assert device["net"]["link"] is True
    policies: List[Optional[Policy]] = [DENY, '{"default": "allow-all"}', b'{"default": "deny-all"}', None]
    for policy in policies:
        vm.set_policy(policy)
    refused: List[Policy] = [{}, "", {"default": "some"}]
    for wrong in refused:
        with pytest.raises(capsa.InvalidArgumentError):
            vm.set_policy(wrong)
    assert [d.virtio_id for d in vm.devices() if d.name == "network"] == [1]
    assert capsa.has("network")


def test_a_network_of_a_machine_in_a_process_of_its_own(start: Start) -> None:
    vm = start("spin", network=True, forwards=[22], policy=DENY, isolation=Isolation.PROCESS)
    (one,) = vm.forwards()
    two = vm.add_forward(80)
    assert vm.forwards() == [one, two] and one.host_port and two.host_port
    assert [e.value for e in bound_ports(vm, 2)] == [one.host_port, two.host_port]
    with pytest.raises(capsa.ExistsError):
        vm.add_forward(81, host_port=two.host_port)
    with pytest.raises(capsa.InvalidArgumentError) as e:
        vm.set_policy({"default": "some"})
    assert [p.field for p in e.value.problems] == ["default"]
    vm.set_policy({"default": "public-only"})
    vm.set_link(False)
    with socket.create_connection(two.address, PATIENCE) as client:  # type: ignore[arg-type]
        vm.remove_forward(two)
        vm.kill()
        assert hung_up(client)
    with pytest.raises(capsa.StateError):
        vm.forwards()
