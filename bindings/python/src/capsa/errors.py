"""The exceptions: one for each class of status, all of them CapsaError.

Each also is the Python exception that such a failure usually is, so that ``except TimeoutError`` and ``except OSError``
work without knowing this package.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Tuple, Type

from . import _bindings as c

if TYPE_CHECKING:
    from .records import ExitInfo

__all__ = [
    "BootError", "CallCancelledError", "CallInterruptedError", "CallTimeoutError", "CapsaError", "ClosedError",
    "CommandError", "ConfigError", "ExistsError", "FailedError", "ForkedError", "GuestError", "HandleError",
    "InternalError", "InvalidArgumentError", "LibraryError", "LimitError", "NoMemoryError", "NotFoundError",
    "PermissionDeniedError", "Problem", "ProtocolError", "RefusedError", "ResetError", "StateError", "SystemCallError",
    "UnavailableError", "UnsupportedError", "VMMDiedError",
]


class Problem(NamedTuple):
    """One thing that is wrong with a description of a machine."""

    field: str
    """where: ``memory_mib``, ``boot.args[2]``"""
    message: str
    """what is wrong, with the value"""
    hint: str
    """what to do about it, or ``""``"""


class LibraryError(ImportError):
    """libcapsa.so.0 cannot be loaded, or is not the one that this package is made for."""


class CapsaError(Exception):
    """A call failed. ``str()`` says what, on what, why, and what can be done."""

    status = c.CAPSA_E_INTERNAL
    """the number the call returned; its class is what the type of the exception says"""

    def __init__(
        self,
        message: str,
        *,
        status: Optional[int] = None,
        hint: str = "",
        component: str = "",
        os_errno: int = 0,
        detail: Optional[Mapping[str, Any]] = None,
        console_tail: bytes = b"",
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        self.message = message
        """what failed, on what, and why; one line"""
        self.hint = hint
        """what a person can do about it, or ``""``"""
        self.component = component
        """``"kvm"``, ``"boot"``, ``"console"``..., or ``""``"""
        self.os_errno = os_errno
        """errno of the failed system call, or 0"""
        self.detail: Dict[str, Any] = dict(detail or {})
        """more for programs: ``kind``, ``path``, ``problems``; the stack of an internal error"""
        self.console_tail = console_tail
        """the last output (up to 4 KiB) of a guest that did not come up"""

    @property
    def problems(self) -> Tuple[Problem, ...]:
        """Everything that is wrong with a description, for ConfigError and what else a build answers."""
        found = self.detail.get("problems") or ()
        return tuple(Problem(p.get("field", ""), p.get("message", ""), p.get("hint", "")) for p in found)

    def __str__(self) -> str:
        lines = [self.message]
        if len(self.problems) > 1:
            lines += [f"  {p.field}: {p.message}" for p in self.problems]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        if self.console_tail:
            text = self.console_tail.decode("utf-8", "replace").rstrip()
            lines += ["the guest's last output:"] + ["  | " + line for line in text.splitlines()[-15:]]
        return "\n".join(lines)

    def __reduce__(self) -> Tuple[Any, ...]:
        return _restore, (type(self), self.message, self.__dict__.copy())


def _restore(kind: Type[CapsaError], message: str, state: Dict[str, Any]) -> CapsaError:
    """Makes a pickled exception again, for process pools."""
    error = kind(message)
    error.__dict__.update(state)
    return error


class InvalidArgumentError(CapsaError, ValueError):
    """An argument is wrong by itself."""

    status = c.CAPSA_E_INVALID_ARG


class HandleError(CapsaError, ValueError):
    """The object was closed."""

    status = c.CAPSA_E_HANDLE


class StateError(CapsaError, RuntimeError):
    """Not possible in this state of the machine."""

    status = c.CAPSA_E_STATE


class ConfigError(CapsaError, ValueError):
    """The description of the machine is wrong; ``problems`` has everything that is."""

    status = c.CAPSA_E_CONFIG


class UnsupportedError(CapsaError):
    """This backend, host or build cannot do it."""

    status = c.CAPSA_E_UNSUPPORTED


class UnavailableError(CapsaError):
    """Not now or not for this user: no ``/dev/kvm``, no permission for it, an image in use."""

    status = c.CAPSA_E_UNAVAILABLE


class NotFoundError(CapsaError, LookupError):
    """A named thing does not exist."""

    status = c.CAPSA_E_NOT_FOUND


class ExistsError(CapsaError):
    """A named thing exists already."""

    status = c.CAPSA_E_EXISTS


class PermissionDeniedError(CapsaError, PermissionError):
    """The operating system refused."""

    status = c.CAPSA_E_PERMISSION


class NoMemoryError(CapsaError, MemoryError):
    """Out of memory."""

    status = c.CAPSA_E_NO_MEMORY


class LimitError(CapsaError):
    """A limit of the library or the system was reached."""

    status = c.CAPSA_E_LIMIT


class CallTimeoutError(CapsaError, TimeoutError):
    """The timeout of a call passed. Nothing is lost: calling again is right."""

    status = c.CAPSA_E_TIMEOUT


class CallCancelledError(CapsaError):
    """A Cancel that the call was given was triggered."""

    status = c.CAPSA_E_CANCELLED


class CallInterruptedError(CallCancelledError, InterruptedError):
    """A signal came. The methods of this package go on by themselves then (PEP 475)."""

    status = c.CAPSA_E_INTERRUPTED


class ClosedError(CapsaError, EOFError):
    """The stream has ended, or another thread closed the object meanwhile."""

    status = c.CAPSA_E_CLOSED


class SystemCallError(CapsaError, OSError):
    """A system call failed; ``errno`` says how."""

    status = c.CAPSA_E_IO


class RefusedError(SystemCallError, ConnectionRefusedError):
    """Nobody listens at that port of the guest."""


class ResetError(SystemCallError, ConnectionResetError):
    """The guest's driver went away."""


