"""The console: reading, typing, patterns, many readers."""
from __future__ import annotations

import re
from typing import Any, Callable, List

import pytest

import capsa
from capsa.console import LineSplitter

from conftest import PATIENCE

Start = Callable[..., capsa.VM]


def test_output_is_there_for_every_reader_and_after_the_end(start: Start) -> None:
    vm = start("print:hello print:world off")
    one, two = vm.console(), vm.console()
    assert vm.wait(PATIENCE).success
    assert one.read_all() == b"hello\nworld\n" and one.read() == b""
    vm.close()
    assert list(two.lines()) == [b"hello", b"world"]
    assert two.lost == 0


def test_expect(start: Start) -> None:
    console = start("print:ready print:hello echo off").console()
    match = console.expect("nothing", re.compile(rb"h[a-z]*(l+)o"), "hello", timeout=PATIENCE)
    assert (match.index, match.before, match.matched, match.missing) == (1, b"ready\n", b"hello", 0)
    assert match.groups and match.groups[1] == b"l"
    assert match.output == b"ready\nhello" and match.start == 6
    assert console.read(1, PATIENCE) == b"\n"
    for timeout in (0, 0.02):
        with pytest.raises(TimeoutError):
            console.expect("ping", timeout=timeout)
    with pytest.raises(TimeoutError):
        console.read(timeout=0)
    assert console.write(b"pi", 0) == 2 and console.write(bytearray(b"ng")) == 2 and console.write(b"") == 0
    assert console.expect(b"ping", timeout=PATIENCE).groups is None
    assert console.write_line("Grüße", PATIENCE) == 8
    assert console.expect(re.compile("GR.SSE|gr..e", re.IGNORECASE), timeout=PATIENCE).index == 0
    console.resize(100, 30)
    console.eof(PATIENCE)
    with pytest.raises(capsa.ClosedError, match="."):
        console.expect("never", timeout=PATIENCE)
    assert console.vm.wait(PATIENCE).success


def test_patterns_that_are_none(start: Start) -> None:
    console = start("spin").console()
    bad: Any
    for bad in (re.compile("a(?=b)"), re.compile("x*"), "", re.compile("a", re.VERBOSE)):
        with pytest.raises(capsa.InvalidArgumentError):
            console.expect(bad, timeout=0)
    for bad in (1, None):
        with pytest.raises(TypeError):
            console.expect(bad, timeout=0)
    with pytest.raises(TypeError):
        console.expect(timeout=0)
    with pytest.raises(capsa.InvalidArgumentError):
        console.expect(*["x"] * 65, timeout=0)
    for size in (0, -1, 1 << 31):
        with pytest.raises(capsa.InvalidArgumentError):
            console.read(size, 0)
    with pytest.raises(capsa.InvalidArgumentError):
        console.resize(0, 24)
    with pytest.raises(capsa.InvalidArgumentError):
        console.run("a\0b")


def test_a_ring_smaller_than_the_output(kvm: None, describe: Callable[..., capsa.Builder]) -> None:
    builder = describe("flood:1000 print:done off").console(ring_size=4096)
    with builder.build() as vm:
        early = vm.console()
        vm.start()
        vm.wait(PATIENCE)
        match = early.expect("done\n", timeout=0)
        assert early.lost > 50000 and match.missing == early.lost
        late = vm.console()
        assert late.expect("done\n", timeout=0).missing == 0 and late.lost == 0


def test_a_socket_of_the_console(start: Start) -> None:
    vm = start("print:ready echo off")
    with vm.console() as console, console.socket() as stream:
        stream.sendall(b"typed\x04")
        stream.settimeout(PATIENCE)
        with stream.makefile("rb") as file:
            assert file.read() == b"ready\ntyped"


def test_typing_more_than_fits(start: Start) -> None:
    console = start("print:ready spin").console()
    console.expect("ready", timeout=PATIENCE)
    taken, data = 0, b"x" * (1 << 20)
    with pytest.raises(TimeoutError):
        while True:
            count = console.write(data, 0.01)
            assert 0 < count <= len(data)
            taken += count
    assert taken > 0


def test_run_needs_a_shell(start: Start) -> None:
    console = start("print:ready spin").console()
    with pytest.raises(TimeoutError):
        console.run("true", 0.02)
    with pytest.raises(TimeoutError):
        console.run("true", 0)


def test_after_the_end(start: Start) -> None:
    vm = start("print:ready off")
    console = vm.console()
    vm.wait(PATIENCE)
    vm.close()
    calls: List[Callable[[], Any]] = [
        lambda: console.write(b"x"), console.interrupt, console.eof, lambda: console.run("true")]
    for call in calls:
        with pytest.raises(capsa.ClosedError):
            call()
    assert console.read() == b"ready\n"
    assert repr(console) == "<Console>"
    console.close()
    assert repr(console) == "<Console closed>"
    with pytest.raises(capsa.HandleError, match="this Console has been closed"):
        console.read()


def test_completed() -> None:
    good = capsa.Completed("true", 0, b"out\xff")
    assert good.check() is good and good.text == "out\ufffd"
    with pytest.raises(capsa.CommandError, match="'false' ended with status 1") as e:
        capsa.Completed("false", 1, b"why").check()
    assert e.value.output == b"why"


@pytest.mark.parametrize("pieces", [
    [b"one\r\ntwo\n\nthree"], [b"one\r", b"\ntw", b"o\n", b"\nthr", b"ee"], [b"one\r\n", b"two\n\n", b"three"]])
def test_lines(pieces: Any) -> None:
    splitter = LineSplitter()
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.end()
    assert lines == [b"one", b"two", b"", b"three"] and splitter.end() == []
