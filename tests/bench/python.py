"""python.py GUEST CALLS - a trivial call of the Python package against the same call from C. Prints samples.

CALLS is the library of calls.c, which calls the libcapsa that this process has loaded already.
"""
import ctypes
import json
import sys
import time

import capsa

ROUNDS = 60
CALLS = 5000


def measure(vm: capsa.VM) -> float:
    """Nanoseconds that a call takes."""
    begin = time.perf_counter_ns()
    for _ in range(CALLS):
        vm.state
    return (time.perf_counter_ns() - begin) / CALLS


def main(guest: str, calls: str) -> None:
    """Alternates the two, as all benchmarks here do."""
    peer = ctypes.CDLL(calls).calls_ns
    peer.restype = ctypes.c_double
    with capsa.Builder(kernel=guest).build() as vm:
        pairs = [(measure(vm), float(peer(vm._handle, CALLS))) for _ in range(ROUNDS + 5)][5:]
    print(json.dumps({
        "name": "trivial call from Python", "unit": "ns", "peer_name": "the same call from C", "goal": 0,
        "ours": [ours for ours, _ in pairs], "peer": [theirs for _, theirs in pairs],
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
