"""Waits: Ctrl-C, other signals, Cancel, objects that go away meanwhile, the GIL."""
from __future__ import annotations

import os
import signal
import threading
from typing import Any, Callable, Iterator, List

import pytest

import capsa
from capsa import _wait

from conftest import waits

Start = Callable[..., capsa.VM]

# Every call that can wait for ever, on a machine that does nothing and has sockets.
WAITS: List[Any] = [
    pytest.param(lambda vm, con, **k: vm.wait(**k), id="wait"),
    pytest.param(lambda vm, con, **k: con.expect("never", **k), id="expect"),
    pytest.param(lambda vm, con, **k: con.read(**k), id="read"),
    pytest.param(lambda vm, con, **k: con.run("true", **k), id="run"),
    pytest.param(lambda vm, con, **k: vm.vsock_connect(1, **k), id="vsock_connect"),
    pytest.param(lambda vm, con, **k: [vm.next_event(**k) for _ in range(100)], id="next_event"),
]


@pytest.fixture
def vm(start: Start) -> capsa.VM:
    return start("spin", vsock=True)


@pytest.fixture
def console(vm: capsa.VM) -> Iterator[capsa.Console]:
    with vm.console() as console:
        yield console


class Signaller:
    """Signals the process whenever the thread that made it waits, until it is told to stop."""

    def __init__(self, number: int) -> None:
        self._thread = threading.get_native_id()
        self._stop = threading.Event()
        self._number = number
        self._worker = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.wait(0.001):
            if waits("self", self._thread):
                os.kill(os.getpid(), self._number)

    def __enter__(self) -> None:
        self._worker.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._worker.join()


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_a_wait(vm: capsa.VM, console: capsa.Console, wait: Any) -> None:
    interrupted = False
    try:
        with Signaller(signal.SIGINT):
            wait(vm, console)
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted and vm.state is capsa.State.RUNNING


@pytest.mark.parametrize("call", [
    lambda vm, con: vm.stop(None),
    lambda vm, con: vm.stop_in_stages(0, None),
    lambda vm, con: con.write(bytes(1 << 26)),
])
def test_ctrl_c_ends_a_request(vm: capsa.VM, console: capsa.Console, call: Any) -> None:
    interrupted = False
    try:
        with Signaller(signal.SIGINT):
            call(vm, console)
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted and vm.state in (capsa.State.RUNNING, capsa.State.STOPPING)


@pytest.fixture
def counted() -> Iterator[List[int]]:
    seen: List[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("wait", WAITS)
def test_a_handler_that_returns_ends_no_wait(
    vm: capsa.VM, console: capsa.Console, wait: Any, counted: List[int]
) -> None:
    with Signaller(signal.SIGUSR1), pytest.raises(TimeoutError):
        wait(vm, console, timeout=0.2)
    assert counted


def test_handlers_and_stages(vm: capsa.VM, counted: List[int]) -> None:
    with Signaller(signal.SIGUSR1):
        outcome = vm.stop_in_stages(agent=0, power_button=0.2)
    assert counted and outcome.stage is capsa.Stage.KILL and outcome.power_button > 0


def test_handlers_and_writing(vm: capsa.VM, console: capsa.Console, counted: List[int]) -> None:
    with Signaller(signal.SIGUSR1), pytest.raises(TimeoutError):
        while True:
            assert console.write(bytes(1 << 20), 0.2) > 0
    assert counted


@pytest.mark.parametrize("wait", WAITS)
def test_cancel_ends_waits_now_and_from_now_on(vm: capsa.VM, console: capsa.Console, wait: Any) -> None:
    ended = []
    with capsa.Cancel() as cancel:

        def work() -> None:
            try:
                wait(vm, console, cancel=cancel)
            except capsa.CallCancelledError as error:
                ended.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        cancel.trigger()
        for t in threads:
            t.join()
        assert len(ended) == 3
        with pytest.raises(capsa.CallCancelledError):
            wait(vm, console, cancel=cancel)
    with pytest.raises(capsa.HandleError, match="this Cancel has been closed"):
        wait(vm, console, cancel=cancel)
    with pytest.raises(TypeError, match="a Cancel or None"):
        wait(vm, console, cancel=vm)


@pytest.mark.parametrize("wait", WAITS)
def test_closing_ends_waits(start: Start, wait: Any) -> None:
    vm = start("spin", vsock=True)
    console = vm.console()
    ended, ready = [], threading.Event()

    def work() -> None:
        ready.set()
        try:
            wait(vm, console)
        except capsa.CapsaError as error:
            ended.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    console.close()
    vm.close()
    thread.join()
    assert ended in ([capsa.ClosedError], [capsa.HandleError], [])  # the last: the record came first


def test_others_run_while_one_waits(vm: capsa.VM) -> None:
    done = threading.Event()
    with capsa.Cancel() as cancel:

        def work() -> None:
            with pytest.raises(capsa.CallCancelledError):
                vm.wait(cancel=cancel)
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert sum(range(100000)) and not done.is_set()
        cancel.trigger()
        thread.join()
    assert done.is_set()


@pytest.mark.parametrize("timeout, want", [
    (None, -1), (0, 0), (0.0001, 1), (1, 1000), (1.0001, 1001), (float("inf"), (1 << 63) - 1), (1e30, (1 << 63) - 1)])
def test_milliseconds(timeout: Any, want: int) -> None:
    assert _wait.milliseconds(timeout) == want


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("-inf")])
def test_times_that_are_none(vm: capsa.VM, timeout: float) -> None:
    calls: List[Any] = [vm.wait, vm.stop, lambda t: vm.stop_in_stages(kill=t)]
    for call in calls:
        with pytest.raises(capsa.InvalidArgumentError):
            call(timeout)
