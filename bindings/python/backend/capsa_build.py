"""Builds wheels and source distributions of capsa (PEP 517 and 660) with the standard library alone.

Nothing is downloaded, so that ``pip install .`` and ``pip install -e .`` work offline. The wheel brings libcapsa.so.0
along; which one, say in this order ``--config-settings library=PATH``, CAPSA_LIBRARY, and build/ of the source tree.
``library=system`` makes a wheel without one, which uses the system's. The program capsa-vzd comes from beside the
library, and is beside it again in the wheel, where the library looks for it.

The wheel is the same bytes for the same input. Its platform tag says the oldest glibc that the library runs with, from
the versions of the symbols it needs.

usage: capsa_build.py wheel|sdist DIRECTORY [LIBRARY]
"""
from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import io
import os
import pathlib
import re
import sys
import tarfile
import zipfile
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
SONAME = "libcapsa.so.0"
DAEMON = "capsa-vzd"
SYSTEM = "system"

# ZIP has no earlier time, and the files' own would make each wheel another.
_EPOCH = (1980, 1, 1, 0, 0, 0)

Settings = Optional[Mapping[str, Any]]


class Entry(NamedTuple):
    """A file of a wheel."""

    name: str
    data: bytes
    mode: int = 0o644


# ---- What pyproject.toml says. Python 3.9 has no module for TOML; this reads the part that is needed.


def project() -> Dict[str, Any]:
    """The table [project], and the entry points by group."""
    table: Dict[str, Any] = {"entry-points": {}}
    section = ""
    text = re.sub(r"\[\n(.*?)\n\]", lambda m: "[" + " ".join(m[1].split("\n")) + "]",
                  (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.S)
    for line in text.splitlines():
        heading = re.fullmatch(r"\[([\w.-]+)\]", line.strip())
        if heading:
            section = heading[1]
            continue
        key, equals, value = line.partition(" = ")
        if not equals:
            continue
        if section == "project":
            table[key] = value if value.startswith("{") else ast.literal_eval(value)
        elif section.startswith("project.entry-points."):
            group = section.rpartition(".")[2]
            table["entry-points"].setdefault(group, {})[key] = ast.literal_eval(value)
    return table


def metadata() -> bytes:
    """The core metadata."""
    p = project()
    lines = [
        "Metadata-Version: 2.1", f"Name: {p['name']}", f"Version: {p['version']}", f"Summary: {p['description']}",
        f"Keywords: {','.join(p['keywords'])}", "License: Apache-2.0", f"Requires-Python: {p['requires-python']}",
        *(f"Classifier: {c}" for c in p["classifiers"]),
        "Description-Content-Type: text/markdown", "", (ROOT / p["readme"]).read_text(encoding="utf-8"),
    ]
    return "\n".join(lines).encode("utf-8")


def entry_points() -> bytes:
    """entry_points.txt"""
    groups = project()["entry-points"]
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items()) + "\n"
        for group, points in groups.items()
    ).encode()


# ---- The library, and what it says of the platform.


def find_library(settings: Settings) -> Optional[pathlib.Path]:
    """The library for the wheel; None: the system's."""
    named = (settings or {}).get("library") or os.environ.get("CAPSA_LIBRARY")
    if named == SYSTEM:
        return None
    found = pathlib.Path(named) if named else ROOT.parent.parent / "build" / SONAME
    if not found.is_file():
        raise SystemExit(
            f"capsa_build: there is no library at {found}. Build it with `make build` in libcapsa's source tree, name "
            f"one by CAPSA_LIBRARY or --config-settings library=PATH, or say library={SYSTEM} to use the system's."
        )
    return found.resolve()


def daemon_of(library: pathlib.Path) -> pathlib.Path:
    """The program in which isolated machines run, beside the library; without it they could not."""
    found = library.parent / DAEMON
    if not os.access(found, os.X_OK):
        raise SystemExit(f"capsa_build: there is no program {found}, which belongs beside the library: `make build`")
    return found


def native(library: Optional[pathlib.Path]) -> Dict[str, pathlib.Path]:
    """What is compiled, by its name in the package's folder _native; nothing when the library is the system's."""
    return {} if library is None else {SONAME: library, DAEMON: daemon_of(library)}


