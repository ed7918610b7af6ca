"""Interpreter of the polyglot suite (README.md) over the Python package's blocking face."""
from __future__ import annotations

import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterator, Tuple
from urllib.parse import quote, unquote

import capsa


def script() -> Iterator[Tuple[str, Dict[str, str]]]:
    """The lines of standard input: a word, and what it is given."""
    for line in sys.stdin:
        word, *pairs = line.split()
        yield word, {key: unquote(value) for key, _, value in (pair.partition("=") for pair in pairs)}


def answer(value: str) -> None:
    """A step that went well."""
    print("ok", quote(value, safe=""), flush=True)


def failure(error: capsa.CapsaError) -> None:
    """A step that failed."""
    hint = "hint" if error.hint else "nohint"
    print("error", capsa.status_name(error.status), hint, quote(error.message, safe=""), flush=True)


def name_of(member: Any) -> str:
    """GUEST_SHUTDOWN is guest-shutdown."""
    return str(member.name).lower().replace("_", "-")


def exit_of(info: capsa.ExitInfo) -> str:
    """Cause, code and signal."""
    return f"{name_of(info.cause)} {info.code} {info.signal}"


def text_of(data: bytes) -> str:
    """Bytes of a guest."""
    return data.decode("utf-8", "replace")


def describe(builder: capsa.Builder, a: Dict[str, str]) -> None:
    """set: one property of the description."""
    what, value = a["what"], a.get("value", "")
    number = int(value) if value.lstrip("-").isdigit() else 0
    setters: Dict[str, Callable[[], object]] = {
        "name": lambda: builder.name(value),
        "backend": lambda: builder.backend(value),
        "linux": lambda: builder.linux(value, a.get("initrd")),
        "arg": lambda: builder.args(value),
        "cmdline": lambda: builder.cmdline(value),
        "cpus": lambda: builder.cpus(number),
        "memory_mib": lambda: builder.memory_mib(number),
        "timeout_ms": lambda: builder.timeout(number / 1000),
        "isolation": lambda: builder.isolation(capsa.Isolation[value.upper()]),
        "disk": lambda: builder.disk(value, format=capsa.DiskFormat.RAW),
        "share": lambda: builder.share(a["tag"], value, read_only="read_only" in a),
        "ring_size": lambda: builder.console(ring_size=number),
        "vsock": lambda: builder.vsock(),
        "vsock_listen": lambda: builder.vsock_listen(int(a["port"]), value),
        "network": lambda: builder.network(host_access=True, mtu=number),
        "policy": lambda: builder.policy(value),
        "forward": lambda: builder.forward(number),
    }
    setters[what]()


