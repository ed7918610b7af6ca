#!/usr/bin/env python3
"""run.py FILE... --language NAME=COMMAND...: runs scenarios through the interpreters of several languages.

Prints what is wrong as it comes, and a table, rows by languages; the last line counts its cells. README.md has the form
of scenarios and interpreters.
"""
from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Mapping, Optional, Tuple
from urllib.parse import quote, unquote

# Words that wait, which get a time unless they have one; in milliseconds.
WAITS = {"wait", "stop", "expect", "run", "dial", "accept", "many"}
PATIENCE = "120000"

# What a process may have more of after a thousand machines than before, in a measure: a leak of 8 KiB for each shows.
MORE_THREADS = 4
MORE_KIB = 8192

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


@dataclass
class Step:
    """A line of a scenario: a word, what it is given, and how it shall end."""

    line: str
    script: str
    mark: str
    expected: str

    def complaint(self, outcome: Optional[str]) -> str:
        """What is wrong with an interpreter's line; "" when nothing is."""
        if outcome is None:
            return "no answer"
        kind, _, rest = outcome.partition(" ")
        if kind == "unknown":
            return "the interpreter does not know the word"
        if kind == "ok":
            value = unquote(rest).rstrip(" ")
            wrong = {
                "!>": True,
                "=>": value != self.expected,
                "~>": not re.search(self.expected, value, re.S),
                "": False,
            }[self.mark]
            return f"gives {value!r}" if wrong else ""
        name, hint, message = (rest.split(" ") + ["", ""])[:3]
        told = f"{name}, {hint}: {unquote(message)}"
        if self.mark != "!>":
            return told
        wanted, _, words = self.expected.partition(" ")
        return "" if re.fullmatch(wanted, name) and words in unquote(message) else told


@dataclass
class Row:
    """A scenario, and what came of it in each language."""

    name: str
    steps: List[Step]
    complaints: Dict[str, List[str]] = field(default_factory=dict)


def unescape(text: str) -> str:
    """Backslashes as in C."""
    return re.sub(r"\\(x[0-9a-f]{2}|.)", lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else ESCAPES[m[1]], text)


def parse(line: str) -> Step:
    """A step of the notation; text in double quotes has escapes, in single ones none."""
    what, mark, expected = (re.split(r"\s+(=>|~>|!>)(?:\s|$)", line, maxsplit=1) + ["", ""])[:3]
    word, *pairs = re.findall(r"""\w+(?:="(?:[^"\\]|\\.)*"|='[^']*'|=\S*)?""", what)
    given: Dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        given[key] = unescape(value[1:-1]) if value[:1] == '"' else value[1:-1] if value[:1] == "'" else value
    if word in WAITS:
        given.setdefault("ms", PATIENCE)
    script = " ".join([word] + [f"{key}={quote(value, safe='')}" for key, value in given.items()])
    expected = expected.strip()
    return Step(what.strip(), script, mark, unescape(expected) if mark == "=>" else expected)


def load(path: str, names: Mapping[str, str]) -> List[Row]:
    """The rows of a file, for one language."""
    with open(path, "rb") as file:
        data = tomllib.load(file)
    rows = []
    for row in data["row"]:
        steps = re.sub(rf"\$({'|'.join(names)})\b", lambda m: names[m[1]], row["steps"])
        lines = [line for line in steps.splitlines() if line.strip()]
        if not data.get("shared"):
            lines.insert(0, "clear")
        rows.append(Row(row["name"], [parse(line) for line in lines]))
    return rows


