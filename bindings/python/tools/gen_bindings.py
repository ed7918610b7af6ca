#!/usr/bin/env python3
"""Writes the ctypes declarations of include/capsa.h.

usage: gen_bindings.py HEADER >src/capsa/_bindings.py

The header's grammar is regular on purpose, so a page of the standard library reads it: integer macros, opaque and
complete structures, the _INIT macros, and prototypes. What this program does not understand is an error, never a
declaration that is left out.
"""
from __future__ import annotations

import re
import sys
import textwrap
from typing import NamedTuple

CTYPES = {
    "int": "c_int",
    "char": "c_char",
    "int32_t": "c_int32",
    "int64_t": "c_int64",
    "uint16_t": "c_uint16",
    "uint32_t": "c_uint32",
    "uint64_t": "c_uint64",
    "size_t": "c_size_t",
    "capsa_status": "c_int32",
}

# The Python types that ctypes gives for the C types of results and fields.
PYTHON_TYPES = {"c_char_p": "Optional[bytes]", "c_void_p": "Optional[int]", "None": "None"}

PREAMBLE = '''\
"""The declarations of capsa.h. Made by tools/gen_bindings.py: do not edit."""
from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any, Callable, Dict, Optional, Tuple
'''


class Declaration(NamedTuple):
    """A parameter or a field: its name, its ctypes type, and the length of an array (0: no array)."""

    name: str
    ctype: str
    length: int = 0


class Struct(NamedTuple):
    """A complete structure: its fields, and the values of its _INIT macro after the size."""

    name: str
    fields: list[Declaration]
    initial: list[str]


class Function(NamedTuple):
    """A prototype."""

    name: str
    result: str
    parameters: list[Declaration]


def strip(text: str) -> str:
    """The header without comments, continued lines and directives other than #define."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = text.replace("\\\n", " ")
    return "\n".join(line for line in text.splitlines() if not re.match(r"\s*#\s*(?!define)\w+", line))


def split(code: str) -> tuple[str, str]:
    """The macro definitions and everything else."""
    lines = code.splitlines()
    defines = [line for line in lines if line.lstrip().startswith("#")]
    return "\n".join(defines), "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def ctype(declared: str) -> str:
    """The ctypes type of a C type. Only what is a string by type becomes c_char_p; buffers are void *."""
    stars = declared.count("*")
    base = re.sub(r"\b(const|struct)\b|\*", " ", declared).split()
    if len(base) != 1:
        raise SystemExit(f"gen_bindings: type not understood: {declared!r}")
    name = base[0]
    if name == "char" and stars:
        # `const char *` is a string, `char **` a place for a text that has to be freed by its address.
        name, stars = ("c_char_p", stars - 1) if "const" in declared else ("c_void_p", stars - 1)
    elif name == "void" and stars:
        name, stars = "c_void_p", stars - 1
    elif name == "void":
        return "None"
    else:
        name = CTYPES.get(name, name)
    for _ in range(stars):
        name = f"POINTER({name})"
    return name


def declarations(text: str, separator: str) -> list[Declaration]:
    """The parameters of a prototype or the fields of a structure."""
    result = []
    for part in text.split(separator):
        part = " ".join(part.split())
        if not part or part == "void":
            continue
        m = re.fullmatch(r"(.+?)\s*(\w+)(?:\[(\d+)\])?", part)
        if not m:
            raise SystemExit(f"gen_bindings: declaration not understood: {part!r}")
        result.append(Declaration(m[2], ctype(m[1]), int(m[3] or 0)))
    return result


def constants(defines: str) -> list[tuple[str, str]]:
    """The macros that are integers or strings."""
    found = re.findall(r'^#define (CAPSA_\w+)\s+\(?(-?\d+|"[^"]*")\)?\s*$', defines, flags=re.M)
    known = {name for name, _ in found}
    for name, arguments, rest in re.findall(r"^#define (\w+)(\([^)]*\))?(.*)$", defines, flags=re.M):
        if name in known or name in ("CAPSA_H", "CAPSA_API", "CAPSA_MUST_CHECK") or name.endswith("_INIT"):
            continue
        if not arguments:
            raise SystemExit(f"gen_bindings: macro not understood: {name}{rest}")
    return found


def initial_values(defines: str, struct: str) -> list[str]:
    """What the structure's _INIT macro has after the size; none for a structure without one."""
    m = re.search(rf"^#define \w+_INIT\s+\{{\s*sizeof\({struct}\),(.*)\}}", defines, flags=re.M)
    if not m:
        return []
    values = [{"NULL": "None", '""': 'b""'}.get(v.strip(), v.strip()) for v in m[1].split(",")]
    while values and values[-1] in ("0", "None", 'b""'):
        values.pop()
    return values


