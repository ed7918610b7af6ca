"""languages.py GUEST NAME=COMMAND... - each language against C, the first: calls, console, echoes. Prints samples.

The interpreters are those of the polyglot suite (tests/polyglot); each measure is one of their words, timed from here,
so that all languages are timed by one clock. The samples of a pair alternate.
"""
from __future__ import annotations

import json
import os
import sys
import time
from typing import Dict

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "polyglot"))

from run import Process, parse  # noqa: E402

ROUNDS = int(os.environ.get("CAPSA_BENCH_ROUNDS", "15"))
LIMIT = 600.0  # seconds for one interpreter

SETUP = """
set what=linux value=$GUEST
set what=memory_mib value=32
set what=ring_size value=16777216
set what=cmdline value="flood:16384 off"
build vm=flood
start vm=flood
wait vm=flood
set what=cmdline value="print:ready echo off"
build vm=echo
console vm=echo as=c
start vm=echo
expect of=c literal=ready
"""

# Name, step, how many of what it does, unit. The goal is a ratio of times. A trivial call may take 1.2 times what the
# best way to call C takes in that language: 233 ns, where C itself takes 68 (Python's cffi in API mode, and a Node-API
# addon; both with a place for the error).
CALL_GOAL = 1.2 * 233 / 68
MEASURES = [
    ("trivial call", "states vm=echo count=20000", 20000, "ns", {"python": CALL_GOAL, "node": CALL_GOAL}),
    ("console throughput, as time for 1 MiB", "drain vm=flood count=16", 16, "ns", None),
    ("expect of an echo", "ping of=c count=200", 200, "ns", None),
]


def start(command: str, guest: str) -> Process:
    """An interpreter whose machines are ready."""
    process = Process(command, LIMIT)
    for line in SETUP.replace("$GUEST", guest).split("\n"):
        if line:
            demand(process, line)
    return process


def demand(process: Process, line: str) -> None:
    """A step that must go well."""
    step = parse(line)
    answer = process.answer(step)
    if answer is None or not answer.startswith("ok"):
        raise SystemExit(f"bench: {line}: {answer}")


def timed(process: Process, line: str, count: int) -> float:
    """Nanoseconds for one of what a step does."""
    begin = time.perf_counter_ns()
    demand(process, line)
    return (time.perf_counter_ns() - begin) / count


def main(guest: str, commands: Dict[str, str]) -> None:
    """Prints a line for each language and measure."""
    first, *others = commands
    peer = start(commands[first], guest)
    for language in others:
        ours = start(commands[language], guest)
        for name, line, count, unit, goals in MEASURES:
            pairs = [(timed(ours, line, count), timed(peer, line, count)) for _ in range(ROUNDS + 2)][2:]
            goal = 1 / 0.8 if goals is None else goals.get(language, 0)
            print(json.dumps({
                "name": f"{name}: {language}", "unit": unit, "peer_name": first, "goal": round(goal, 2),
                "ours": [own for own, _ in pairs], "peer": [other for _, other in pairs],
            }), flush=True)
        ours.end()
    peer.end()


if __name__ == "__main__":
    main(sys.argv[1], dict(pair.split("=", 1) for pair in sys.argv[2:]))