class Greeter:
    """A server on the host's loopback that says hello, for guests to reach."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            with client:
                client.sendall(b"hello from the host\n")


class Process:
    """An interpreter at work."""

    def __init__(self, command: str, limit: float) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            encoding="ascii", start_new_session=True)
        self._late = False
        self._limit = limit
        self._killer = threading.Timer(limit, self._kill)
        self._killer.start()
        self._before: Optional[Use] = None

    def _kill(self) -> None:
        self._late = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def answer(self, step: Step) -> Optional[str]:
        """What it says to a step; None when it has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if step.script == "measure":
            return self._measure()
        try:
            self._process.stdin.write(step.script + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._process.stdout.readline().rstrip("\n") or None

    def _measure(self) -> Optional[str]:
        """How its use of the system has grown since the last time; "steady" when it has not."""
        before, tries = self._before, 0
        while True:
            try:
                self._before = Use.of(self._process.pid)
            except OSError:
                return None
            growth = self._before.growth(before) if before else ""
            if not growth or tries == 20:
                return "ok " + quote(growth or "steady", safe="")
            tries += 1
            time.sleep(0.1)  # threads end a moment after what they did

    def end(self) -> str:
        """Lets it end; what there is to say about that."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        status = self._process.wait()
        self._killer.cancel()
        with self._errors as errors:
            errors.seek(0)
            said = errors.read().strip()
        if not status:
            return ""
        end = f"no end within {self._limit:.0f} s" if self._late else f"status {status}"
        return "\n".join(filter(None, [end, said]))


@dataclass
class Use:
    """What a process uses of the system."""

    descriptors: int
    threads: int
    anonymous: int
    shared: int

    @classmethod
    def of(cls, process: int) -> Use:
        """Now. Memory is in KiB."""
        with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as file:
            status = dict(line.split(":", 1) for line in file)
        return cls(
            len(os.listdir(f"/proc/{process}/fd")), int(status["Threads"]), int(status["RssAnon"].split()[0]),
            int(status["RssShmem"].split()[0]))

    def growth(self, before: Use) -> str:
        """In words; "" when there is none: thread pools and heaps breathe, descriptors and guests' memory do not."""
        grown = []
        if self.descriptors > before.descriptors:
            grown.append(f"{before.descriptors} descriptors became {self.descriptors}")
        if self.threads > before.threads + MORE_THREADS:
            grown.append(f"{before.threads} threads became {self.threads}")
        if self.anonymous > before.anonymous + MORE_KIB:
            grown.append(f"{before.anonymous} KiB of memory became {self.anonymous}")
        if self.shared > before.shared:
            grown.append(f"{before.shared} KiB of guests' memory became {self.shared}")
        return ", ".join(grown)


def interpret(command: str, rows: List[Row], limit: float, slow: float) -> Tuple[List[str], str]:
    """What an interpreter answers to all steps, and what else there is to say about it; says what takes long."""
    process = Process(command, limit)
    answers: List[str] = []
    for step in (step for row in rows for step in row.steps):
        begin = time.monotonic()
        answer = process.answer(step)
        if answer is None:
            break
        answers.append(answer)
        if time.monotonic() - begin > slow:
            print(f"polyglot: {time.monotonic() - begin:.1f} s for {step.line}", flush=True)
    return answers, process.end()


def judge(language: str, rows: List[Row], answers: List[str], ended: str) -> None:
    """Puts into each row what is wrong with a language's answers."""
    left: Iterator[str] = iter(answers)
    for row in rows:
        found = row.complaints.setdefault(language, [])
        for step in row.steps:
            answer = next(left, None)
            complaint = step.complaint(answer)
            if not complaint:
                continue
            wanted = f"   (wanted {step.mark} {step.expected!r})" if step.mark else ""
            found.append(f"{step.line}: {complaint}{wanted}" + (f"\n{ended}" if answer is None and ended else ""))
            if answer is None:
                ended = ""  # is said once
                break
    if ended and not any(row.complaints[language] for row in rows):
        rows[-1].complaints[language].append(ended)


def table(rows: List[Row], languages: List[str]) -> str:
    """Rows by languages."""
    width = max(len(row.name) for row in rows)
    lines = [" " * width + "".join(f"  {name:>8}" for name in languages)]
    for row in rows:
        cells = ("FAILED" if row.complaints[name] else "ok" for name in languages)
        lines.append(f"{row.name:<{width}}" + "".join(f"  {cell:>8}" for cell in cells))
    return "\n".join(lines)


def run(files: List[str], languages: Dict[str, str], only: Optional[str], limit: float, slow: float) -> List[Row]:
    """Everything, by row."""
    greeter = Greeter()
    all_rows: Dict[str, Row] = {}
    for path in files:
        for language, command in languages.items():
            with tempfile.TemporaryDirectory(prefix="polyglot-") as directory:
                with open(os.path.join(directory, "text"), "w", encoding="utf-8") as file:
                    file.write("not a kernel\n")
                names = {
                    "DIR": directory, "PORT": str(greeter.port), "GUEST": os.environ.get("CAPSA_TEST_GUEST", ""),
                    "KERNEL": os.environ.get("CAPSA_TEST_KERNEL", ""),
                    "INITRD": os.environ.get("CAPSA_TEST_INITRD", ""),
                }
                rows = [row for row in load(path, names) if only is None or re.search(only, row.name)]
                begin = time.monotonic()
                judge(language, rows, *interpret(command, rows, limit, slow))
                print(f"polyglot: {os.path.basename(path)} in {language}: {time.monotonic() - begin:.1f} s", flush=True)
            for row in rows:
                for complaint in row.complaints[language]:
                    print(f"{row.name}, {language}: {complaint}", flush=True)
            for row in rows:
                all_rows.setdefault(row.name, row).complaints.update(row.complaints)
    return list(all_rows.values())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", help="scenarios")
    parser.add_argument("--language", action="append", required=True, metavar="NAME=COMMAND", help="an interpreter")
    parser.add_argument("--only", metavar="REGEX", help="rows whose name has a match")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for one file in one language")
    parser.add_argument("--slow", type=float, default=10, metavar="SECONDS", help="steps that take longer are told")
    a = parser.parse_args()
    languages = dict(pair.split("=", 1) for pair in a.language)
    rows = run(a.files, languages, a.only, a.limit, a.slow)
    if not rows:
        print("polyglot: there is no such row")
        return 2
    print(table(rows, list(languages)))
    failed = sum(bool(complaints) for row in rows for complaints in row.complaints.values())
    print(f"polyglot: {sum(len(row.complaints) for row in rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
