"""The library itself: where it is found, how it is called, and who frees what it gives out.

It is loaded by its first use and not by importing this package, so that a program may import, fork, and use it in the
children.
"""
from __future__ import annotations

import ctypes
import json
import operator
import os
import pathlib
import socket
import threading
import weakref
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from typing import Any, Callable, ClassVar, Dict, Optional, Tuple, Type, TypeVar, Union

from . import _bindings as c
from ._signals import watch_handlers
from .errors import CapsaError, HandleError, InvalidArgumentError, LibraryError, make

SONAME = "libcapsa.so.0"
VARIABLE = "CAPSA_LIBRARY"

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Bytes = Union[bytes, bytearray, memoryview]

_HandleType = TypeVar("_HandleType", bound="Handle")


def library_path() -> str:
    """Where the library is: what CAPSA_LIBRARY names, the one in this package, or what the system's loader finds."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    bundled = pathlib.Path(__file__).parent / "_native" / SONAME
    return str(bundled) if bundled.exists() else SONAME


def load(path: str) -> ctypes.CDLL:
    """Loads a library and sees that it has the ABI that this package is made for."""
    try:
        loaded = ctypes.CDLL(path)
    except OSError as error:
        raise LibraryError(
            f"libcapsa cannot be loaded: {error}. Install a wheel of capsa that has it, install {SONAME} where the "
            f"loader looks, or set {VARIABLE} to its path."
        ) from None
    for name in c.PROTOTYPES:
        if not hasattr(loaded, name):
            raise LibraryError(f"{path} is older than this package: it has no {name}")
    if loaded.capsa_abi_version() != c.CAPSA_ABI_VERSION:
        raise LibraryError(f"{path} has ABI {loaded.capsa_abi_version()}, this package needs {c.CAPSA_ABI_VERSION}")
    return loaded


class Library(c.Functions):
    """The functions, each declared when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: Optional[ctypes.CDLL] = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        prototype = c.PROTOTYPES.get(name)
        if prototype is None:
            raise AttributeError(f"capsa.h declares no {name}")
        with self._lock:
            if self._loaded is None:
                self._loaded = load(library_path())
                watch_handlers()
            function: Callable[..., Any] = self._loaded[name]
            function.restype, function.argtypes = prototype  # type: ignore[attr-defined]
        setattr(self, name, function)
        return function


lib = Library()

# A forked child of a thread that was loading would find the lock taken.
os.register_at_fork(after_in_child=lambda: setattr(lib, "_lock", threading.Lock()))


def call(function: Callable[..., int], *arguments: Any) -> None:
    """Calls a function whose last parameter is the error; raises what it reports. Releases the GIL meanwhile."""
    error = _Error()
    try:
        status = function(*arguments, byref(error))
        if status:
            raise _exception(status, error)
    finally:
        if error:
            lib.capsa_error_free(error)


_Error = POINTER(c.capsa_error)


def _exception(status: int, error: Any) -> CapsaError:
    """The exception for an error object."""
    length = c_size_t()
    tail = lib.capsa_error_console_tail(error, byref(length))
    return make(
        status,
        lib.capsa_status_class(status),
        lib.capsa_error_os_errno(error),
        text(lib.capsa_error_message(error)),
        hint=text(lib.capsa_error_hint(error)),
        component=text(lib.capsa_error_component(error)),
        detail=json.loads(lib.capsa_error_detail_json(error) or b"{}"),
        console_tail=ctypes.string_at(tail, length.value) if tail else b"",
    )


