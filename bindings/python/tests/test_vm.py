"""The life of a machine: states, ends, stops, numbers, events."""
from __future__ import annotations

import datetime
import os
import select
import threading
from typing import Any, Callable, List

import pytest

import capsa
from capsa import Cause, EventType, Stage, State

from conftest import PATIENCE

Start = Callable[..., capsa.VM]
Describe = Callable[..., capsa.Builder]


def in_state(vm: capsa.VM, state: State) -> bool:
    return vm.state is state


def test_states(kvm: None, describe: Describe) -> None:
    with describe("spin").build() as vm:
        assert in_state(vm, State.CREATED) and repr(vm) == "<VM created>"
        calls: List[Callable[[], Any]] = [vm.pause, vm.resume, vm.stop, vm.exit_record]
        for call in calls:
            with pytest.raises(capsa.StateError):
                call()
        assert vm.start() is vm
        with pytest.raises(capsa.StateError):
            vm.start()
        vm.pause()
        assert in_state(vm, State.PAUSED)
        vm.resume()
        assert in_state(vm, State.RUNNING)
        with pytest.raises(TimeoutError):
            vm.wait(0)
        vm.kill()
        vm.kill()
        assert in_state(vm, State.STOPPED)
        record = vm.wait()
        assert record == vm.wait(0) and record.cause is Cause.KILLED and record.uptime > 0 and not record.success
        assert vm.exit_record()["cause_code"] == Cause.KILLED
        assert vm.stop() is Stage.NONE
    assert vm.closed and repr(vm) == "<VM closed>"
    with pytest.raises(capsa.HandleError, match="this VM has been closed"):
        vm.wait()


@pytest.mark.parametrize("command, cause", [
    ("off", Cause.GUEST_SHUTDOWN), ("reboot", Cause.REBOOT), ("triple", Cause.TRIPLE_FAULT)])
def test_endings(start: Start, command: str, cause: Cause) -> None:
    record = start(f"print:up {command}").wait(PATIENCE)
    assert record.cause is cause and record.success == (cause is Cause.GUEST_SHUTDOWN)


def test_a_guest_that_never_came_up(start: Start) -> None:
    vm = start("serial:early-words triple")
    with pytest.raises(capsa.BootError) as e:
        vm.wait(PATIENCE)
    assert e.value.exit_info and e.value.exit_info.cause is Cause.BOOT_FAILED
    assert e.value.console_tail == b"early-words\n" and e.value.hint
    assert "  | early-words" in str(e.value)
    assert in_state(vm, State.FAILED) and vm.boot_log() == b"early-words\n"


def test_stop_presses_the_power_button(start: Start) -> None:
    vm = start("print:ready button off")
    vm.console().expect("ready\n", timeout=PATIENCE)
    assert vm.stop(PATIENCE) is Stage.POWER_BUTTON
    assert vm.wait(0).cause is Cause.STOPPED


def test_stop_kills_when_asking_does_not_help(start: Start) -> None:
    vm = start("spin")
    assert vm.stop(0.01) is Stage.KILL
    assert vm.wait(0).cause is Cause.KILLED


def test_stop_in_stages(start: Start) -> None:
    vm = start("spin")
    with pytest.raises(TimeoutError):
        vm.stop_in_stages(agent=0, power_button=0.01, kill=0)
    assert vm.state in (State.STOPPING, State.RUNNING)
    outcome = vm.stop_in_stages(agent=0, power_button=0.01)
    assert outcome.stage is Stage.KILL and outcome.power_button > 0 and outcome.kill > 0
    assert vm.stop_in_stages().stage is Stage.NONE


def test_whole_life_limit(start: Start) -> None:
    assert start("spin", timeout=0.05).wait(PATIENCE).cause is Cause.TIMED_OUT


def test_memory_target(start: Start) -> None:
    vm = start("spin")
    full = vm.stats().memory_bytes
    vm.set_memory_target(full // 2)
    assert vm.stats().target_bytes == full // 2
    vm.set_memory_target(0)
    assert vm.stats().target_bytes == full
    with pytest.raises(capsa.InvalidArgumentError):
        vm.set_memory_target(full + 1)
    with pytest.raises(capsa.UnsupportedError):
        start("spin", balloon=capsa.Balloon.OFF).set_memory_target(full // 2)


def test_numbers(start: Start) -> None:
    vm = start("print:hello off", name="counted")
    vm.wait(PATIENCE)
    stats = vm.stats()
    assert stats.state is State.STOPPED and stats.cpus == 1 and stats.memory_bytes == 32 << 20
    assert stats.exits == stats.exits_io + stats.exits_mmio + stats.exits_other > 0
    assert 0 < stats.created_ns <= stats.first_instruction_ns <= stats.console_open_ns <= stats.ended_ns
    devices = vm.devices()
    assert len(devices) == stats.devices
    console = [d for d in devices if d.name == "console"][0]
    assert console.virtio_id == 3 and console.bytes_in == 6
    assert vm.device_stats(devices.index(console)) == console
    with pytest.raises(capsa.NotFoundError):
        vm.device_stats(stats.devices)
    assert vm.stats_json()["exits"]["mmio"] == stats.exits_mmio
    assert 'vm="counted",device="console",direction="in"} 6\n' in vm.metrics()
    assert 'vm="counted",state="stopped"} 1\n' in capsa.metrics()
    vm.close()
    assert "counted" not in capsa.metrics()


def test_events(start: Start) -> None:
    vm = start("print:hello off")
    events = list(vm.events())
    assert [e.value for e in events if e.type is EventType.STATE] == [State.STARTING, State.RUNNING, State.STOPPED]
    assert events[-1].type is EventType.EXITED and events[-1].value == Cause.GUEST_SHUTDOWN
    assert events[-1].details["exit"]["cause"] == "guest shutdown"
    now = datetime.datetime.now(datetime.timezone.utc)
    assert all(e.time.tzinfo and abs(now - e.time) < datetime.timedelta(hours=1) for e in events)
    with pytest.raises(capsa.ClosedError):
        vm.next_event(0)


def test_descriptors(start: Start) -> None:
    vm = start("print:ready echo off")
    console, exit_fd, event_fd = vm.console(), vm.exit_fd(), vm.event_fd()
    try:
        assert select.select([event_fd], [], [], PATIENCE)[0]
        assert not select.select([exit_fd], [], [], 0)[0] and not os.get_inheritable(exit_fd)
        console.eof(PATIENCE)
        assert select.select([exit_fd], [], [], PATIENCE)[0] and os.read(exit_fd, 1) == b""
    finally:
        os.close(exit_fd)
        os.close(event_fd)


def test_many_threads_wait_for_one_end(start: Start) -> None:
    vm = start("print:ready echo off")
    records: List[capsa.ExitInfo] = []
    threads = [threading.Thread(target=lambda: records.append(vm.wait(PATIENCE))) for _ in range(8)]
    for t in threads:
        t.start()
    vm.console().eof(PATIENCE)
    for t in threads:
        t.join()
    assert len(records) == 8 and len(set(records)) == 1


def test_a_machine_that_cannot_start_is_not_left(
    kvm: None, describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []

    def broken(vm: capsa.VM, timeout: object = None) -> capsa.VM:
        left.append(vm)
        raise capsa.StateError("no")

    monkeypatch.setattr(capsa.VM, "start", broken)
    with pytest.raises(capsa.StateError):
        describe("spin").start()
    assert [vm.closed for vm in left] == [True]
