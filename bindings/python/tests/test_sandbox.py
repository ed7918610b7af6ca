"""Sandboxes as far as a host without a Linux guest goes: descriptions, and calls to guests that have no agent."""
from __future__ import annotations

import asyncio
import json
import pathlib
import signal
import socket
from typing import Any, Callable, List

import pytest

import capsa
from capsa import _bindings as c, aio
from capsa.process import _variables


def test_description(tmp_path: pathlib.Path) -> None:
    with capsa.SandboxBuilder(cpus=2) as b:
        b.linux("/boot/vmlinuz").root(tmp_path).mount(tmp_path, "/src")
        b.mount(capsa.Share(tmp_path, read_only=True), "/docs").guest({"hostname": "box", "main": {"args": ["true"]}})
        d = b.to_dict()
    assert d["cpus"] == 2 and d["isolation"] == "process" and "network" not in d
    assert d["guest"]["agent"] == "initrd" and d["guest"]["hostname"] == "box"
    assert d["guest"]["root"] == {"kind": "share", "source": "capsa-root"}
    assert [m["target"] for m in d["guest"]["mounts"]] == ["/src", "/docs"]
    assert [s.get("read_only", False) for s in d["shares"]] == [True, False, True]
    with capsa.Builder.from_json(json.dumps(d)) as again:
        assert again.to_dict() == d


def test_root_disk() -> None:
    with capsa.SandboxBuilder() as b:
        b.root(capsa.Disk("/x.img", capsa.DiskFormat.RAW))
        assert b.to_dict()["disks"][0]["read_only"]
        b.root(capsa.Disk("/y.img", capsa.DiskFormat.RAW), writable=True)
        d = b.to_dict()
    assert [x["path"] for x in d["disks"]] == ["/y.img"] and "read_only" not in d["disks"][0]
    assert d["guest"]["root"]["overlay"] == "none"


def test_descriptions_are_checked(tmp_path: pathlib.Path) -> None:
    with capsa.SandboxBuilder() as b:
        with pytest.raises(capsa.ConfigError):
            b.guest({"hostnam": "x"})
        with pytest.raises(capsa.InvalidArgumentError):
            b.guest('{"hostname": "not a name"}')
        with pytest.raises(capsa.InvalidArgumentError):
            b.mount(tmp_path, "relative")


def test_a_guest_without_an_agent(start: Callable[..., capsa.VM], tmp_path: pathlib.Path) -> None:
    vm = start()
    uses: List[Callable[[], object]] = [
        lambda: vm.wait_ready(1), lambda: vm.exec(["true"]), lambda: vm.run(["true"]), lambda: vm.read_file("/x"),
        lambda: vm.write_file("/x", b""), lambda: vm.copy_in(tmp_path, "/x"), lambda: vm.copy_out("/x", tmp_path),
    ]
    for use in uses:
        with pytest.raises(capsa.UnsupportedError, match="agent"):
            use()


def test_arguments_are_checked(start: Callable[..., capsa.VM]) -> None:
    vm = start()
    with pytest.raises(TypeError, match="list"):
        vm.exec("true")
    with pytest.raises(capsa.InvalidArgumentError, match="zero byte"):
        vm.exec(["a\0b"])
    with pytest.raises(capsa.InvalidArgumentError, match="columns"):
        vm.exec(["true"], tty=True, size=(70000, 1))
    assert list(_variables({"A": "b", "C": b"\xff"})) == [b"A=b", b"C=\xff"]


def test_asyncio(start: Callable[..., capsa.VM]) -> None:
    async def use() -> None:
        box = aio.Sandbox(start())
        for work in (box.info(), box.exec(["true"]), box.run(["true"]), box.read_file("/x"), box.write_file("/x", b"")):
            with pytest.raises(capsa.UnsupportedError):
                await work

    asyncio.run(use())


class _Program(capsa.Process):
    """A program that this test plays."""

    def __init__(self) -> None:
        self.stdin, self.peer = socket.socketpair()
        self.stdout, self.out = socket.socketpair()
        self.stderr, self.errors = socket.socketpair()


def test_communicate() -> None:
    p = _Program()
    p.out.sendall(b"out" * 1000)
    p.errors.sendall(b"err")
    p.out.close()
    p.errors.close()
    assert p.communicate(b"in" * 1000, 10) == (b"out" * 1000, b"err")
    got = b""
    while piece := p.peer.recv(1 << 16):
        got += piece
    assert got == b"in" * 1000
    for s in (p.stdin, p.stdout, p.stderr, p.peer):
        assert s is not None
        s.close()


def test_communicate_in_time() -> None:
    p = _Program()
    with pytest.raises(capsa.CallTimeoutError):
        p.communicate(b"", 0.01)
    for s in (p.stdin, p.stdout, p.stderr, p.peer, p.out, p.errors):
        assert s is not None
        s.close()


def test_status_and_result() -> None:
    raw: Any = c.capsa_exec_status.init()
    raw.code, raw.signal, raw.flags = 137, signal.SIGKILL, c.CAPSA_EXEC_OOM | c.CAPSA_EXEC_TIMED_OUT
    status = capsa.ExitStatus.of(raw)
    assert (status.code, status.signal, status.oom, status.timed_out) == (137, 9, True, True)
    result = capsa.Result(("a", b"b"), status, b"text", b"")
    assert result.text == "text"
    with pytest.raises(capsa.CommandError):
        result.check()
