#!/usr/bin/env python3
"""Runs the examples of the guides: each fenced block of a programming language, with what stands after it as output.

    ```python linux         boots vmlinuz and initrd.cpio; runs where KVM runs Linux
    ```python native        needs no guest
    ```python pytest linux  is a file of pytest; ```js test linux is one of node:test
    ```output               what the block before prints; "..." stands for anything

usage: examples.py prepare   extracts and compiles all, and runs those that need no guest
       examples.py linux     runs the others, after prepare

    BUILD                directory of builds (build); the work is in BUILD/docs/examples
    CAPSA_PREFIX         an installed tree, default BUILD/polyglot/prefix
    CAPSA_TEST_KERNEL, CAPSA_TEST_INITRD    default BUILD/guest/bzImage and initrd.cpio
"""
from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Dict, List, Optional

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
PREFIX = pathlib.Path(os.environ.get("CAPSA_PREFIX", BUILD / "polyglot" / "prefix")).resolve()
WORK = BUILD / "docs" / "examples"
PACKAGE = BUILD / "node" / "package"
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")
LANGUAGES = {"c": "c", "python": "py", "js": "mjs", "cmake": "txt"}
LIMIT = 240  # seconds for one example


@dataclass
class Example:
    """A block of a guide."""

    guide: str
    line: int
    language: str
    words: List[str]
    text: str
    output: Optional[str] = None

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{self.guide}:{self.line}"

    @property
    def file(self) -> pathlib.Path:
        """Where its text is put."""
        return WORK / f"test_{self.guide.replace('-', '_')}_{self.line}.{LANGUAGES[self.language]}"


def examples() -> List[Example]:
    """All of them, in order."""
    found: List[Example] = []
    for path in sorted((ROOT / "docs" / "guides").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for block in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S):
            language, *words = block[1].split() or [""]
            line = text.count("\n", 0, block.start()) + 1
            if language == "output":
                found[-1].output = block[2]
            elif language not in LANGUAGES or not {"linux", "native"} & set(words):
                sys.exit(f"{path.name}:{line}: nobody runs this block: say {sorted(LANGUAGES)} and linux or native")
            else:
                found.append(Example(path.stem, line, language, words, block[2]))
    return found


def environment() -> Dict[str, str]:
    """Of every example."""
    library = PREFIX / "lib"
    return {
        **os.environ, "CAPSA_LIBRARY": str(library / "libcapsa.so.0"), "LD_LIBRARY_PATH": str(library),
        "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"), "PYTHONDONTWRITEBYTECODE": "1",
        "PKG_CONFIG_PATH": str(library / "pkgconfig"),
    }


def compile_c(example: Example) -> None:
    """Makes the program beside the text."""
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "capsa"], env=environment(), check=True, capture_output=True, text=True
    ).stdout.split()
    subprocess.run(
        ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", str(example.file), "-o",
         str(example.file.with_suffix("")), *flags], check=True)


def command(example: Example, directory: str) -> List[str]:
    """What runs it."""
    if example.language == "c":
        return [str(example.file.with_suffix(""))]
    if example.language == "python" and "pytest" in example.words:
        with open(os.path.join(directory, "pytest.ini"), "w", encoding="utf-8") as file:
            file.write("[pytest]\ncapsa_kernel = vmlinuz\ncapsa_initrd = initrd.cpio\n")
        return [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "capsa.pytest_plugin",
                "--capsa-require-kvm", "--rootdir", directory, "-c", "pytest.ini", str(example.file)]
    if example.language == "python":
        return [PYTHON, "-X", "dev", "-W", "error", str(example.file)]
    if example.language == "js":
        # Within the package's folder "capsa" is the package itself.
        inside = shutil.copy(example.file, PACKAGE / f"example-{example.file.name}")
        return ["node", *(["--test"] if "test" in example.words else []), str(inside)]
    program = next(e for e in examples() if e.guide == example.guide and e.language == "c")
    shutil.copy(program.file, os.path.join(directory, "program.c"))
    shutil.copy(example.file, os.path.join(directory, "CMakeLists.txt"))
    return ["sh", "-c", f"cmake -S . -B b -DCMAKE_PREFIX_PATH='{PREFIX}' && cmake --build b && test -x b/program"]


def run(example: Example) -> str:
    """What is wrong with it, or ""."""
    with tempfile.TemporaryDirectory(prefix="example-") as directory:
        for name, variable, default in (
            ("vmlinuz", "CAPSA_TEST_KERNEL", "bzImage"), ("initrd.cpio", "CAPSA_TEST_INITRD", "initrd.cpio"),
        ):
            target = pathlib.Path(os.environ.get(variable, BUILD / "guest" / default)).resolve()
            os.symlink(target, os.path.join(directory, name))
        try:
            done = subprocess.run(
                command(example, directory), cwd=directory, env=environment(), capture_output=True, text=True,
                timeout=LIMIT)
        except subprocess.TimeoutExpired as error:
            return f"no end within {LIMIT} s: {error.stdout!r} {error.stderr!r}"
    if done.returncode:
        return f"status {done.returncode}\n{done.stdout}{done.stderr}"
    if example.output is not None:
        pattern = re.escape(example.output.strip()).replace(re.escape("..."), ".*")
        if not re.fullmatch(pattern, done.stdout.strip(), re.S):
            return f"prints {done.stdout!r}, and not {example.output!r}"
    return ""


def main(mode: str) -> int:
    """The command line."""
    wanted = [e for e in examples() if ("linux" in e.words) == (mode == "linux")]
    if mode == "prepare":
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        for example in examples():
            example.file.write_text(example.text, encoding="utf-8")
            if example.language == "c":
                compile_c(example)
    failed = 0
    for example in wanted:
        complaint = run(example)
        failed += bool(complaint)
        print(f"docs: {'FAILED' if complaint else 'ok    '}  {example.name} ({example.language})", flush=True)
        if complaint:
            print(re.sub(r"^", "    ", complaint.rstrip(), flags=re.M), flush=True)
    print(f"docs: {len(wanted) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] not in (["prepare"], ["linux"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