class Interpreter:
    """What the script has made, by name, and a method for each word."""

    def __init__(self) -> None:
        self.builder = capsa.Builder()
        self.made: Dict[str, Any] = {}

    def clear(self, a: Dict[str, str]) -> None:
        """Frees everything."""
        for thing in reversed(list(self.made.values())):
            if hasattr(thing, "close"):
                thing.close()
        self.made.clear()
        self.builder = capsa.Builder()

    def version(self, a: Dict[str, str]) -> str:
        return capsa.version()

    def has(self, a: Dict[str, str]) -> str:
        return str(capsa.has(a["feature"])).lower()

    def set(self, a: Dict[str, str]) -> None:
        describe(self.builder, a)

    def json(self, a: Dict[str, str]) -> str:
        return self.builder.to_json()

    def from_json(self, a: Dict[str, str]) -> None:
        self.builder = capsa.Builder.from_json(a["json"])

    def build(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]] = self.builder.build()

    def start(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]].start()

    def state(self, a: Dict[str, str]) -> str:
        return name_of(self.made[a["vm"]].state)

    def wait(self, a: Dict[str, str]) -> str:
        return exit_of(self.made[a["vm"]].wait(int(a["ms"]) / 1000))

    def stop(self, a: Dict[str, str]) -> str:
        return name_of(self.made[a["vm"]].stop(int(a["ms"]) / 1000))

    def kill(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]].kill()

    def pause(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]].pause()

    def resume(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]].resume()

    def close(self, a: Dict[str, str]) -> None:
        self.made.pop(a["of"]).close()

    def cancelled(self, a: Dict[str, str]) -> str:
        with capsa.Cancel() as cancel, ThreadPoolExecutor(1) as pool:
            vm: capsa.VM = self.made[a["vm"]]
            waiting = pool.submit(vm.wait, cancel=cancel)
            cancel.trigger()
            return exit_of(waiting.result())

    def boot_log(self, a: Dict[str, str]) -> str:
        return text_of(self.made[a["vm"]].boot_log())

    def stats(self, a: Dict[str, str]) -> str:
        stats = self.made[a["vm"]].stats()
        return f"{stats.cpus} {stats.memory_bytes >> 20}"

    def watch(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["vm"]].events()

    def events(self, a: Dict[str, str]) -> str:
        return " ".join(sorted({name_of(event.type) for event in self.made[a["of"]]}))

    def many(self, a: Dict[str, str]) -> str:
        def life(_: int) -> str:
            with self.builder.start() as vm:
                return exit_of(vm.wait(int(a["ms"]) / 1000))

        with ThreadPoolExecutor(int(a["count"])) as pool:
            return " ".join(pool.map(life, range(int(a["count"]))))

    def churn(self, a: Dict[str, str]) -> None:
        for n in range(int(a["count"])):
            vm = self.builder.build()
            if "started" in a:
                vm.start()
            if n % 2:  # the others are forgotten
                vm.close()
            del vm

    def console(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["vm"]].console()

    def expect(self, a: Dict[str, str]) -> str:
        patterns = [a["literal"]] if "literal" in a else []
        expressions = [re.compile(a["regex"])] if "regex" in a else []
        found = self.made[a["of"]].expect(*patterns, *expressions, timeout=int(a["ms"]) / 1000)
        return f"{found.index} {text_of(found.matched)}"

    def run(self, a: Dict[str, str]) -> str:
        done = self.made[a["of"]].run(a["command"], timeout=int(a["ms"]) / 1000)
        return f"{done.exit_status} {done.text}"

    def type(self, a: Dict[str, str]) -> None:
        self.made[a["of"]].write(a["text"].encode())

    def interrupt(self, a: Dict[str, str]) -> None:
        self.made[a["of"]].interrupt()

    def eof(self, a: Dict[str, str]) -> None:
        self.made[a["of"]].eof()

    def resize(self, a: Dict[str, str]) -> None:
        self.made[a["of"]].resize(int(a["columns"]), int(a["rows"]))

    def read_all(self, a: Dict[str, str]) -> str:
        return text_of(self.made[a["of"]].read_all())

    def states(self, a: Dict[str, str]) -> None:
        vm: capsa.VM = self.made[a["vm"]]
        for _ in range(int(a["count"])):
            vm.state

    def drain(self, a: Dict[str, str]) -> str:
        size = 0
        for _ in range(int(a["count"])):
            with self.made[a["vm"]].console() as console:
                for piece in console:
                    size += len(piece)
        return str(size)

    def ping(self, a: Dict[str, str]) -> None:
        console = self.made[a["of"]]
        for _ in range(int(a["count"])):
            console.write(b"ping")
            console.expect(b"ping")

    def dial(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["vm"]].vsock_connect(int(a["port"]), timeout=int(a["ms"]) / 1000)

    def listen(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["vm"]].vsock_listen(int(a["port"]))

    def accept(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["of"]].accept(int(a["ms"]) / 1000)

    def add_forward(self, a: Dict[str, str]) -> str:
        self.made[a["as"]] = forward = self.made[a["vm"]].add_forward(int(a["port"]))
        return f"{forward.host} {forward.guest_port}"

    def remove_forward(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]].remove_forward(self.made[a["of"]])

    def connect(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = socket.create_connection(self.made[a["of"]].address)

    def exchange(self, a: Dict[str, str]) -> str:
        stream = self.made[a["of"]]
        stream.sendall(a["text"].encode())
        stream.shutdown(socket.SHUT_WR)
        with stream.makefile("rb") as file:
            return text_of(file.read())

    def policy(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]].set_policy(a.get("json"))

    def link(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]].set_link(a["up"] == "1")

    def file(self, a: Dict[str, str]) -> str:
        with open(a["path"], encoding="utf-8") as file:
            return file.read()


def main() -> None:
    """Runs the script."""
    interpreter = Interpreter()
    for word, arguments in script():
        method = getattr(interpreter, word, None)
        if method is None:
            print("unknown", word, flush=True)
            continue
        try:
            answer(method(arguments) or "")
        except capsa.CapsaError as error:
            failure(error)
    interpreter.clear({})


if __name__ == "__main__":
    main()
