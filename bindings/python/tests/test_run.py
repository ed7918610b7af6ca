"""Commands in the guest's shell. The bare guest has none: what it echoes, a shell of the host reads and answers."""
from __future__ import annotations

import asyncio
import subprocess
import threading
from typing import Callable, Iterator

import pytest

import capsa
from capsa import aio

from conftest import PATIENCE


def serve(vm: capsa.VM) -> None:
    """Runs each script that is typed, and types what it says."""
    script = b""
    with vm.console() as console:
        for line in console.lines():
            if line.startswith(b" (trap"):
                script = b""
            script += line + b"\n"
            if line.endswith(b" $?)"):
                done = subprocess.run(["sh"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                console.write(done.stdout, PATIENCE)


@pytest.fixture
def vm(start: Callable[..., capsa.VM]) -> Iterator[capsa.VM]:
    vm = start("print:ready echo off")
    shell = threading.Thread(target=serve, args=(vm,))
    shell.start()
    yield vm
    vm.kill()
    shell.join()


def test_a_command(vm: capsa.VM) -> None:
    console = vm.console()
    console.expect("ready", timeout=PATIENCE)
    done = console.run("echo hello; echo 'Grüße' >&2; exit 7", PATIENCE)
    assert (done.exit_status, done.text, done.missing) == (7, "hello\nGrüße\n", 0)
    assert done.command.startswith("echo hello")
    assert console.run("echo 'two\nlines'", PATIENCE, check=True).output == b"two\nlines\n"
    with pytest.raises(capsa.CommandError) as e:
        console.run("echo why; false", PATIENCE, check=True)
    assert (e.value.exit_status, e.value.output) == (1, b"why\n")
    assert console.read(1, PATIENCE) == b"\n"  # the position has not moved


def test_commands_of_tasks_take_turns(vm: capsa.VM) -> None:
    async def main() -> None:
        asynchronous = aio.VM(vm)
        async with asynchronous.console() as one, asynchronous.console() as two:
            done = await asyncio.gather(*(c.run(f"echo {n}", check=True) for n, c in enumerate((one, two, one, two))))
            assert [d.text for d in done] == ["0\n", "1\n", "2\n", "3\n"]
            with pytest.raises(capsa.CommandError):
                await one.run("exit 3", check=True)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
