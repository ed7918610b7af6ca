"""Wheels and source distributions: what is in them, their tag, and that pip installs them offline."""
from __future__ import annotations

import base64
import csv
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from typing import Any, Dict

import pytest

from capsa import _ffi

from conftest import PACKAGE

sys.path.insert(0, str(PACKAGE / "backend"))

import capsa_build  # noqa: E402

tomllib = pytest.importorskip("tomllib") if sys.version_info >= (3, 11) else None


@pytest.fixture(scope="module")
def library() -> pathlib.Path:
    """The library that the tests use."""
    return pathlib.Path(_ffi.library_path()).resolve()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, library: pathlib.Path) -> pathlib.Path:
    directory = tmp_path_factory.mktemp("wheel")
    return directory / capsa_build.build_wheel(str(directory), {"library": str(library)})


def test_the_tag_is_the_librarys_glibc(wheel: pathlib.Path, library: pathlib.Path) -> None:
    dump = subprocess.run(["objdump", "-T", library], stdout=subprocess.PIPE, universal_newlines=True, check=True)
    needed = {tuple(map(int, v)) for v in re.findall(r"GLIBC_(\d+)\.(\d+)", dump.stdout)}
    newest = max(needed)
    assert wheel.name == f"capsa-0.1.0-py3-none-manylinux_{newest[0]}_{newest[1]}_{os.uname().machine}.whl"
    assert newest <= (2, 36), "runs on Debian 12"


def test_glibc_versions_are_numbers_and_not_text() -> None:
    assert capsa_build.glibc(b"GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0") == (2, 34)
    with pytest.raises(SystemExit, match="no version of glibc"):
        capsa_build.glibc(b"nothing")


