"""Descriptions of machines: keywords, methods, JSON, disks, shares, what cannot be built."""
from __future__ import annotations

import os
import pathlib
from typing import Any, Callable

import pytest

import capsa
from capsa import Disk, DiskFormat, IDRange, Share, ShareCache, ShareOwner, ShareXattr

Describe = Callable[..., capsa.Builder]


def test_keywords_and_methods_say_the_same() -> None:
    words = capsa.Builder(
        kernel="/k", initrd=pathlib.Path("/i"), args=["quiet", "a=b"], name="one", backend="kvm", cpus=2,
        memory_mib=64, timeout=1.5, disks=["/d", Disk("/e", read_only=True)], shares={"t": "/s"},
        console=capsa.ConsoleOptions(100, 30), balloon=capsa.Balloon.NO_REPORTING,
        isolation=capsa.Isolation.PROCESS, jail=capsa.Jail.OFF, vsock=True,
        vsock_listen={22: "/in"}, vsock_connect={80: "/out"})
    methods = (
        capsa.Builder().linux(b"/k", b"/i").args("quiet").args("a=b").name("one").backend("kvm").cpus(2)
        .memory_mib(64).timeout(1.5).disk("/d").disk("/e", read_only=True).share("t", "/s")
        .console(columns=100, rows=30).balloon(capsa.Balloon.NO_REPORTING)
        .isolation(capsa.Isolation.PROCESS, jail=capsa.Jail.OFF).vsock()
        .vsock_listen(22, "/in").vsock_connect(80, "/out"))
    assert words.to_json() == methods.to_json()
    assert words.to_dict()["timeout_ms"] == 1500
    assert repr(words) == f"<Builder {words.to_json()}>"


def test_json_there_and_back() -> None:
    builder = capsa.Builder(kernel="/k", cmdline="whole", memory_mib=48).console(100, 30, 1 << 16)
    assert capsa.Builder.from_json(builder.to_json()).to_dict() == builder.to_dict()
    assert capsa.Builder.from_json(builder.to_dict()).to_json() == builder.to_json()
    assert capsa.Builder.from_json(builder.to_json().encode()).to_json() == builder.to_json()
    with pytest.raises(capsa.ConfigError) as e:
        capsa.Builder.from_json({"cpus": 0, "no_such_field": 1})
    assert "no_such_field" in str(e.value)


def test_a_clone_changes_by_itself() -> None:
    one = capsa.Builder(name="one")
    two = one.clone().name("two")
    assert (one.to_dict()["name"], two.to_dict()["name"]) == ("one", "two")
    one.close()
    assert two.cpus(2).to_dict()["cpus"] == 2


def test_cmdline_can_be_taken_back() -> None:
    builder = capsa.Builder(kernel="/k", cmdline="whole")
    assert builder.to_dict()["boot"]["cmdline"] == "whole"
    assert "cmdline" not in builder.cmdline(None).to_dict()["boot"]


def test_every_option_of_a_disk() -> None:
    disk = Disk(
        "/b", format=DiskFormat.RAW, temporary=True, scratch_dir="/s", backing_dirs=["/x", b"/y"], serial="data",
        direct=True, queues=2, iops=1, iops_burst=2, bytes_per_sec=3, bytes_burst=4, root=True)
    assert capsa.Builder().disk("/a").disk(disk).to_dict()["disks"] == [
        {"path": "/a"},
        {"path": "/b", "format": "raw", "temporary": True, "scratch_dir": "/s", "backing_dirs": ["/x", "/y"],
         "serial": "data", "direct": True, "queues": 2,
         "limit": {"iops": 1, "iops_burst": 2, "bytes_per_sec": 3, "bytes_burst": 4}, "root": True},
    ]
    overlay = capsa.Builder().disk("/c", format=DiskFormat.QCOW2, overlay=pathlib.Path("/o"))
    assert overlay.to_dict()["disks"] == [{"path": "/c", "format": "qcow2", "overlay": "/o"}]
    with pytest.raises(capsa.InvalidArgumentError, match="serial"):
        overlay.disk("/d", serial="a serial number of more than 20 bytes")
    with pytest.raises(capsa.InvalidArgumentError):
        overlay.disk("/d", read_only=True, temporary=True)


