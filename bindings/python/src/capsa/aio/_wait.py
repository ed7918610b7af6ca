"""Waiting on an event loop: for descriptors, and for calls that wait by themselves."""
from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable, Optional, Set, TypeVar

from .._wait import Cancel

_Result = TypeVar("_Result")


async def readable(*fds: int) -> Set[int]:
    """Waits until a descriptor can be read or is at its end; says which. Nobody else may wait for the same ones."""
    loop = asyncio.get_running_loop()
    wake = asyncio.Event()
    found: Set[int] = set()

    def ready(fd: int) -> None:
        found.add(fd)
        wake.set()

    for fd in fds:
        loop.add_reader(fd, ready, fd)
    try:
        await wake.wait()
    finally:
        for fd in fds:
            loop.remove_reader(fd)
    return found


async def in_thread(
    work: Callable[[Cancel], _Result], undo: Optional[Callable[[_Result], Any]] = None
) -> _Result:
    """Runs a call that waits on a thread of its own, and gives its result.

    Cancelling the task triggers the Cancel that the call was given, and ends when the call has. If it succeeded all the
    same, undo gets its result, which nobody else will.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()
    with Cancel() as cancel:
        thread = threading.Thread(target=_work, args=(loop, done, work, cancel), name="capsa", daemon=True)
        thread.start()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            cancel.trigger()
            await _ended(done)
            if not done.exception() and undo:
                undo(done.result())
            raise
        finally:
            # A coroutine that is thrown away leaves without waiting; the call must end all the same.
            cancel.trigger()
            if done.done():
                thread.join()


def _work(
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[_Result],
    work: Callable[[Cancel], _Result],
    cancel: Cancel,
) -> None:
    """The thread: works, and tells the loop."""
    try:
        result = work(cancel)
    except BaseException as error:
        outcome: Callable[[], None] = _setter(done, error=error)
    else:
        outcome = _setter(done, result=result)
    try:
        loop.call_soon_threadsafe(outcome)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


def _setter(
    done: asyncio.Future[Any], *, result: Any = None, error: Optional[BaseException] = None
) -> Callable[[], None]:
    """What the loop runs when the thread is done."""

    def set_it() -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    return set_it


async def _ended(done: asyncio.Future[Any]) -> None:
    """Waits for a call that was told to end, however often the task is cancelled."""
    while not done.done():
        try:
            await asyncio.wait({done})
        except asyncio.CancelledError:
            continue
