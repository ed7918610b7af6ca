"""Everything public says what it is."""
from __future__ import annotations

import ast
import pathlib
from typing import Iterator, Union

import pytest

import capsa

SOURCES = pathlib.Path(capsa.__file__).parent

Documented = Union[ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef]


def public(tree: Union[ast.Module, ast.ClassDef]) -> Iterator[Documented]:
    """The node and what is public in it."""
    yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("module", sorted(str(f.relative_to(SOURCES)) for f in SOURCES.rglob("*.py")))
def test_docstrings(module: str) -> None:
    tree = ast.parse((SOURCES / module).read_text(encoding="utf-8"))
    missing = [getattr(node, "name", module) for node in public(tree) if not ast.get_docstring(node)]
    assert not missing


def test_what_is_exported_is_there_and_all_of_it() -> None:
    public_names = {n for n, v in vars(capsa).items() if not n.startswith("_") and not isinstance(v, type(capsa))}
    assert public_names - {"annotations"} == set(capsa.__all__)
