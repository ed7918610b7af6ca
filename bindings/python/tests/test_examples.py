"""The examples, as a person runs them; linux.sh of tests/abi boots Linux with hello.py."""
from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from conftest import PATIENCE, ROOT

EXAMPLES = ROOT / "examples" / "python"


def run(example: str, *arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLES / example), *arguments]
    return subprocess.run(command, input=typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=PATIENCE)


def test_there_are_no_others() -> None:
    assert sorted(f.name for f in EXAMPLES.glob("*.py")) == ["console.py", "hello.py", "many.py"]


@pytest.mark.parametrize("readme", ["README.md", "bindings/python/README.md"])
def test_what_the_readme_shows_is_python(readme: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(), flags=re.S)
    assert blocks
    for block in blocks:
        compile(block, readme, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.usefixtures("kvm")
def test_hello_says_what_is_wrong() -> None:
    done = run("hello.py", "/no/kernel", "/no/initrd", "true")
    assert done.returncode == 125 and "/no/kernel" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.usefixtures("kvm")
def test_console(guest_elf: str) -> None:
    done = run("console.py", guest_elf, "print:ready", "echo", "off", typed="typed\x04")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\ntyped", "")
    assert run("console.py", guest_elf, "print:ready", "reboot").returncode == 3


@pytest.mark.usefixtures("kvm")
def test_many(guest_elf: str) -> None:
    done = run("many.py", "3", guest_elf, "print:hello", "print:world", "off")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"{n}: {word}" for n in range(3) for word in ("hello", "world")]
