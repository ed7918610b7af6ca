"""A machine's console: reading, typing, waiting for patterns, running commands."""
from __future__ import annotations

import ctypes
import re
import socket
from ctypes import byref, c_int32, c_size_t, c_uint64
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Tuple, Union

from . import _bindings as c
from ._ffi import Bytes, Descriptor, Handle, Output, call, handle_of, lib, string, unsigned
from ._wait import Cancel, Clock, patiently
from .errors import CallInterruptedError, CallTimeoutError, InvalidArgumentError
from .records import Completed, Match

if TYPE_CHECKING:
    from .vm import VM

Pattern = Union[str, bytes, "re.Pattern[str]", "re.Pattern[bytes]"]

# Flags of module re that RE2 has too. UNICODE and ASCII make no difference to what has a meaning in both.
_FLAGS = ((re.IGNORECASE, b"i"), (re.MULTILINE, b"m"), (re.DOTALL, b"s"))
_HARMLESS = re.UNICODE | re.ASCII


class Console(Handle):
    """A reader and writer of a machine's console.

    Each reads from a position of its own, which begins at the oldest output still kept; what one reads stays there for
    the others. It keeps its machine alive, and may be read to the end after the machine's.
    """

    _type = c.capsa_console
    _free = "capsa_console_free"

    def __init__(self, vm: VM) -> None:
        super().__init__(lib.capsa_vm_console, vm._handle)
        self.vm = vm

    def read(
        self, size: int = 65536, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None
    ) -> bytes:
        """Waits for output and reads up to size bytes of it, at least 1; ``b""`` is the end."""
        buffer = ctypes.create_string_buffer(unsigned(size, 31, "size"))
        length = c_size_t()
        patiently(timeout, lambda ms: call(
            lib.capsa_console_read, self._handle, ms, handle_of(Cancel, cancel), buffer, len(buffer), byref(length)))
        return ctypes.string_at(buffer, length.value)

    def write(self, data: Bytes, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> int:
        """Types; says how many bytes the guest took, which is less than all only when the time was over."""
        whole, done = bytes(data), 0
        clock = Clock(timeout)
        while True:
            rest, taken = whole[done:], c_size_t()
            try:
                call(lib.capsa_console_write, self._handle, clock.left(), handle_of(Cancel, cancel), rest, len(rest),
                     byref(taken))
            except CallInterruptedError:
                continue
            except CallTimeoutError:
                if done:
                    return done
                raise
            done += taken.value
            if done == len(whole) or clock.over():
                return done

    def write_line(self, line: str, timeout: Optional[float] = None) -> int:
        """Types a line and the Enter key."""
        return self.write(line.encode("utf-8", "surrogateescape") + b"\n", timeout)

    def expect(self, *patterns: Pattern, timeout: Optional[float] = None, cancel: Optional[Cancel] = None) -> Match:
        """Waits until one of the patterns appears in the output, and consumes the output up to its end.

        Text and bytes stand for themselves; what ``re.compile`` has made is a regular expression, which the library
        matches by the rules of RE2: in the shortest output that holds a match, so that the result does not depend on
        the pieces in which the output comes. The earliest match wins, then the first pattern. Nothing is consumed when
        the wait ends in another way: CallTimeoutError, or ClosedError when the console ended without a match.
        """
        array, keep = _patterns(patterns)
        found = c.capsa_match.init()
        with Output() as output:
            patiently(timeout, lambda ms: call(
                lib.capsa_console_expect, self._handle, ms, handle_of(Cancel, cancel), array, len(array),
                byref(found), byref(output.pointer)))
            data, missing = output.take()
        del keep
        return _match(patterns[found.pattern], found, data, missing)

    def run(
        self, command: str, timeout: Optional[float] = None, *, check: bool = False, cancel: Optional[Cancel] = None
    ) -> Completed:
        """Runs a command line in the shell that waits on the console.

        It runs in a subshell with no input; the console's own position does not move. When the wait ends early the
        command goes on in the guest: interrupt() stops it. With check an exit status other than 0 is a CommandError.
        """
        line = string(command, "the command")
        status = c_int32()
        with Output() as output:
            patiently(timeout, lambda ms: call(
                lib.capsa_console_run, self._handle, ms, handle_of(Cancel, cancel), line, byref(status),
                byref(output.pointer)))
            data, missing = output.take()
        completed = Completed(command, status.value, data, missing)
        return completed.check() if check else completed

    def interrupt(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> None:
        """Types Ctrl-C."""
        patiently(timeout, lambda ms: call(
            lib.capsa_console_interrupt, self._handle, ms, handle_of(Cancel, cancel)))

    def eof(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> None:
        """Types Ctrl-D, the end of input."""
        patiently(timeout, lambda ms: call(lib.capsa_console_eof, self._handle, ms, handle_of(Cancel, cancel)))

    def resize(self, columns: int, rows: int) -> None:
        """Tells the guest the size of the terminal."""
        call(lib.capsa_console_resize, self._handle, unsigned(columns, 16, "columns"), unsigned(rows, 16, "rows"))

    @property
    def lost(self) -> int:
        """How many bytes of output were overwritten before this console read them."""
        count = c_uint64()
        call(lib.capsa_console_lost, self._handle, byref(count))
        return count.value

    def socket(self) -> socket.socket:
        """A socket on which the output, from the oldest kept on, can be read and input can be written.

        It has a position of its own, is the caller's to close, and ends with the machine.
        """
        with Descriptor() as descriptor:
            call(lib.capsa_console_fd, self._handle, byref(descriptor.place))
            return descriptor.socket(socket.socket)

    def read_all(self, timeout: Optional[float] = None) -> bytes:
        """Reads to the end of the console, which is that of the machine; the timeout is for each piece."""
        return b"".join(iter(lambda: self.read(timeout=timeout), b""))

    def __iter__(self) -> Iterator[bytes]:
        """The output in pieces, as it comes, to the end."""
        return iter(self.read, b"")

    def lines(self) -> Iterator[bytes]:
        """The output in lines, without their ends, to the end."""
        splitter = LineSplitter()
        for piece in self:
            yield from splitter.feed(piece)
        yield from splitter.end()


class LineSplitter:
    """Makes lines of pieces of output. A carriage return before the line's end goes with it."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> List[bytes]:
        """The lines that end in this piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line[:-1] if line.endswith(b"\r") else line for line in lines]

    def end(self) -> List[bytes]:
        """What came after the last line's end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _patterns(patterns: Tuple[Pattern, ...]) -> Tuple[Any, Any]:
    """The header's array, and what has to live as long as it."""
    if not patterns:
        raise TypeError("expect() needs a pattern")
    array = (c.capsa_pattern * len(patterns))()
    keep = []
    for element, pattern in zip(array, patterns):
        kind, source = _source(pattern)
        buffer = ctypes.create_string_buffer(source, len(source) or 1)
        keep.append(buffer)
        element.size = ctypes.sizeof(c.capsa_pattern)
        element.kind = kind
        element.data = ctypes.addressof(buffer)
        element.len = len(source)
    return array, keep


def _source(pattern: Pattern) -> Tuple[int, bytes]:
    """Kind and bytes of a pattern."""
    if isinstance(pattern, str):
        return c.CAPSA_PATTERN_LITERAL, pattern.encode("utf-8", "surrogateescape")
    if isinstance(pattern, bytes):
        return c.CAPSA_PATTERN_LITERAL, pattern
    if not isinstance(pattern, re.Pattern):
        raise TypeError(f"a pattern is str, bytes or what re.compile() makes, not {type(pattern).__name__}")
    source = pattern.pattern
    if isinstance(source, str):
        source = source.encode("utf-8")
    letters, unknown = b"", pattern.flags & ~_HARMLESS
    for flag, letter in _FLAGS:
        if unknown & flag:
            letters, unknown = letters + letter, unknown & ~flag
    if unknown:
        raise InvalidArgumentError(f"the library's regular expressions have no {re.RegexFlag(unknown)!r}")
    return c.CAPSA_PATTERN_REGEX, b"(?%s)%s" % (letters, source) if letters else source


def _match(pattern: Pattern, found: c.capsa_match, data: bytes, missing: int) -> Match:
    """The result of expect()."""
    groups = None
    if isinstance(pattern, re.Pattern):
        again = pattern if isinstance(pattern.pattern, bytes) else re.compile(
            pattern.pattern.encode("utf-8"), pattern.flags & ~re.UNICODE)
        groups = again.match(data, found.start)
    return Match(found.pattern, data, found.start, missing, groups)
