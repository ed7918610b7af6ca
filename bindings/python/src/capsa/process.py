"""Programs in a guest that has the library's agent."""
from __future__ import annotations

import contextlib
import selectors
import signal as signals
import socket
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from . import _bindings as c
from ._ffi import Descriptor, Handle, call, handle_of, lib, string, strings, unsigned
from ._wait import Cancel, Clock, milliseconds, patiently
from .errors import CallTimeoutError, CommandError

_CHUNK = 1 << 18

# Arguments and variables are bytes in the guest; a str is encoded as UTF-8, with what os.fsdecode made of other bytes.
Text = Union[str, bytes]


def _text(value: Text, what: str) -> bytes:
    if isinstance(value, bytes):
        return string(value.decode("utf-8", "surrogateescape"), what)
    return string(value, what)


@dataclass(frozen=True)
class ExitStatus:
    """How a program in the guest ended."""

    code: int
    """exit status, or 128 and the signal, as a shell has it"""
    signal: int = 0
    """that ended it, else 0"""
    oom: bool = False
    """one of its processes was killed for want of memory"""
    timed_out: bool = False
    """its timeout ended it"""
    user_ns: int = 0
    """of the processor, with its children that it waited for"""
    system_ns: int = 0
    """as above"""
    real_ns: int = 0
    """from its start to its end"""
    max_rss: int = 0
    """the largest amount of memory it had, in bytes"""

    @classmethod
    def of(cls, s: c.capsa_exec_status) -> ExitStatus:
        """From the header's structure."""
        return cls(
            s.code, s.signal, bool(s.flags & c.CAPSA_EXEC_OOM), bool(s.flags & c.CAPSA_EXEC_TIMED_OUT),
            s.user_ns, s.system_ns, s.real_ns, s.max_rss)


@dataclass(frozen=True)
class Result:
    """A program that ran to its end."""

    args: Tuple[Text, ...]
    status: ExitStatus
    stdout: bytes
    stderr: bytes

    @property
    def code(self) -> int:
        """The exit status."""
        return self.status.code

    @property
    def text(self) -> str:
        """What it wrote to stdout, as text."""
        return self.stdout.decode("utf-8", "replace")

    def check(self) -> Result:
        """Raises CommandError unless the exit status is 0."""
        if self.code:
            command = " ".join(a.decode("utf-8", "replace") if isinstance(a, bytes) else a for a in self.args)
            raise CommandError(command, self.code, self.stdout + self.stderr)
        return self


