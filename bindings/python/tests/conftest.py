"""What the tests share: the bare guest, which does what its command line says (tests/abi/guest/guest.c)."""
from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import time
from typing import Any, Callable, Iterator, Union

import pytest

import capsa

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "bindings" / "python"

# How long a wait may take that is meant to succeed, in seconds; when it is over the test has failed.
PATIENCE = 60.0

pytest_plugins = ["pytester"]

# A shell starts what is to run in the background with SIGINT ignored, and programs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Numbers of the system calls in which waits are on x86-64: poll, ppoll, accept4.
POLLS = {"7", "271", "288"}


def waits(process: Union[int, str], thread: int) -> bool:
    """Whether a thread is in a wait, and not merely in want of the GIL."""
    with open(f"/proc/{process}/task/{thread}/syscall") as file:
        return file.read().split()[0] in POLLS


def settles(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes to hold: the library closes its ends of sockets a moment after their readers."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def required(thing: str) -> bool:
    """Whether CAPSA_REQUIRE demands a thing, whose lack then is a failure and not a skip."""
    return thing in os.environ.get("CAPSA_REQUIRE", "").split(",")


@pytest.fixture(scope="session")
def kvm() -> None:
    """For tests that run machines."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if required("kvm"):
            pytest.fail(f"CAPSA_REQUIRE demands kvm: {error}")
        pytest.skip(f"no KVM: {error}")


@pytest.fixture(scope="session")
def guest_elf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bare guest."""
    built = os.environ.get("CAPSA_TEST_GUEST")
    if not built:
        built = str(tmp_path_factory.mktemp("guest") / "guest.elf")
        subprocess.run([ROOT / "tests/abi/guest/build.sh", built], check=True)
    return built


@pytest.fixture
def describe(guest_elf: str) -> Callable[..., capsa.Builder]:
    """Makes builders for the bare guest."""

    def make(commands: str = "spin", **description: Any) -> capsa.Builder:
        description.setdefault("memory_mib", 32)
        return capsa.Builder(kernel=guest_elf, cmdline=commands, **description)

    return make


@pytest.fixture
def start(kvm: None, describe: Callable[..., capsa.Builder]) -> Iterator[Callable[..., capsa.VM]]:
    """Starts bare guests, and ends them with the test."""
    machines = []

    def make(commands: str = "spin", **description: Any) -> capsa.VM:
        machines.append(describe(commands, **description).start())
        return machines[-1]

    yield make
    for vm in machines:
        vm.close()
