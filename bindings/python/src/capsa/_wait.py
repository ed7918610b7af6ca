"""Waiting: timeouts in seconds, tokens that end waits, and signals.

The library's waits release the GIL and end when a handler ran. Python then runs the handlers of its own: Ctrl-C raises
KeyboardInterrupt at once. When none of them raises, the wait goes on for the time that is left, as PEP 475 wants it.
"""
from __future__ import annotations

import math
import time
from typing import Callable, Optional

from . import _bindings as c
from ._ffi import Handle, call, lib
from .errors import CallInterruptedError, InvalidArgumentError

FOREVER = -1

# The longest finite timeout, in milliseconds: 292 years.
_LONGEST = (1 << 63) - 1


def milliseconds(timeout: Optional[float], what: str = "the timeout") -> int:
    """A time in seconds as the library takes it, rounded up; None is for ever."""
    if timeout is None:
        return FOREVER
    if not timeout >= 0:
        raise InvalidArgumentError(f"{what} is {timeout}; seconds from 0 on are possible, or None for ever")
    return _LONGEST if math.isinf(timeout) else min(math.ceil(timeout * 1000), _LONGEST)


class Clock:
    """A timeout that has begun."""

    def __init__(self, timeout: Optional[float]) -> None:
        self._timeout = timeout
        self._begin = time.monotonic()
        milliseconds(timeout)  # complains

    def left(self) -> int:
        """The milliseconds that are left."""
        if self._timeout is None:
            return FOREVER
        return milliseconds(max(0.0, self._begin + self._timeout - time.monotonic()))

    def over(self) -> bool:
        """Whether none is."""
        return self._timeout is not None and time.monotonic() >= self._begin + self._timeout


def patiently(timeout: Optional[float], attempt: Callable[[int], None]) -> None:
    """Calls attempt with the milliseconds that are left, until no signal interrupts it."""
    clock = Clock(timeout)
    while True:
        try:
            return attempt(clock.left())
        except CallInterruptedError:
            continue


class Cancel(Handle):
    """Ends waits from another thread: each that was given it, now and from now on, raises CallCancelledError."""

    _type = c.capsa_cancel
    _free = "capsa_cancel_free"

    def __init__(self) -> None:
        super().__init__(lib.capsa_cancel_new)

    def trigger(self) -> None:
        """Ends the waits. May be repeated."""
        call(lib.capsa_cancel_trigger, self._handle)
