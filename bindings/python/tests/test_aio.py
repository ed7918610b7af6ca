"""The same machines under asyncio: waits, iteration, cancelling, nothing lost."""
from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
from typing import Any, Awaitable, Callable, Coroutine, List, TypeVar

import pytest

import capsa
from capsa import aio
from capsa._wait import patiently
from capsa.aio import _wait

from conftest import PATIENCE, descriptors, settles

Describe = Callable[..., capsa.Builder]
Result = TypeVar("Result")

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def warm(kvm: None, guest_elf: str) -> None:
    """The library opens some descriptors when it is first used, and keeps them."""
    with capsa.boot(guest_elf, cmdline="spin", memory_mib=32) as vm, vm.console().socket():
        os.close(vm.exit_fd())


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs a test's coroutine; no thread and no descriptor of it may be left."""
    threads, files = threading.active_count(), descriptors()
    result = asyncio.run(asyncio.wait_for(main, PATIENCE))
    assert threading.active_count() == threads and settles(lambda: descriptors() <= files)
    return result


async def cancelled(wait: Awaitable[Any]) -> None:
    """Starts a wait, lets it come to where it waits, and cancels it."""
    task = asyncio.ensure_future(wait)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_life(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("print:ready print:hello echo off")) as vm:
            assert vm.state is capsa.State.RUNNING and repr(vm) == "<aio <VM running>>"
            async with vm.console() as console:
                match = await console.expect("never", re.compile(rb"hel+o\n"))
                assert (match.index, match.before) == (1, b"ready\n")
                await console.write(b"pi")
                await console.write_line("ng")
                await console.expect("ping\n")
                await console.write(b"rest")
                await console.interrupt()
                await console.eof()
                assert await console.read_all() == b"rest\x03"
                with pytest.raises(capsa.ClosedError):
                    await console.expect("never")
                assert await console.read() == b""
            assert (await vm.wait()).success
            assert vm.exit_record()["cause_code"] == 1 and vm.stats().cpus == 1
        assert vm.sync.closed

    run(main())


def test_boot_takes_a_description_or_a_builder(guest_elf: str, describe: Describe) -> None:
    async def main() -> None:
        vm = await aio.boot(guest_elf, cmdline="triple", memory_mib=32)
        with pytest.raises(capsa.BootError):
            await vm.wait()
        await vm.close()
        with pytest.raises(TypeError):
            aio.boot(describe("off"), cpus=2)
        with pytest.raises(capsa.NotFoundError):
            async with aio.boot("/nonexistent"):
                pass

    run(main())


def test_iteration(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("print:one print:two print:three off")) as vm:
            one, two = vm.console(), vm.console()

            async def pieces() -> bytes:
                return b"".join([piece async for piece in one])

            async def lines() -> List[bytes]:
                return [line async for line in two.lines()]

            async def events() -> List[capsa.Event]:
                return [event async for event in vm.events()]

            everything, split, seen, record, again = await asyncio.gather(
                pieces(), lines(), events(), vm.wait(), vm.wait())
            assert everything == b"one\ntwo\nthree\n" and split == [b"one", b"two", b"three"]
            assert seen[-1].type is capsa.EventType.EXITED and record == again
            one.close()
            two.close()

    run(main())


WAITS: List[Any] = [
    pytest.param(lambda vm, console: vm.wait(), id="wait"),
    pytest.param(lambda vm, console: console.read(), id="read"),
    pytest.param(lambda vm, console: console.expect("never"), id="expect"),
    pytest.param(lambda vm, console: console.run("true"), id="run"),
    pytest.param(lambda vm, console: console.write(bytes(1 << 26)), id="write"),
    pytest.param(lambda vm, console: vm.vsock_connect(1), id="vsock_connect"),
    pytest.param(lambda vm, console: vm.stop(None), id="stop"),
    pytest.param(lambda vm, console: vm.stop_in_stages(0, None), id="stop_in_stages"),
]


