"""Fixtures for pytest: machines that end with the test, whose console is in the report of one that failed.

    def test_greets(capsa_vm):
        console = capsa_vm.console()
        console.expect("# ", timeout=60)
        assert console.run("echo hello").text == "hello\\n"

``capsa_vm`` is a machine that boots what ``--capsa-kernel`` and ``--capsa-initrd`` name, or the ini options
``capsa_kernel`` and ``capsa_initrd``; a mark adds to it what capsa.Builder takes: ``@pytest.mark.capsa(cpus=2)``.
``capsa_boot`` boots any number of machines. Without a usable /dev/kvm such tests are skipped, with
``--capsa-require-kvm`` they fail.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Generator, Iterator, List, Optional, Protocol

import pytest

if TYPE_CHECKING:
    from . import VM

# How much of a console goes into a report, in bytes.
_TAIL = 8192

_Machines = List["VM"]


class BootMachine(Protocol):
    """The type of the fixture capsa_boot: as capsa.boot, with the kernel of the options where none is given."""

    def __call__(self, kernel: Any = None, initrd: Any = None, **description: Any) -> VM:
        """Boots a machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the command line and the ini file."""
    group = parser.getgroup("capsa", "virtual machines")
    for name, text in (("kernel", "kernel that test machines boot"), ("initrd", "initial RAM disk of test machines")):
        group.addoption(f"--capsa-{name}", metavar="PATH", help=text)
        parser.addini(f"capsa_{name}", text)
    group.addoption("--capsa-require-kvm", action="store_true", help="fail, not skip, where machines cannot run")


def pytest_configure(config: pytest.Config) -> None:
    """The mark."""
    config.addinivalue_line("markers", "capsa(**description): what capsa.Builder takes, for the machine of capsa_vm")


def _option(config: pytest.Config, name: str) -> Optional[str]:
    """An option of the command line, else of the ini file; relative to where pytest found that."""
    given = config.getoption(f"--capsa-{name}")
    if given:
        return str(given)
    written = config.getini(f"capsa_{name}")
    return str(config.rootpath / written) if written else None


@pytest.fixture(scope="session")
def capsa_kvm(pytestconfig: pytest.Config) -> None:
    """Skips, or fails, where machines cannot run; says why."""
    import capsa

    report = capsa.doctor()
    if report.get("ok"):
        return
    backends = (b for b in report["backends"] if not b["usable"] and b.get("kind") != "unsupported")
    why = "; ".join(f"{b.get('problem', b['name'])} ({b.get('hint', 'no hint')})" for b in backends)
    if pytestconfig.getoption("--capsa-require-kvm"):
        pytest.fail(f"no machines here: {why}", pytrace=False)
    pytest.skip(f"no machines here: {why}")


@pytest.fixture
def capsa_boot(capsa_kvm: None, request: pytest.FixtureRequest) -> Iterator[BootMachine]:
    """Boots machines that end with the test: ``capsa_boot(kernel, initrd, memory_mib=512, ...)``."""
    import capsa

    machines: _Machines = []
    setattr(request.node, "_capsa_machines", machines)

    def boot(kernel: Any = None, initrd: Any = None, **description: Any) -> VM:
        if kernel is None:
            kernel = _option(request.config, "kernel")
            initrd = initrd or _option(request.config, "initrd")
        if kernel is None:
            raise pytest.UsageError("no kernel: give --capsa-kernel, set capsa_kernel in the ini file, or pass one")
        machines.append(capsa.boot(kernel, initrd, **description))
        return machines[-1]

    yield boot
    for vm in machines:
        vm.close()


@pytest.fixture
def capsa_vm(capsa_boot: BootMachine, request: pytest.FixtureRequest) -> VM:
    """A machine of the options and of the test's mark ``capsa``."""
    description: Dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("capsa"))):
        description.update(mark.kwargs)
    return capsa_boot(**description)


def _make_report(item: pytest.Item) -> Generator[None, Any, None]:
    """Adds the consoles of its machines to the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for number, vm in enumerate(getattr(item, "_capsa_machines", ())):
            report.sections.extend(_sections(number, vm))


pytest_runtest_makereport = pytest.hookimpl(hookwrapper=True)(_make_report)


def _sections(number: int, vm: VM) -> Iterator[Any]:
    """What there is to say about a machine."""
    from . import CapsaError

    if vm.closed:
        return
    try:
        with vm.console() as console:
            text = b""
            while True:
                try:
                    piece = console.read(timeout=0)
                except TimeoutError:
                    break
                if not piece:
                    break
                text = (text + piece)[-_TAIL:]
        yield f"machine {number}, {vm!r}: console", text.decode("utf-8", "replace")
        log = vm.boot_log()[-_TAIL:]
        if log:
            yield f"machine {number}: boot log", log.decode("utf-8", "replace")
    except CapsaError as error:
        yield f"machine {number}", f"nothing to be had: {error}"