class Handle:
    """An object of the library. Closing it, or its end, frees it; also when the interpreter ends."""

    _type: ClassVar[Any]
    _free: ClassVar[str]

    def __init__(self, function: Callable[..., int], *arguments: Any) -> None:
        # The finalizer is there before the object is, so that not even Ctrl-C can come between the two.
        self._pointer = POINTER(self._type)()
        self._finalizer = weakref.finalize(self, getattr(lib, self._free), self._pointer)
        try:
            call(function, *arguments, byref(self._pointer))
        except BaseException:
            self._finalizer()
            raise

    @property
    def _handle(self) -> Any:
        """What the library's functions want."""
        if not self._finalizer.alive:
            raise HandleError(f"this {type(self).__name__} has been closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Frees the object. Waits on it that other threads are in end with ClosedError. May be repeated."""
        self._finalizer()

    def __enter__(self: _HandleType) -> _HandleType:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' closed' if self.closed else ''}>"


def handle_of(kind: Type[Handle], value: Optional[Handle]) -> Any:
    """The pointer of an optional object of that kind."""
    if value is None:
        return None
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} or None is needed, not {type(value).__name__}")
    return value._handle


def text(value: Optional[bytes]) -> str:
    """A string of the library."""
    return (value or b"").decode("utf-8", "replace")


def text_from(function: Callable[..., int], *arguments: Any) -> str:
    """The text that a function gives out as `char **`."""
    place = c_void_p()
    try:
        call(function, *arguments, byref(place))
        return ctypes.string_at(place.value or 0).decode("utf-8", "replace")
    finally:
        lib.capsa_mem_free(place)


def json_from(function: Callable[..., int], *arguments: Any) -> Dict[str, Any]:
    """The JSON object that a function gives out."""
    value: Dict[str, Any] = json.loads(text_from(function, *arguments))
    return value


class Output:
    """A place for a capsa_output, which it frees."""

    def __init__(self) -> None:
        self.pointer = POINTER(c.capsa_output)()

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        lib.capsa_output_free(self.pointer)

    def take(self) -> Tuple[bytes, int]:
        """The bytes, and how many are missing."""
        length = c_size_t()
        data = lib.capsa_output_data(self.pointer, byref(length))
        return ctypes.string_at(data or 0, length.value), lib.capsa_output_missing(self.pointer)


class Descriptor:
    """A place for a descriptor, which it closes unless somebody takes it."""

    def __init__(self) -> None:
        self.place = c_int(-1)

    def __enter__(self) -> Descriptor:
        return self

    def __exit__(self, *_: object) -> None:
        if self.place.value >= 0:
            os.close(self.take())

    def take(self) -> int:
        """The descriptor, which is the caller's from now on."""
        fd, self.place.value = self.place.value, -1
        return fd

    def socket(self, kind: Type[_SocketType]) -> _SocketType:
        """The descriptor as a socket, which waits as sockets of Python do."""
        made = kind(fileno=self.place.value)
        self.place.value = -1
        made.setblocking(True)
        return made


_SocketType = TypeVar("_SocketType", bound=socket.socket)


def fd_from(function: Callable[..., int], *arguments: Any) -> int:
    """The descriptor that a function gives out."""
    with Descriptor() as descriptor:
        call(function, *arguments, byref(descriptor.place))
        return descriptor.take()


def _whole(value: bytes, what: str) -> bytes:
    if b"\0" in value:
        raise InvalidArgumentError(f"{what} {value!r} has a zero byte in it")
    return value


def path(value: Path, what: str = "the path") -> bytes:
    """A path for the library."""
    return _whole(os.fsencode(os.fspath(value)), what)


def optional_path(value: Optional[Path], what: str = "the path") -> Optional[bytes]:
    """The same, or None."""
    return None if value is None else path(value, what)


def string(value: str, what: str) -> bytes:
    """A text for the library."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
    return _whole(value.encode("utf-8", "surrogateescape"), what)


def unsigned(value: int, bits: int, what: str) -> int:
    """A number for the library: ctypes cuts off what does not fit, and says nothing."""
    number = operator.index(value)
    if not 0 <= number < 1 << bits:
        raise InvalidArgumentError(f"{what} is {number}; 0 to {(1 << bits) - 1} is possible")
    return number


def strings(values: Tuple[bytes, ...]) -> Any:
    """An array of C strings; None when it is empty."""
    return (c_char_p * len(values))(*values) if values else None