class FailedError(CapsaError):
    """A machine failed: it did not come up, or its process died."""

    exit_info: Optional[ExitInfo] = None
    """the machine's record, when VM.wait() raised it"""


class BootError(FailedError):
    """The kernel could not be loaded or did not come up; ``console_tail`` has its last words."""

    status = c.CAPSA_E_BOOT


class GuestError(CapsaError):
    """The guest answered no."""

    status = c.CAPSA_E_GUEST


class ProtocolError(CapsaError):
    """The guest answered nonsense."""

    status = c.CAPSA_E_PROTOCOL


class VMMDiedError(FailedError):
    """The machine failed through a fault of the library, or its own process died."""

    status = c.CAPSA_E_VMM_DIED


class ForkedError(CapsaError, RuntimeError):
    """The library was used in a child of fork(): use it in the process that loaded it, or start children by spawn."""

    status = c.CAPSA_E_FORKED


class InternalError(CapsaError):
    """A fault of the library; ``detail["stack"]`` is for its report."""

    status = c.CAPSA_E_INTERNAL


class CommandError(CapsaError):
    """A command in the guest ended with a status other than 0, and the caller had asked for a check."""

    status = c.CAPSA_OK

    def __init__(self, command: str, exit_status: int, output: bytes) -> None:
        super().__init__(f"the command {command!r} ended with status {exit_status}")
        self.command = command
        self.exit_status = exit_status
        self.output = output

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.command, self.exit_status, self.output)


# The exception of each class of status.
BY_CLASS: Dict[int, Type[CapsaError]] = {
    kind.status: kind
    for kind in (
        InvalidArgumentError, HandleError, StateError, ConfigError, UnsupportedError, UnavailableError, NotFoundError,
        ExistsError, PermissionDeniedError, NoMemoryError, LimitError, CallTimeoutError, CallCancelledError,
        ClosedError, SystemCallError, BootError, GuestError, ProtocolError, VMMDiedError, ForkedError, InternalError,
    )
}

_BY_ERRNO: Dict[str, Type[SystemCallError]] = {"ECONNREFUSED": RefusedError, "ECONNRESET": ResetError}


def make(status: int, klass: int, os_errno: int, message: str, **fields: Any) -> CapsaError:
    """The exception for a status whose class is klass."""
    kind = BY_CLASS.get(klass, CapsaError)
    if status == c.CAPSA_E_INTERRUPTED:
        kind = CallInterruptedError
    if kind is SystemCallError:
        import errno

        kind = _BY_ERRNO.get(errno.errorcode.get(os_errno, ""), kind)
    error = kind(message, status=status, os_errno=os_errno, **fields)
    if isinstance(error, OSError) and os_errno:
        error.errno = os_errno
        error.strerror = os.strerror(os_errno)
    return error
