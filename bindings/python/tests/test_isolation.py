"""Machines in processes of their own."""
from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any, Callable, Dict, List, Tuple

import pytest

import capsa
from capsa import Cause, EventType, Isolation, Jail, State, _ffi, aio

from conftest import PATIENCE, settles, waits

Start = Callable[..., capsa.VM]


def daemons() -> List[int]:
    """The children of this process in which machines run."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = rest.split()[:2]
        if name == "capsa-vzd" and state != "Z" and int(parent) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def only_daemon() -> int:
    """The only one."""
    (pid,) = daemons()
    return pid


def test_the_choices() -> None:
    assert capsa.has("isolation")
    assert capsa.Builder().isolation().to_dict()["isolation"] == "process"
    assert "jail" not in capsa.Builder(isolation=Isolation.PROCESS).to_dict()
    words = capsa.Builder(isolation=Isolation.PROCESS, jail=Jail.PARTIAL)
    assert words.to_json() == capsa.Builder().isolation(Isolation.PROCESS, jail=Jail.PARTIAL).to_json()
    assert words.to_dict()["jail"] == "partial"
    assert capsa.Builder.from_json(words.to_json()).to_json() == words.to_json()
    assert words.isolation(Isolation.DEFAULT).to_json() == capsa.Builder().to_json()
    assert capsa.Builder(isolation=Isolation.NONE).to_dict()["isolation"] == "none"


@pytest.mark.parametrize("description", [
    {"isolation": 3}, {"isolation": -1}, {"isolation": 1 << 32}, {"isolation": Isolation.PROCESS, "jail": 3},
    {"isolation": Isolation.NONE, "jail": Jail.OFF}, {"jail": Jail.PARTIAL},
])
def test_what_is_no_choice_is_refused(description: Dict[str, Any]) -> None:
    with pytest.raises(capsa.InvalidArgumentError):
        capsa.Builder(**description)


@pytest.mark.parametrize("jail, confined", [(Jail.FULL, "2"), (Jail.PARTIAL, "2"), (Jail.OFF, "0")])
def test_a_machine_in_a_process_of_its_own(start: Start, jail: Jail, confined: str) -> None:
    vm = start("print:hello echo off", isolation=Isolation.PROCESS, jail=jail)
    pid = only_daemon()
    status = dict(line.split(":\t") for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Seccomp"] == confined
    console = vm.console()
    console.expect("hello\n", timeout=PATIENCE)
    console.write(b"typed\n")
    console.expect("typed\n", timeout=PATIENCE)
    assert vm.state is State.RUNNING and vm.stats().exits > 0
    console.eof(PATIENCE)
    assert vm.wait(PATIENCE).cause is Cause.GUEST_SHUTDOWN
    assert vm.exit_record()["cause_code"] == Cause.GUEST_SHUTDOWN
    events = list(vm.events())
    logged = [e.details["message"] for e in events if e.type is EventType.LOG]
    assert bool(logged) == (jail is not Jail.OFF) and events[-1].type is EventType.EXITED
    vm.close()
    assert settles(lambda: not daemons())


def test_the_program_is_the_packages(start: Start) -> None:
    start("spin", isolation=Isolation.PROCESS, jail=Jail.OFF)
    want = pathlib.Path(_ffi.library_path()).resolve().with_name("capsa-vzd")
    assert os.path.samefile(f"/proc/{only_daemon()}/exe", want)


def pending(vm: capsa.VM) -> Tuple[List[threading.Thread], Dict[str, BaseException]]:
    """Threads that wait for a machine, and what each raises."""
    console = vm.console()
    raised: Dict[str, BaseException] = {}
    ids: List[int] = []

    def work(name: str, wait: Callable[[], Any]) -> None:
        ids.append(threading.get_native_id())
        try:
            wait()
        except capsa.CapsaError as error:
            raised[name] = error

    calls: Dict[str, Callable[[], Any]] = {
        "wait": vm.wait, "expect": lambda: console.expect("never"), "connect": lambda: vm.vsock_connect(1)}
    threads = [threading.Thread(target=work, args=each) for each in calls.items()]
    for thread in threads:
        thread.start()
    assert settles(lambda: len(ids) == len(calls) and all(waits("self", i) for i in ids))
    return threads, raised


def test_the_death_of_the_process_is_the_machines_only(start: Start) -> None:
    other = start("spin")
    vm = start("spin", isolation=Isolation.PROCESS, vsock=True)
    threads, raised = pending(vm)
    os.kill(only_daemon(), signal.SIGKILL)
    for thread in threads:
        thread.join()
    died = raised["wait"]
    assert isinstance(died, capsa.VMMDiedError) and "signal: killed" in died.message and died.hint
    assert died.exit_info and died.exit_info.cause is Cause.VMM_CRASH and not died.exit_info.success
    assert isinstance(raised["expect"], capsa.ClosedError) and set(raised) == {"wait", "expect", "connect"}
    assert vm.exit_record()["cause_code"] == Cause.VMM_CRASH
    with pytest.raises(capsa.FailedError):
        vm.wait(0)
    with pytest.raises(capsa.StateError):
        vm.pause()
    assert [vm.state, other.state] == [State.FAILED, State.RUNNING]


def test_tasks_hear_of_the_death(start: Start) -> None:
    async def main() -> None:
        vm = aio.VM(start("spin", isolation=Isolation.PROCESS))
        waiting = asyncio.ensure_future(vm.wait())
        await asyncio.sleep(0)
        os.kill(only_daemon(), signal.SIGKILL)
        with pytest.raises(capsa.VMMDiedError) as e:
            await waiting
        assert e.value.exit_info and e.value.exit_info.cause is Cause.VMM_CRASH

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_path_that_names_no_program_is_said(kvm: None, guest_elf: str) -> None:
    # The library reads the environment as it is when it is loaded.
    program = (
        "import capsa\n"
        f"builder = capsa.Builder(kernel={guest_elf!r}, cmdline='off', memory_mib=32, isolation=2)\n"
        "try:\n"
        "    builder.build()\n"
        "except capsa.UnavailableError as error:\n"
        "    print(error)\n"
        "builder.isolation(capsa.Isolation.NONE).build().close()\n")
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "CAPSA_VZD_PATH": "/nonexistent/vzd"},
                          stdout=subprocess.PIPE, universal_newlines=True, check=True)
    assert "CAPSA_VZD_PATH is set, but" in done.stdout and "/nonexistent/vzd" in done.stdout
    assert "hint: " in done.stdout