def glibc(library: bytes) -> Tuple[int, int]:
    """The oldest glibc with all the symbol versions that the library needs."""
    versions = re.findall(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0", library)
    if not versions:
        raise SystemExit("capsa_build: the library names no version of glibc; is it one?")
    return max((int(major), int(minor)) for major, minor in versions)


def tag(library: Optional[pathlib.Path]) -> str:
    """The wheel's compatibility tag (PEP 425, PEP 600)."""
    if library is None:
        return "py3-none-any"
    major, minor = glibc(library.read_bytes())
    return f"py3-none-manylinux_{major}_{minor}_{os.uname().machine}"


# ---- Wheels.


def wheel_name(library: Optional[pathlib.Path]) -> str:
    """The name that PEP 427 gives it."""
    p = project()
    return f"{p['name']}-{p['version']}-{tag(library)}.whl"


def dist_info(library: Optional[pathlib.Path]) -> List[Entry]:
    """The files of .dist-info but RECORD."""
    p = project()
    directory = f"{p['name']}-{p['version']}.dist-info"
    purelib = "true" if library is None else "false"
    wheel = f"Wheel-Version: 1.0\nGenerator: capsa_build\nRoot-Is-Purelib: {purelib}\nTag: {tag(library)}\n"
    return [
        Entry(f"{directory}/METADATA", metadata()),
        Entry(f"{directory}/WHEEL", wheel.encode()),
        Entry(f"{directory}/entry_points.txt", entry_points()),
        Entry(f"{directory}/licenses/LICENSE", license_file().read_bytes()),
    ]


def license_file() -> pathlib.Path:
    """The licence: of libcapsa's source tree, or beside this in a source distribution."""
    return next(f for f in (ROOT / "LICENSE", ROOT.parent.parent / "LICENSE") if f.is_file())


def sources() -> List[pathlib.Path]:
    """The files of the package, but the library that an editable installation has put there."""
    found = (f for f in (ROOT / "src" / "capsa").rglob("*") if f.is_file())
    return sorted(f for f in found if not {"__pycache__", "_native"} & set(f.parts))


def package(library: Optional[pathlib.Path]) -> List[Entry]:
    """The files of the package."""
    entries = [Entry(str(f.relative_to(ROOT / "src")), f.read_bytes()) for f in sources()]
    return entries + [Entry(f"capsa/_native/{n}", f.read_bytes(), 0o755) for n, f in native(library).items()]


def write_wheel(path: pathlib.Path, entries: List[Entry]) -> None:
    """The archive, with RECORD as its last file."""
    record = next(e.name for e in entries if e.name.endswith(".dist-info/WHEEL")).replace("WHEEL", "RECORD")
    lines = [f"{e.name},sha256={_digest(e.data)},{len(e.data)}" for e in entries] + [f"{record},,", ""]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries + [Entry(record, "\n".join(lines).encode())]:
            info = zipfile.ZipInfo(entry.name, _EPOCH)
            info.external_attr = (0o100000 | entry.mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def link_native(library: Optional[pathlib.Path]) -> None:
    """For an editable installation: the package in the source tree gets links to the library and its program."""
    directory = ROOT / "src" / "capsa" / "_native"
    directory.mkdir(exist_ok=True)
    for name in (SONAME, DAEMON):
        link = directory / name
        if link.is_symlink() or link.exists():
            link.unlink()
    for name, file in native(library).items():
        (directory / name).symlink_to(file)


# ---- The hooks.


def get_requires_for_build_wheel(config_settings: Settings = None) -> List[str]:
    """Nothing."""
    return []


get_requires_for_build_editable = get_requires_for_build_sdist = get_requires_for_build_wheel


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """Writes .dist-info."""
    entries = dist_info(find_library(config_settings))
    directory = entries[0].name.partition("/")[0]
    for entry in entries:
        path = pathlib.Path(metadata_directory) / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.data)
    return directory


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    """A wheel with everything."""
    library = find_library(config_settings)
    name = wheel_name(library)
    write_wheel(pathlib.Path(wheel_directory) / name, package(library) + dist_info(library))
    return name


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    """A wheel that points to the source tree."""
    library = find_library(config_settings)
    link_native(library)
    name = wheel_name(library)
    pointer = Entry("__editable__.capsa.pth", f"{ROOT / 'src'}\n".encode())
    write_wheel(pathlib.Path(wheel_directory) / name, [pointer] + dist_info(library))
    return name


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """The sources; a wheel made of them needs a library that is built elsewhere."""
    p = project()
    base = f"{p['name']}-{p['version']}"
    own = ("pyproject.toml", "README.md", "backend/capsa_build.py", "tools/gen_bindings.py")
    files = [ROOT / f for f in own] + sources() + sorted((ROOT / "tests").glob("*.py"))
    raw = io.BytesIO()
    extra = [("PKG-INFO", metadata()), ("LICENSE", license_file().read_bytes())]
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in extra + [(str(f.relative_to(ROOT)), f.read_bytes()) for f in files]:
            info = tarfile.TarInfo(f"{base}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path = pathlib.Path(sdist_directory) / f"{base}.tar.gz"
    path.write_bytes(gzip.compress(raw.getvalue(), mtime=0))
    return path.name


def main(arguments: List[str]) -> int:
    """The command line."""
    if len(arguments) not in (2, 3) or arguments[0] not in ("wheel", "sdist"):
        print(__doc__, file=sys.stderr)
        return 2
    settings = {"library": arguments[2]} if len(arguments) == 3 else None
    os.makedirs(arguments[1], exist_ok=True)
    made = build_wheel(arguments[1], settings) if arguments[0] == "wheel" else build_sdist(arguments[1], settings)
    print(os.path.join(arguments[1], made))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
