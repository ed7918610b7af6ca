#!/usr/bin/env python3
"""run.py FILE... --language NAME=COMMAND...: runs scenarios through the interpreters of several languages.

Prints what is wrong as it comes, and a table, rows by languages; the last line counts its cells. README.md has the form
of scenarios and interpreters.
"""
from __future__ import annotations

import argparse
import os
import re
import shlex
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


def interpret(command: str, rows: List[Row], limit: float, slow: float) -> Tuple[List[str], str]:
    """What an interpreter answers to all steps, and what else there is to say about it; says what takes long."""
    steps = [step for row in rows for step in row.steps]
    with tempfile.TemporaryFile("w+") as script, tempfile.TemporaryFile("w+") as errors:
        script.write("".join(step.script + "\n" for step in steps))
        script.seek(0)
        process = subprocess.Popen(
            shlex.split(command), stdin=script, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="ascii")
        assert process.stdout is not None
        killer = threading.Timer(limit, process.kill)
        killer.start()
        answers: List[str] = []
        begin = now = time.monotonic()
        for line in process.stdout:
            answers.append(line.rstrip("\n"))
            took, now = time.monotonic() - now, time.monotonic()
            if took > slow and len(answers) <= len(steps):
                print(f"polyglot: {took:.1f} s for {steps[len(answers) - 1].line}", flush=True)
        process.stdout.close()
        status = process.wait()
        killer.cancel()
        errors.seek(0)
        said = errors.read().strip()
    if not status:
        return answers, ""
    end = f"no end within {limit:.0f} s" if now - begin >= limit or not killer.is_alive() and status == -9 else ""
    return answers, "\n".join(filter(None, [end or f"status {status}", said]))


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