class Process(Handle):
    """A program that runs in the guest, made by VM.exec(). Leaving ``with``, or forgetting it, kills it.

    Its streams are sockets: ``stdin.shutdown(SHUT_WR)`` shows it the end of its input. On a terminal, stdin and stdout
    are the same one.
    """

    _type = c.capsa_exec
    _free = "capsa_exec_free"

    stdin: Optional[socket.socket] = None
    stdout: Optional[socket.socket] = None
    stderr: Optional[socket.socket] = None

    def _open(self, flags: int) -> None:
        """Takes the streams."""
        tty = flags & c.CAPSA_EXEC_TTY
        for number, name, flag in ((0, "stdin", c.CAPSA_EXEC_STDIN), (1, "stdout", c.CAPSA_EXEC_STDOUT),
                                   (2, "stderr", c.CAPSA_EXEC_STDERR)):
            if not flags & flag or (tty and number):
                continue
            with Descriptor() as descriptor:
                call(lib.capsa_exec_fd, self._handle, number, byref(descriptor.place))
                setattr(self, name, descriptor.socket(socket.socket))
        if tty:
            self.stdout = self.stdin

    def wait(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> ExitStatus:
        """Waits for its end; repeatable. What it wrote may still be on its way."""
        status = c.capsa_exec_status.init()
        patiently(timeout, lambda ms: call(
            lib.capsa_exec_wait, self._handle, ms, handle_of(Cancel, cancel), byref(status)))
        return ExitStatus.of(status)

    def signal(self, number: int, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> None:
        """Sends a signal to its process group. One that has ended gets none, which is no error."""
        self._signal(number, 0, timeout, cancel)

    def kill(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> None:
        """Kills it and everything that came from it."""
        self._signal(signals.SIGKILL, c.CAPSA_SIGNAL_ALL, timeout, cancel)

    def _signal(self, number: int, flags: int, timeout: Optional[float], cancel: Optional[Cancel]) -> None:
        n = unsigned(number, 31, "the signal")
        patiently(timeout, lambda ms: call(
            lib.capsa_exec_signal, self._handle, n, flags, ms, handle_of(Cancel, cancel)))

    def resize(
        self, columns: int, rows: int, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None
    ) -> None:
        """Tells it the size of its terminal."""
        size = unsigned(columns, 16, "columns"), unsigned(rows, 16, "rows")
        patiently(timeout, lambda ms: call(
            lib.capsa_exec_resize, self._handle, *size, ms, handle_of(Cancel, cancel)))

    def communicate(self, input: bytes = b"", timeout: Optional[float] = None) -> Tuple[bytes, bytes]:
        """Writes the input, reads both outputs to their ends, and gives them. CallTimeoutError keeps nothing."""
        clock = Clock(timeout)
        pieces: Dict[Any, List[bytes]] = {s: [] for s in (self.stdout, self.stderr) if s is not None}
        left = memoryview(input)
        with selectors.DefaultSelector() as selector:
            for s in pieces:
                s.setblocking(False)
                selector.register(s, selectors.EVENT_READ)
            if self.stdin is not None:
                self.stdin.setblocking(False)
                both = selectors.EVENT_READ if self.stdin in pieces else 0
                (selector.modify if both else selector.register)(self.stdin, both | selectors.EVENT_WRITE)
            while selector.get_map():
                ms = clock.left()
                if ms == 0:
                    raise CallTimeoutError("the program has not ended its output in time")
                for key, ready in selector.select(None if ms < 0 else ms / 1000):
                    stream: Any = key.fileobj
                    if ready & selectors.EVENT_WRITE:
                        left = self._feed(selector, stream, left, stream in pieces)
                    if ready & selectors.EVENT_READ:
                        self._drain(selector, stream, pieces[stream])
        joined = {s: b"".join(p) for s, p in pieces.items()}
        return joined.get(self.stdout, b""), joined.get(self.stderr, b"")

    @staticmethod
    def _feed(selector: selectors.BaseSelector, stream: socket.socket, left: memoryview, reads: bool) -> memoryview:
        """Writes what goes."""
        try:
            left = left[stream.send(left[:_CHUNK]):] if left else left
        except BlockingIOError:
            return left
        except OSError:  # nobody reads
            left = left[len(left):]
        if not left:
            if reads:
                selector.modify(stream, selectors.EVENT_READ)
            else:
                selector.unregister(stream)
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_WR)
        return left

    @staticmethod
    def _drain(selector: selectors.BaseSelector, stream: socket.socket, to: List[bytes]) -> None:
        """Reads what is there."""
        try:
            data = stream.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            to.append(data)
        else:
            selector.unregister(stream)

    def close(self) -> None:
        """Kills it if it has not ended, and closes its streams. May be repeated."""
        for s in (self.stdin, self.stdout, self.stderr):
            if s is not None:
                s.close()
        super().close()


def start(
    vm: Handle,
    args: Sequence[Text],
    *,
    flags: int,
    env: Optional[Mapping[str, Text]] = None,
    dir: Optional[Text] = None,
    user: Optional[str] = None,
    size: Tuple[int, int] = (0, 0),
    memory: int = 0,
    pids: int = 0,
    limit: Optional[float] = None,
    rlimits: Optional[Mapping[int, Tuple[int, int]]] = None,
    timeout: Optional[float] = None,
    cancel: Optional[Cancel] = None,
) -> Process:
    """Starts a program; VM.exec() explains the parameters."""
    if isinstance(args, (str, bytes)):
        raise TypeError("args is a list of arguments, not a text")
    o = c.capsa_exec_options.init()
    argv = strings(tuple(_text(a, "an argument") for a in args))
    envv = strings(tuple(_variables(env or {})))
    o.flags = flags
    o.args, o.n_args = argv, len(args)
    if envv is not None:
        o.env, o.n_env = envv, len(envv)
    o.dir = None if dir is None else _text(dir, "the directory")
    o.user = None if user is None else string(user, "the user")
    o.columns, o.rows = unsigned(size[0], 16, "columns"), unsigned(size[1], 16, "rows")
    o.memory, o.pids = unsigned(memory, 64, "memory"), unsigned(pids, 64, "pids")
    o.timeout_ms = 0 if limit is None else max(1, milliseconds(limit, "limit"))
    table = [c.capsa_rlimit(n, 0, soft, hard) for n, (soft, hard) in (rlimits or {}).items()]
    array = (c.capsa_rlimit * len(table))(*table)
    if table:
        o.rlimits, o.n_rlimits = array, len(table)

    made: List[Process] = []
    patiently(timeout, lambda ms: made.append(
        Process(lib.capsa_vm_exec, vm._handle, byref(o), ms, handle_of(Cancel, cancel))))
    process = made[0]
    try:
        process._open(flags)
    except BaseException:
        process.close()
        raise
    return process


def _variables(env: Mapping[str, Text]) -> Iterable[bytes]:
    for name, value in env.items():
        yield string(name, "a variable's name") + b"=" + _text(value, f"the variable {name}")