@pytest.mark.parametrize("wait", WAITS)
def test_cancelling_ends_a_wait(describe: Describe, wait: Any) -> None:
    async def main() -> None:
        async with aio.boot(describe("spin", vsock=True)) as vm, vm.console() as console:
            await cancelled(wait(vm, console))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(wait(vm, console), 0.02)
            assert vm.state in (capsa.State.RUNNING, capsa.State.STOPPING)

    run(main())


def test_nothing_is_lost_by_cancelling(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("print:ready echo off")) as vm, vm.console() as console:
            await console.expect("ready\n")
            for wait in (console.expect("never"), console.read(), console.expect("abc")):
                await cancelled(wait)
                await console.write(b"")
            await console.write(b"ab")
            await asyncio.sleep(0.05)
            await cancelled(console.expect("abc"))
            await console.write(b"cd")
            assert (await console.expect("abc")).before == b""
            assert await console.read() == b"d"

    run(main())


def test_one_console_may_have_many_waiters(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("print:ready echo off")) as vm, vm.console() as console:
            await console.expect("ready\n")
            waits = [asyncio.ensure_future(console.read(1)) for _ in range(4)]
            await asyncio.sleep(0)
            await console.write(b"abcd")
            assert sorted(await asyncio.gather(*waits)) == [b"a", b"b", b"c", b"d"]

    run(main())


def test_closing_ends_waits(describe: Describe) -> None:
    async def main() -> None:
        vm = await aio.boot(describe("spin"))
        console, other = vm.console(), vm.console()
        reading = asyncio.ensure_future(console.read())
        waiting = asyncio.ensure_future(vm.wait())
        expecting = asyncio.ensure_future(other.expect("never"))
        await asyncio.sleep(0.01)
        console.close()
        with pytest.raises(capsa.ClosedError):
            await reading
        await vm.close()
        for task in (waiting, expecting):
            with pytest.raises((capsa.ClosedError, capsa.HandleError)):
                await task
        other.close()
        with pytest.raises(capsa.HandleError):
            await console.read()

    run(main())


def test_consoles_may_be_forgotten(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("print:ready spin")) as vm:
            await vm.console().expect("ready")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(vm.console().expect("never"), 0.01)

    run(main())


def test_stops(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("print:ready button off")) as vm, vm.console() as console:
            await console.expect("ready")
            await vm.pause()
            assert vm.state is capsa.State.PAUSED
            await vm.resume()
            assert await vm.stop() is capsa.Stage.POWER_BUTTON
        async with aio.boot(describe("spin")) as vm:
            outcome = await vm.stop_in_stages(agent=0, power_button=0.01)
            assert outcome.stage is capsa.Stage.KILL
        async with aio.boot(describe("spin")) as vm:
            await vm.kill()
            assert (await vm.wait()).cause is capsa.Cause.KILLED

    run(main())


def test_the_loop_runs_meanwhile(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("spin")) as vm, vm.console() as console:
            waits = [console.expect("never"), vm.wait(), vm.stop(None)]
            tasks = [asyncio.ensure_future(wait) for wait in waits]
            for _ in range(100):
                await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)
            await vm.kill()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[0], capsa.ClosedError) and isinstance(results[1], capsa.ExitInfo)

    run(main())


def test_events_may_be_left(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("spin")) as vm:
            events = vm.events()
            async for event in events:
                if event.value == capsa.State.RUNNING:
                    break
            await cancelled(events.__anext__())
            waiting = [asyncio.ensure_future(events.__anext__()) for _ in range(2)]
            await asyncio.sleep(0.01)
            events.close()
            for task in waiting:
                with pytest.raises(StopAsyncIteration):
                    await task
            assert [event async for event in events] == []
            two = [asyncio.ensure_future(_all(vm.events())) for _ in range(2)]
            await asyncio.sleep(0)
            await vm.kill()
            first, second = await asyncio.gather(*two)
            assert [e.type for e in first + second].count(capsa.EventType.EXITED) == 1

    async def _all(events: aio.Events) -> List[capsa.Event]:
        return [event async for event in events]

    run(main())