def test_every_option_of_a_share() -> None:
    every = Share(
        "/b", read_only=True, cache=ShareCache.ALWAYS, owner=ShareOwner.RANGES, uids=[IDRange(0, 1000)],
        gids=[IDRange(1, 1001, 2)], xattr=ShareXattr.NONE, guest_locks=True, one_file_system=True, allow_set_id=True,
        direct_io=True, max_files=64, max_inodes=1000, queues=2)
    own = Share("/c", writeback=True, guest_uid=1, guest_gid=2, host_uid=0, host_gid=4)
    access = Share("/d", owner=ShareOwner.PASSTHROUGH, acl=True, allow_devices=True)
    assert capsa.Builder(shares={"src": "/a", "all": every, "own": own, "acl": access}).to_dict()["shares"] == [
        {"tag": "src", "path": "/a"},
        {"tag": "all", "path": "/b", "read_only": True, "cache": "always", "owner": "ranges",
         "uids": [{"guest": 0, "host": 1000, "count": 1}], "gids": [{"guest": 1, "host": 1001, "count": 2}],
         "xattr": "none", "guest_locks": True, "one_file_system": True, "allow_set_id": True, "direct_io": True,
         "max_files": 64, "max_inodes": 1000, "queues": 2},
        {"tag": "own", "path": "/c", "writeback": True, "guest_uid": 1, "guest_gid": 2, "host_uid": 0, "host_gid": 4},
        {"tag": "acl", "path": "/d", "owner": "passthrough", "acl": True, "allow_devices": True},
    ]


def test_vsock_ports() -> None:
    builder = capsa.Builder().vsock_listen(22, "/in").vsock_connect(80, "/out", seqpacket=True)
    assert builder.to_dict()["vsock"]["ports"] == [
        {"port": 22, "mode": "listen", "path": "/in"},
        {"port": 80, "mode": "connect", "path": "/out", "type": "seqpacket"},
    ]
    with pytest.raises(capsa.InvalidArgumentError):
        builder.vsock_listen(1, "/" + "x" * 108)


def test_a_setter_that_fails_changes_nothing() -> None:
    builder = capsa.Builder(cpus=2)
    with pytest.raises(capsa.InvalidArgumentError, match="cpus") as e:
        builder.cpus(0)
    assert e.value.status == -1 and e.value.detail["kind"]
    assert builder.to_dict()["cpus"] == 2
    with pytest.raises(capsa.NotFoundError):
        builder.backend("bochs")


def test_a_closed_builder_says_so() -> None:
    with capsa.Builder() as builder:
        assert not builder.closed
    builder.close()
    assert builder.closed and repr(builder) == "<Builder closed>"
    for call in (builder.to_json, builder.build, builder.clone, lambda: builder.cpus(1)):
        with pytest.raises(capsa.HandleError, match="this Builder has been closed"):
            call()


def test_what_cannot_be_built_says_why(kvm: None, describe: Describe, tmp_path: pathlib.Path) -> None:
    with pytest.raises(capsa.NotFoundError, match="/nonexistent/kernel") as missing:
        capsa.boot("/nonexistent/kernel")
    assert missing.value.os_errno == 2
    with pytest.raises(capsa.CapsaError):
        capsa.boot("/dev/null")
    with pytest.raises(capsa.ConfigError):
        describe("off").args("quiet").build()  # together with the whole command line
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    builder = describe("off").disk("/no/such/image").disk(image)  # raw, and nobody says so
    with pytest.raises(capsa.CapsaError) as e:
        builder.build()
    assert [p.field.split(".")[0] for p in e.value.problems] == ["disks[0]", "disks[1]"]
    assert "/no/such/image" in str(e.value)


def test_locks_of_images(kvm: None, describe: Describe, tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    options: Any = dict(format=DiskFormat.RAW)
    writer = describe().disk(image, **options)
    with writer.build():
        with pytest.raises(capsa.UnavailableError):
            describe().disk(image, read_only=True, **options).build()
    with describe().disk(image, read_only=True, **options).build():
        describe().disk(image, temporary=True, **options).build().close()


def test_a_machine_keeps_its_share(start: Callable[..., capsa.VM], tmp_path: pathlib.Path) -> None:
    directory = tmp_path / os.fsdecode(b"not utf-8 \xff")
    directory.mkdir()
    vm = start("spin", shares={"dir": directory})
    directory.rmdir()
    share = [d for d in vm.devices() if d.name == "share 0"]
    assert [d.virtio_id for d in share] == [26]
