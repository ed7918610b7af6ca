"""Handlers of signals on the alternate stack, which the library needs: see "Signals" in capsa.h.

Python installs them so since 3.10. On 3.9 a handler that the program installs after the library was loaded could run on
one of the small stacks of the library's runtime and write beyond it, so signal.signal() is followed there by what 3.10
does by itself. Handlers from before are put right by the library when it is loaded.
"""
from __future__ import annotations

import ctypes
import functools
import signal
import sys
from typing import Any

SA_ONSTACK = 0x08000000


class _Action(ctypes.Structure):
    """struct sigaction of glibc"""

    flags: int
    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_char * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


def on_stack(number: int) -> bool:
    """Whether the handler of a signal runs on the alternate stack."""
    action = _Action()
    ctypes.CDLL(None).sigaction(number, None, ctypes.byref(action))
    return bool(action.flags & SA_ONSTACK)


def put_on_stack(number: int) -> None:
    """Lets the handler of a signal run there."""
    libc, action = ctypes.CDLL(None), _Action()
    if libc.sigaction(number, None, ctypes.byref(action)) == 0 and not action.flags & SA_ONSTACK:
        action.flags |= SA_ONSTACK
        libc.sigaction(number, ctypes.byref(action), None)


def watch_handlers() -> None:
    """From now on, handlers are installed as Python 3.10 does it. Does nothing on 3.10 and newer."""
    if sys.version_info >= (3, 10):
        return
    install = signal.signal

    @functools.wraps(install)
    def install_on_stack(signalnum: Any, handler: Any) -> Any:
        before = install(signalnum, handler)
        put_on_stack(signalnum)
        return before

    signal.signal = install_on_stack