def test_the_wheel_is_whole(wheel: pathlib.Path, library: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = "capsa-0.1.0.dist-info/RECORD"
        rows = {row[0]: row[1:] for row in csv.reader(archive.read(record).decode().splitlines())}
        assert sorted(rows) == sorted(names) and rows.pop(record) == ["", ""]
        for name, (digest, size) in rows.items():
            data = archive.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={encoded}", len(data))
        for name, file in (("libcapsa.so.0", library), ("capsa-vzd", library.parent / "capsa-vzd")):
            assert archive.read(f"capsa/_native/{name}") == file.read_bytes()
            assert archive.getinfo(f"capsa/_native/{name}").external_attr >> 16 & 0o777 == 0o755
        text = archive.read("capsa-0.1.0.dist-info/METADATA").decode()
        assert "Requires-Python: >=3.9\n" in text and "\n# capsa for Python\n" in text
        assert archive.read("capsa-0.1.0.dist-info/entry_points.txt") == (
            b"[pytest11]\ncapsa = capsa.pytest_plugin\n\n")
    assert {"capsa-0.1.0.dist-info/licenses/LICENSE", "capsa/py.typed", "capsa/_bindings.py",
            "capsa/aio/__init__.py"} <= set(names)
    assert not [n for n in names if "__pycache__" in n or n.startswith("tests")]


def test_the_same_input_makes_the_same_wheel(
    wheel: pathlib.Path, library: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    again = tmp_path / capsa_build.build_wheel(str(tmp_path), {"library": str(library)})
    assert again.read_bytes() == wheel.read_bytes()


def test_pyproject_is_read_as_it_is_meant() -> None:
    if tomllib is None:
        pytest.skip("module tomllib comes with Python 3.11")
    want: Dict[str, Any] = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    got = capsa_build.project()
    assert got.pop("license") == '{text = "Apache-2.0"}' and want.pop("license") == {"text": "Apache-2.0"}
    assert got == want


def test_a_missing_library_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("CAPSA_LIBRARY", "/no/such/library")
    with pytest.raises(SystemExit, match="no library at /no/such/library"):
        capsa_build.build_wheel(str(tmp_path))
    name = capsa_build.build_wheel(str(tmp_path), {"library": "system"})
    assert name == "capsa-0.1.0-py3-none-any.whl"
    assert not [n for n in zipfile.ZipFile(tmp_path / name).namelist() if "_native" in n]


def test_a_library_without_its_program_is_said(library: pathlib.Path, tmp_path: pathlib.Path) -> None:
    alone = tmp_path / "libcapsa.so.0"
    alone.write_bytes(library.read_bytes())
    with pytest.raises(SystemExit, match=f"no program {tmp_path}/capsa-vzd"):
        capsa_build.build_wheel(str(tmp_path), {"library": str(alone)})


# ---- With pip, which must not need the network.


def pip(environment: pathlib.Path, *arguments: str, **variables: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONWARNINGS")}
    env.update({"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables})
    done = subprocess.run([environment / "bin" / "python", "-m", "pip", *arguments], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def ask(environment: pathlib.Path) -> str:
    """Where an installed capsa has its library, and what that says."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CAPSA_LIBRARY")}
    done = subprocess.run(
        [environment / "bin" / "python", "-W", "error", "-c",
         "import capsa; from capsa import _ffi; print(_ffi.library_path(), capsa.version())"],
        env=env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return done.stdout


def isolated(environment: pathlib.Path, guest: str) -> str:
    """How a machine in a process of its own ends, with nothing but what the installation has brought along."""
    program = (
        "import capsa\n"
        f"with capsa.Builder(kernel={guest!r}, cmdline='print:hello echo off', memory_mib=32,\n"
        "                   isolation=capsa.Isolation.PROCESS).start() as vm:\n"
        "    console = vm.console()\n"
        "    console.expect('hello\\n', timeout=60)\n"
        "    console.eof(60)\n"
        "    print(vm.wait(60).cause.name)\n")
    done = subprocess.run([environment / "bin" / "python", "-W", "error", "-c", program], env={"PATH": "/nonexistent"},
                          cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    return done.stdout


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> pathlib.Path:
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv"


def test_pip_installs_offline(
    kvm: None, environment: pathlib.Path, tmp_path: pathlib.Path, library: pathlib.Path, guest_elf: str
) -> None:
    pip(environment, "install", str(PACKAGE), CAPSA_LIBRARY=str(library))
    where, version = ask(environment).split()
    assert version == "0.1.0" and where.startswith(str(environment)) and where.endswith("/_native/libcapsa.so.0")
    assert os.access(pathlib.Path(where).parent / "capsa-vzd", os.X_OK)
    assert isolated(environment, guest_elf) == "GUEST_SHUTDOWN\n"
    pip(environment, "uninstall", "-y", "capsa")

    native = PACKAGE / "src" / "capsa" / "_native" / "libcapsa.so.0"
    daemon = native.with_name("capsa-vzd")
    before = os.readlink(native) if native.is_symlink() else None
    pip(environment, "install", "-e", str(PACKAGE), CAPSA_LIBRARY=str(library))
    try:
        where, version = ask(environment).split()
        assert version == "0.1.0" and where == str(native) and native.resolve() == library
        assert isolated(environment, guest_elf) == "GUEST_SHUTDOWN\n"
        pip(environment, "uninstall", "-y", "capsa")
    finally:
        native.unlink()
        daemon.unlink()
        if before is not None:
            capsa_build.link_native(pathlib.Path(before))
        else:
            native.parent.rmdir()

    sdist = tmp_path / capsa_build.build_sdist(str(tmp_path))
    with tarfile.open(sdist) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    assert {"PKG-INFO", "LICENSE", "pyproject.toml", "backend/capsa_build.py", "src/capsa/_bindings.py",
            "tests/conftest.py", "tools/gen_bindings.py", "README.md"} <= names
    assert not [n for n in names if "_native" in n]
    pip(environment, "install", str(sdist), CAPSA_LIBRARY=str(library))
    assert ask(environment).split()[1] == "0.1.0"
