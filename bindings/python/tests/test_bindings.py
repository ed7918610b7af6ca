"""The declarations: as the header has them, and all of them in use."""
from __future__ import annotations

import ctypes
import inspect
import pathlib
import re
import subprocess
import sys
from typing import List

import pytest

import capsa
from capsa import _bindings, _ffi

from conftest import PACKAGE, ROOT

HEADER = ROOT / "include" / "capsa.h"
SOURCES = pathlib.Path(capsa.__file__).parent

# Functions that nothing in the package calls, and why.
NOT_WRAPPED = {
    "capsa_error_code": "the call has returned the same status",
}

# Constants that nothing in the package names, and why.
NOT_NAMED = {
    "CAPSA_VERSION_MAJOR": "of __version__", "CAPSA_VERSION_MINOR": "of __version__",
    "CAPSA_VERSION_PATCH": "of __version__",
}


def regenerated(header: pathlib.Path) -> str:
    command = [sys.executable, str(PACKAGE / "tools" / "gen_bindings.py"), str(header)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout


def code() -> str:
    files = [f for f in SOURCES.rglob("*.py") if f.name != "_bindings.py"]
    return "\n".join(f.read_text() for f in files)


def structures() -> List[type]:
    found = [v for v in vars(_bindings).values() if inspect.isclass(v) and issubclass(v, ctypes.Structure)]
    return [s for s in found if hasattr(s, "_fields_")]


def test_bindings_are_those_of_the_header() -> None:
    assert (SOURCES / "_bindings.py").read_text() == regenerated(HEADER), "run tools/gen_bindings.py"


def test_every_exported_function_is_declared() -> None:
    symbols = (ROOT / "libcapsa" / "capsa.symbols").read_text().split()
    assert sorted(_bindings.PROTOTYPES) == sorted(s.split("@")[0] for s in symbols)


def test_every_function_is_wrapped_or_excused() -> None:
    used = set(re.findall(r"\bcapsa_[a-z_]+\b", code()))
    unused = {f for f in _bindings.PROTOTYPES if f not in used}
    assert unused == set(NOT_WRAPPED)


def test_every_constant_is_used_or_excused() -> None:
    used = set(re.findall(r"\bCAPSA_[A-Z0-9_]+\b", code()))
    constants = {name for name in vars(_bindings) if name.startswith("CAPSA_")}
    assert constants - used == set(NOT_NAMED)


def test_structures_are_laid_out_as_in_c(tmp_path: pathlib.Path) -> None:
    want, lines = [], []
    for s in structures():
        want.append(f"{s.__name__} {ctypes.sizeof(s)}")
        lines.append(f'printf("{s.__name__} %zu\\n", sizeof({s.__name__}));')
        for name, *_ in s._fields_:  # type: ignore[attr-defined]
            field = getattr(s, name)
            want.append(f"{name} {field.offset} {field.size}")
            lines.append(
                f'printf("{name} %zu %zu\\n", offsetof({s.__name__}, {name}), sizeof((({s.__name__} *)0)->{name}));')
    source = tmp_path / "layout.c"
    source.write_text(
        '#include "capsa.h"\n#include <stdio.h>\nint main(void) {\n' + "\n".join(lines) + "\nreturn 0;\n}\n")
    subprocess.run(["cc", "-std=c11", f"-I{HEADER.parent}", source, "-o", tmp_path / "layout"], check=True)
    got = subprocess.run([tmp_path / "layout"], check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert got.splitlines() == want


def test_init_is_the_headers_macro() -> None:
    options = _bindings.capsa_stop_options.init()
    assert (options.size, options.agent_ms, options.power_button_ms, options.kill_ms) == (32, 10000, 30000, -1)
    assert _bindings.capsa_device_stats.init().name == b""


@pytest.mark.parametrize("text", [
    "typedef struct capsa_x { unsigned long n; } capsa_x;",
    "CAPSA_API void capsa_f(long double x);",
    "CAPSA_API void capsa_f(void (*callback)(void));",
    "#define CAPSA_X (1 << 3)",
])
def test_what_the_generator_does_not_understand_is_an_error(tmp_path: pathlib.Path, text: str) -> None:
    header = tmp_path / "capsa.h"
    header.write_text(text + "\n")
    with pytest.raises(subprocess.CalledProcessError):
        regenerated(header)


def test_functions_have_their_types_and_no_others_exist() -> None:
    assert _ffi.lib.capsa_version_string.restype is ctypes.c_char_p  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="capsa.h declares no capsa_invented"):
        getattr(_ffi.lib, "capsa_invented")
    wrong = ctypes.POINTER(_bindings.capsa_console)()
    with pytest.raises(ctypes.ArgumentError):
        _ffi.lib.capsa_vm_free(wrong)
