"""The process around the machines: forks, children, threads, exit, and how much it grows."""
from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from typing import Any, Callable, List

import pytest

import capsa

from conftest import PATIENCE, descriptors, settles, waits

Start = Callable[..., capsa.VM]


def in_child(work: Callable[[], None]) -> int:
    """Runs work in a forked child; its exit status."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_is_told(start: Start) -> None:
    vm = start("spin")
    builder, console, cancel = capsa.Builder(), vm.console(), capsa.Cancel()

    def child() -> None:
        calls: List[Callable[[], Any]] = [
            capsa.Builder, capsa.doctor, builder.build, vm.wait, vm.kill, console.read, cancel.trigger,
            lambda: vm.state, lambda: console.expect("x")]
        for call in calls:
            with pytest.raises(capsa.ForkedError, match="fork"):
                call()
        assert capsa.version() == capsa.__version__ and not capsa.has("console")
        for each in (builder, console, vm, cancel):
            each.close()
        gc.collect()

    assert in_child(child) == 0
    assert vm.state is capsa.State.RUNNING and builder.cpus(1)


def test_a_child_of_a_process_that_only_imported_may_use_it() -> None:
    program = """
        import os, capsa
        child = os.fork()
        if not child:
            os._exit(0 if capsa.Builder().cpus(2).to_dict()["cpus"] == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
    """
    done = run(program)
    assert done.returncode == 0, done.stdout


def work_of_a_spawned_process(guest: str) -> str:
    with capsa.boot(guest, cmdline="print:hello off", memory_mib=32) as vm:
        console = vm.console()
        vm.wait(PATIENCE)
        return console.read_all().decode()


def test_spawned_processes(kvm: None, guest_elf: str) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(work_of_a_spawned_process, [guest_elf] * 3) == ["hello\n"] * 3


def run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          timeout=PATIENCE)


ENDS = {
    "falling off the end": "",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise SystemError('on purpose')",
    "a thread that waits": "threading.Thread(target=waits, daemon=True).start(); time.sleep(0.05)",
    "a cycle": "cycle = [vm]; cycle.append(cycle); del vm, console",
    "an atexit handler": "atexit.register(lambda: print('ended', vm.wait(0).cause)); atexit.register(vm.kill)",
}


@pytest.mark.parametrize("how", sorted(ENDS))
def test_the_interpreter_ends_with_machines_running(kvm: None, guest_elf: str, how: str) -> None:
    program = """
        import atexit, sys, threading, time, capsa
        vm = capsa.boot(sys.argv[1], cmdline="spin", memory_mib=32)
        console = vm.console()
        def waits():
            try: vm.wait()
            except capsa.CapsaError: pass
    """
    done = run(textwrap.dedent(program) + ENDS[how], guest_elf)
    if how == "sys.exit":
        assert (done.returncode, done.stdout) == (3, "")
    elif how == "an exception":
        assert done.returncode == 1 and done.stdout.rstrip().endswith("SystemError: on purpose")
    elif how == "an atexit handler":
        assert (done.returncode, done.stdout.split()[0]) == (0, "ended")
    else:
        assert (done.returncode, done.stdout) == (0, "")


def test_ctrl_c_ends_a_program_as_it_should(kvm: None, guest_elf: str) -> None:
    program = """
        import os, signal, sys, threading, capsa
        with capsa.boot(sys.argv[1], cmdline="print:ready echo off", memory_mib=32) as vm:
            vm.console().expect("ready")
            print("waits", flush=True)
            vm.wait()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), guest_elf], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:
        assert child.stdout and child.stderr and child.stdout.readline() == b"waits\n"
        assert settles(lambda: waits(child.pid, child.pid))
        child.send_signal(signal.SIGINT)
        errors = child.stderr.read()
    assert child.returncode == -signal.SIGINT and errors.rstrip().endswith(b"KeyboardInterrupt")


@pytest.mark.parametrize("before", [True, False])
def test_handlers_run_on_the_alternate_stack(before: bool) -> None:
    done = run(f"""
        import signal, sys, capsa
        from capsa import _signals
        if not {before}:
            capsa.version()
        signal.signal(signal.SIGUSR2, lambda *_: print("called"))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        capsa.version()
        print(_signals.on_stack(signal.SIGUSR2), _signals.on_stack(signal.SIGINT))
        _signals.put_on_stack(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR2)
        print(callable(signal.signal(signal.SIGUSR2, signal.SIG_DFL)), signal.getsignal(signal.SIGTERM).name)
    """)
    assert done.stdout.split() == ["True", "True", "called", "True", "SIG_IGN"], done.stdout


def test_a_handler_of_sigpipe_and_faulthandler_stay(kvm: None) -> None:
    done = run("""
        import faulthandler, os, capsa
        faulthandler.enable()
        capsa.version()
        read, write = os.pipe()
        os.close(read)
        try: os.write(write, b"x")
        except BrokenPipeError: print("told")
    """)
    assert done.stdout.split() == ["told"]


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def grow(make: Callable[[], object], times: int) -> int:
    """By how many bytes the process grows when it makes a thing and drops it, again and again."""
    for _ in range(times // 4):
        make()
    gc.collect()
    before, open_before = resident(), descriptors()
    for _ in range(times):
        make()
    gc.collect()
    assert settles(lambda: descriptors() <= open_before)
    return resident() - before


def test_objects_that_are_dropped_leave_nothing(start: Start) -> None:
    vm = start("spin", vsock=True)

    def make() -> None:
        capsa.Builder(kernel="/k", args=["a"], disks=["/d"]).clone().to_dict()
        capsa.Cancel().trigger()
        vm.console().socket().close()
        with pytest.raises(capsa.CapsaError):
            vm.console().expect("never", timeout=0)
        with pytest.raises(capsa.ConfigError):
            capsa.Builder.from_json({"x": 1})
        os.close(vm.exit_fd())
        vm.vsock_listen(9).close()

    assert grow(make, 1000) < 16 << 20


def test_machines_that_are_dropped_leave_nothing(kvm: None, describe: Callable[..., capsa.Builder]) -> None:
    builder = describe("spin")
    assert grow(lambda: builder.build(), 40) < 16 << 20
    assert capsa.metrics().count("capsa_vm_state{") == 0


def test_threads_may_use_everything_at_once(start: Start) -> None:
    vm = start("print:ready echo off")
    failures: List[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                with vm.console() as console:
                    console.expect("ready", timeout=PATIENCE)
                    console.write(b"%d " % number, PATIENCE)
                vm.stats(), vm.devices(), vm.state, capsa.Builder(cpus=2).to_json()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    console = vm.console()
    console.eof(PATIENCE)
    vm.wait(PATIENCE)
    output = console.read_all().split()
    assert not failures and [output.count(b"%d" % n) for n in range(8)] == [20] * 8
