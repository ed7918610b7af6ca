"""How the library is found, loaded and asked; arguments on their way to it."""
from __future__ import annotations

import os
import pathlib
import pickle
import subprocess
import sys
from typing import Any, Dict

import pytest

import capsa
from capsa import _ffi, errors


def python(program: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", program], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)


def test_version() -> None:
    assert capsa.version() == capsa.__version__ == "0.1.0"
    assert capsa.version_number() == 0x000100
    assert capsa.abi_version() == 0


def test_doctor_and_features() -> None:
    report = capsa.doctor()
    assert {b["name"] for b in report["backends"]} >= {"kvm"}
    assert capsa.has("console") and not capsa.has("teleport")
    with pytest.raises(TypeError):
        capsa.has(None)  # type: ignore[arg-type]


def test_the_package_as_a_program_is_the_doctor() -> None:
    done = subprocess.run([sys.executable, "-m", "capsa"], stdout=subprocess.PIPE, universal_newlines=True)
    assert "kvm" in done.stdout and capsa.version() in done.stdout
    assert done.returncode == (0 if capsa.doctor()["ok"] else 1)
    without = {**os.environ, "CAPSA_LIBRARY": "/no/such/library"}
    done = subprocess.run([sys.executable, "-m", "capsa"], env=without, stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 2 and done.stderr.startswith("libcapsa cannot be loaded: /no/such/library")


def test_status_names() -> None:
    assert capsa.status_name(-12) == "CAPSA_E_TIMEOUT"
    assert capsa.status_name(-200) == "CAPSA_E_UNKNOWN"


def test_lookup_order(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(_ffi, "__file__", str(tmp_path / "_ffi.py"))
    monkeypatch.delenv(_ffi.VARIABLE, raising=False)
    assert _ffi.library_path() == "libcapsa.so.0"
    bundled = tmp_path / "_native" / "libcapsa.so.0"
    bundled.parent.mkdir()
    bundled.touch()
    assert _ffi.library_path() == str(bundled)
    monkeypatch.setenv(_ffi.VARIABLE, "/elsewhere.so")
    assert _ffi.library_path() == "/elsewhere.so"


def test_a_library_that_is_not_there() -> None:
    done = python("import capsa\ntry: capsa.version()\nexcept ImportError as e: print(type(e).__name__, e)",
                  CAPSA_LIBRARY="/no/such/libcapsa.so.0")
    assert done.stdout.startswith("LibraryError") and "CAPSA_LIBRARY" in done.stdout and done.returncode == 0


def test_a_library_that_is_another() -> None:
    done = python("import capsa\ntry: capsa.version()\nexcept capsa.LibraryError as e: print(e)",
                  CAPSA_LIBRARY="libc.so.6")
    assert "libc.so.6 is older than this package: it has no capsa_" in done.stdout


def test_importing_loads_nothing() -> None:
    done = python("import pathlib, capsa, capsa.aio\nmaps = pathlib.Path('/proc/self/maps')\n"
                  "print('libcapsa' in maps.read_text())\ncapsa.version()\nprint('libcapsa' in maps.read_text())")
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("call", [
    lambda b: b.linux("a\0b"),
    lambda b: b.args("a\0b"),
    lambda b: b.name("a\0b"),
    lambda b: b.cpus(-1),
    lambda b: b.cpus(1 << 32),
    lambda b: b.memory_mib(1 << 64),
    lambda b: b.console(columns=1 << 16),
    lambda b: b.disk("/x", queues=1 << 32),
    lambda b: b.disk("/x", backing_dirs=["/y\0"]),
    lambda b: b.share("t", "/x", host_uid=-1, host_gid=1),
    lambda b: b.timeout(-1),
    lambda b: b.timeout(float("nan")),
    lambda b: b.vsock_listen(-1, "/x"),
])
def test_what_does_not_fit_is_not_cut_off(call: Any) -> None:
    with capsa.Builder() as builder:
        before = builder.to_json()
        with pytest.raises(capsa.InvalidArgumentError):
            call(builder)
        assert builder.to_json() == before


@pytest.mark.parametrize("call", [
    lambda b: b.linux(None),
    lambda b: b.args(1),
    lambda b: b.args(b"bytes"),
    lambda b: b.cpus("1"),
    lambda b: b.cpus(1.0),
    lambda b: b.disk(capsa.Disk("/x"), read_only=True),
    lambda b: b.disk("/x", no_such_option=1),
    lambda b: b.share("t", "/x", host_uid=1),
    lambda b: capsa.Builder(initrd="/x"),
    lambda b: b.linux("/k", no_such_option=1),
])
def test_wrong_types(call: Any) -> None:
    with capsa.Builder() as builder, pytest.raises(TypeError):
        call(builder)


ERROR: Dict[str, Any] = dict(
    status=-4, hint="do this", component="boot", os_errno=2, console_tail=b"last\xff words\n",
    detail={"problems": [{"field": "a", "message": "bad"}, {"field": "b", "message": "worse", "hint": "no"}]})


def test_an_error_says_everything() -> None:
    error = errors.ConfigError("it is wrong", **ERROR)
    assert str(error) == (
        "it is wrong\n  a: bad\n  b: worse\nhint: do this\nthe guest's last output:\n  | last\ufffd words")
    assert error.problems[1] == capsa.Problem("b", "worse", "no")
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("kind", sorted(errors.BY_CLASS.values(), key=str) + [
    capsa.RefusedError, capsa.CallInterruptedError])
def test_errors_survive_pickling(kind: Any) -> None:
    error = kind("message", **ERROR)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) and again.__dict__ == error.__dict__
    assert issubclass(kind, capsa.CapsaError)


def test_command_error_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(capsa.CommandError("false", 1, b"out")))
    assert (again.command, again.exit_status, again.output) == ("false", 1, b"out")


def test_errors_are_pythons_too() -> None:
    for ours, theirs in (
        (capsa.CallTimeoutError, TimeoutError), (capsa.SystemCallError, OSError), (capsa.ClosedError, EOFError),
        (capsa.PermissionDeniedError, PermissionError), (capsa.NoMemoryError, MemoryError),
        (capsa.RefusedError, ConnectionRefusedError), (capsa.ResetError, ConnectionResetError),
    ):
        assert issubclass(ours, theirs)
    refused = errors.make(-15, -15, 111, "refused")
    assert type(refused) is capsa.RefusedError and refused.errno == 111
    assert type(errors.make(-15, -15, 5, "io")) is capsa.SystemCallError
    assert type(errors.make(-269, -13, 0, "signal")) is capsa.CallInterruptedError
    assert type(errors.make(-200, -200, 0, "of a later version")) is capsa.CapsaError