def structs(code: str, defines: str) -> list[Struct]:
    """The complete structures, in order."""
    found = re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", code, flags=re.S)
    return [Struct(name, declarations(body, ";"), initial_values(defines, name)) for name, body in found]


def functions(code: str) -> list[Function]:
    """The prototypes. A `const char *` whose length comes in a `len` parameter may hold zero bytes: an address."""
    result = []
    for kind, name, parameters in re.findall(
        r"CAPSA_API\s+(?:CAPSA_MUST_CHECK\s+)?([\w\s]+?[\s*]+)(capsa_\w+)\(([^)]*)\)\s*;", code
    ):
        function = Function(name, ctype(kind), declarations(parameters, ","))
        if function.result == "c_char_p" and any(p.name == "len" for p in function.parameters):
            function = function._replace(result="c_void_p")
        result.append(function)
    if len(result) != code.count("CAPSA_API"):
        raise SystemExit(f"gen_bindings: {code.count('CAPSA_API')} prototypes, {len(result)} understood")
    return result


def python_type(declaration: Declaration) -> str:
    """The Python type of a field."""
    if declaration.length:
        return "bytes" if declaration.ctype == "c_char" else "Any"
    if declaration.ctype.startswith("POINTER"):
        return "Any"
    return PYTHON_TYPES.get(declaration.ctype, "int")


def print_struct(s: Struct) -> None:
    """A class with fields, annotations and, where the structure has a size, init()."""
    print(f'\n\nclass {s.name}(ctypes.Structure):\n    """struct {s.name}"""\n')
    for f in s.fields:
        print(f"    {f.name}: {python_type(f)}")
    print("    _fields_ = [")
    for f in s.fields:
        length = f" * {f.length}" if f.length else ""
        print(f'        ("{f.name}", {f.ctype}{length}),')
    print("    ]")
    if s.fields[0].name == "size":
        values = "".join(", " + v for v in s.initial)
        print(f'\n    @classmethod\n    def init(cls) -> {s.name}:\n        """As the header\'s _INIT macro."""')
        print(f"        return cls(ctypes.sizeof(cls){values})")


def print_bindings(header: str) -> None:
    """The whole module, on standard output."""
    defines, code = split(strip(header))
    print(PREAMBLE)
    for name, value in constants(defines):
        print(f"{name} = {value}")
    for name in re.findall(r"typedef struct (\w+) \1;", code):
        print(f'\n\nclass {name}(ctypes.Structure):\n    """struct {name}, which nobody looks into"""')
    for s in structs(code, defines):
        print_struct(s)
    found = functions(code)
    print('\n\nclass Functions:\n    """The functions of the library; who fills it in decides when to load."""\n')
    for f in found:
        result = PYTHON_TYPES.get(f.result, "int")
        print(f"    {f.name}: Callable[..., {result}]")
    print("\n\n# The type of each function's result, and those of its parameters.")
    print("PROTOTYPES: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {")
    for f in found:
        print(f'    "{f.name}": (\n        {f.result},')
        parameters = "(" + " ".join(f"{p.ctype}," for p in f.parameters) + "),"
        print(textwrap.fill(parameters, 110, initial_indent=" " * 8, subsequent_indent=" " * 9) + "\n    ),")
    print("}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        print_bindings(file.read())