def test_vsock(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("spin", vsock=True)) as vm:
            async with vm.vsock_listen(9) as listener:
                await cancelled(listener.accept())
                await cancelled(listener.__aiter__().__anext__())
                waits = [asyncio.ensure_future(listener.accept()) for _ in range(2)]
                await asyncio.sleep(0)
                guests = [socket.socket(socket.AF_UNIX) for _ in waits]
                for guest in guests:
                    guest.connect(listener.sync.socket.getsockname())
                streams = await asyncio.gather(*waits)
                reader, writer = await asyncio.open_connection(sock=streams[0])
                writer.write(b"hello\n")
                streams[1].close()
                assert {guest.recv(6) for guest in guests} == {b"hello\n", b""}
                writer.close()
                await writer.wait_closed()
                for guest in guests:
                    guest.close()
            waiting = vm.vsock_listen(9)
            closed = asyncio.ensure_future(waiting.accept())
            await asyncio.sleep(0.01)
            waiting.close()
            with pytest.raises(capsa.ClosedError):
                await closed
            await cancelled(vm.open_vsock(1))
            listener = vm.vsock_listen(9)
            ended = asyncio.ensure_future(_all(listener))
            await asyncio.sleep(0.01)
            await vm.kill()
            assert await ended == []
            listener.close()

    async def _all(listener: aio.VsockListener) -> List[capsa.VsockStream]:
        return [stream async for stream in listener]

    run(main())


def test_a_connection_that_comes_too_late_is_closed() -> None:
    ours, theirs = socket.socketpair()

    async def main() -> None:
        def connect(cancel: capsa.Cancel) -> socket.socket:
            with pytest.raises(capsa.CallCancelledError):
                patiently(None, lambda ms: _wait_for(cancel, ms))
            return ours

        await cancelled(_wait.in_thread(connect, socket.socket.close))
        assert ours.fileno() < 0

    def _wait_for(cancel: capsa.Cancel, ms: int) -> None:
        vm.wait(None if ms < 0 else ms / 1000, cancel=cancel)

    with capsa.Builder(kernel=os.environ.get("CAPSA_TEST_GUEST", "/dev/null")) as builder:
        vm = builder.build()
    with theirs, vm:
        asyncio.run(main())


def test_a_call_is_waited_for_however_often_the_task_is_cancelled() -> None:
    begun, finish = threading.Event(), threading.Event()
    undone: List[str] = []

    def work(cancel: capsa.Cancel) -> str:
        begun.set()
        finish.wait(PATIENCE)
        return "result"

    async def main() -> None:
        task = asyncio.ensure_future(_wait.in_thread(work, undone.append))
        while not begun.is_set():
            await asyncio.sleep(0)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.001)
            assert not task.done()
        finish.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert undone == ["result"]

    run(main())


def test_a_loop_may_end_before_its_calls() -> None:
    finish, finished = threading.Event(), threading.Event()

    def work(cancel: capsa.Cancel) -> None:
        finish.wait(PATIENCE)
        finished.set()

    async def begin() -> None:
        await _wait.in_thread(work)

    loop = asyncio.new_event_loop()
    coroutine = begin()

    async def main() -> None:
        coroutine.send(None)

    loop.run_until_complete(main())
    coroutine.close()
    loop.close()
    finish.set()
    assert finished.wait(PATIENCE)
    assert settles(lambda: threading.active_count() == 1)


def test_a_machine_that_cannot_start_is_not_left(describe: Describe, monkeypatch: pytest.MonkeyPatch) -> None:
    left: List[capsa.VM] = []

    def broken(vm: capsa.VM, timeout: object = None, cancel: object = None) -> None:
        left.append(vm)
        raise capsa.StateError("no")

    async def main() -> None:
        with pytest.raises(capsa.StateError):
            await aio.boot(describe("spin"))
        assert [vm.closed for vm in left] == [True]

    monkeypatch.setattr(capsa.VM, "start", broken)
    run(main())


def test_ctrl_c(guest_elf: str) -> None:
    program = """
        import asyncio, os, signal, sys, capsa.aio
        async def main():
            async with capsa.aio.boot(sys.argv[1], cmdline="spin", memory_mib=32) as vm:
                async with vm.console() as console:
                    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
                    await asyncio.gather(vm.wait(), console.expect("never"), vm.stop(None), console.run("true"))
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program), guest_elf],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
