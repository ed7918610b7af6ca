"""The plugin for pytest, in runs of its own."""
from __future__ import annotations

from typing import Tuple

import pytest

import capsa

ARGUMENTS: Tuple[str, ...] = ("-p", "capsa.pytest_plugin", "-p", "no:cacheprovider", "--strict-markers")


@pytest.fixture(autouse=True)
def once(request: pytest.FixtureRequest) -> None:
    """An installed package brings the plugin by itself."""
    global ARGUMENTS
    if request.config.pluginmanager.has_plugin("capsa"):
        ARGUMENTS = ("-p", "no:cacheprovider", "--strict-markers")


def test_a_machine_of_the_options(kvm: None, guest_elf: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        machines = []

        @pytest.mark.capsa(cmdline="print:hello off", memory_mib=32)
        class TestIt:
            @pytest.mark.capsa(name="mine")
            def test_passes(self, capsa_vm):
                machines.append(capsa_vm)
                capsa_vm.console().expect("hello", timeout=60)
                assert 'vm="mine"' in capsa_vm.metrics() and capsa_vm.stats().memory_bytes == 32 << 20

        def test_is_over():
            assert machines[0].closed
    """)
    pytester.runpytest(*ARGUMENTS, "--capsa-kernel", guest_elf).assert_outcomes(passed=2)
    pytester.makeini(f"[pytest]\ncapsa_kernel = {guest_elf}\n")
    pytester.runpytest(*ARGUMENTS).assert_outcomes(passed=2)


def test_a_failure_shows_the_console(kvm: None, guest_elf: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        def test_fails(capsa_boot):
            one = capsa_boot(memory_mib=32, cmdline="serial:early-words print:last-words off")
            two = capsa_boot(memory_mib=32, cmdline="spin")
            one.wait(60)
            two.close()
            assert False
    """)
    result = pytester.runpytest(*ARGUMENTS, "--capsa-kernel", guest_elf)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "*machine 0, <VM stopped>: console*", "last-words", "*machine 0: boot log*", "early-words"])
    result.stdout.no_fnmatch_line("*machine 1*")


def test_no_kernel_is_said(kvm: None, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(capsa_vm): pass")
    result = pytester.runpytest(*ARGUMENTS)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no kernel: give --capsa-kernel*"])


def test_no_kvm_is_a_skip_or_a_failure(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = {"name": "kvm", "usable": False, "problem": "open /dev/kvm", "hint": "join the group kvm"}
    monkeypatch.setattr(capsa, "doctor", lambda: {"ok": False, "backends": [problem]})
    pytester.makepyfile("def test_it(capsa_vm): pass")
    skipped = pytester.runpytest_inprocess(*ARGUMENTS, "-rs")
    skipped.assert_outcomes(skipped=1)
    skipped.stdout.fnmatch_lines(["*no machines here: open /dev/kvm (join the group kvm)*"])
    failed = pytester.runpytest_inprocess(*ARGUMENTS, "--capsa-require-kvm")
    failed.assert_outcomes(errors=1)
    failed.stdout.fnmatch_lines(["*no machines here: open /dev/kvm*"])


def test_the_mark_is_known(pytester: pytest.Pytester) -> None:
    pytester.runpytest(*ARGUMENTS, "--markers").stdout.fnmatch_lines(["@pytest.mark.capsa(*"])
