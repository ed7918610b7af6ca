"""What a machine's guest does for the host when it has the library's agent: programs and files."""
from __future__ import annotations

import json
from ctypes import byref, c_void_p, string_at
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from . import _bindings as c
from . import process as programs
from ._ffi import Bytes, Handle, Output, Path, call, handle_of, lib, path, unsigned
from ._wait import Cancel, Clock, patiently
from .process import Process, Result, Text


def _streams(stdin: bool, stdout: bool, stderr: bool, tty: bool, env_only: bool) -> int:
    """The header's flags."""
    return (
        c.CAPSA_EXEC_STDIN * (stdin or tty) | c.CAPSA_EXEC_STDOUT * (stdout and not tty)
        | c.CAPSA_EXEC_STDERR * (stderr and not tty) | c.CAPSA_EXEC_TTY * tty | c.CAPSA_EXEC_ENV_ONLY * env_only
    )


class Guest(Handle):
    """The part of VM that needs an agent in the guest. Calls wait until the guest is up."""

    def wait_ready(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> Dict[str, Any]:
        """Waits until the guest is set up, and gives what it says of itself."""
        place = c_void_p()
        try:
            patiently(timeout, lambda ms: call(
                lib.capsa_vm_wait_ready, self._handle, ms, handle_of(Cancel, cancel), byref(place)))
            info: Dict[str, Any] = json.loads(string_at(place.value or 0))
            return info
        finally:
            lib.capsa_mem_free(place)

    def exec(
        self,
        args: Sequence[Text],
        *,
        stdin: bool = True,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
        size: Tuple[int, int] = (0, 0),
        env: Optional[Mapping[str, Text]] = None,
        env_only: bool = False,
        dir: Optional[Text] = None,
        user: Optional[str] = None,
        memory: int = 0,
        pids: int = 0,
        limit: Optional[float] = None,
        rlimits: Optional[Mapping[int, Tuple[int, int]]] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> Process:
        """Starts a program in the guest: an executable and its arguments, no shell.

        Streams that are False are /dev/null. With tty it runs on a terminal of that size (columns, rows), whose both
        directions are stdin. env are variables besides the agent's own PATH, HOME and the like, unless env_only.
        memory (bytes), pids (how many) and limit (seconds, after which all are killed) hold for it and what comes from
        it; rlimits are those of module resource. The timeout is for the start.
        """
        return programs.start(
            self, args, flags=_streams(stdin, stdout, stderr, tty, env_only), env=env, dir=dir, user=user, size=size,
            memory=memory, pids=pids, limit=limit, rlimits=rlimits, timeout=timeout, cancel=cancel)

    def run(
        self,
        args: Sequence[Text],
        *,
        input: Bytes = b"",
        check: bool = False,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
        **options: Any,
    ) -> Result:
        """Runs a program in the guest to its end; takes what exec() takes. When the timeout passes it is killed.

        With check, CommandError unless its exit status is 0.
        """
        clock = Clock(timeout)

        def left() -> Optional[float]:
            ms = clock.left()
            return None if ms < 0 else ms / 1000

        with self.exec(args, stdin=bool(input), timeout=left(), cancel=cancel, **options) as process:
            out, errors = process.communicate(bytes(input), left())
            status = process.wait(left(), cancel=cancel)
        result = Result(tuple(args), status, out, errors)
        return result.check() if check else result

    def copy_in(
        self, source: Path, target: Path, *, keep_owner: bool = False, timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None
    ) -> None:
        """Copies a file or directory of the host into the guest, where it becomes target."""
        self._copy(lib.capsa_vm_copy_in, source, target, keep_owner, timeout, cancel)

    def copy_out(
        self, source: Path, target: Path, *, keep_owner: bool = False, timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None
    ) -> None:
        """Copies a file or directory of the guest to the host, where it becomes target; nothing else is touched."""
        self._copy(lib.capsa_vm_copy_out, source, target, keep_owner, timeout, cancel)

    def _copy(
        self, function: Any, source: Path, target: Path, keep_owner: bool, timeout: Optional[float],
        cancel: Optional[Cancel]
    ) -> None:
        both = path(source, "the source"), path(target, "the target")
        flags = c.CAPSA_COPY_KEEP_OWNER * bool(keep_owner)
        patiently(timeout, lambda ms: call(function, self._handle, *both, flags, ms, handle_of(Cancel, cancel)))

    def read_file(self, name: Path, *, timeout: Optional[float] = None, cancel: Optional[Cancel] = None) -> bytes:
        """Reads a whole file of the guest, of 256 MiB at most."""
        with Output() as output:
            patiently(timeout, lambda ms: call(
                lib.capsa_vm_file_read, self._handle, path(name), ms, handle_of(Cancel, cancel), byref(output.pointer)))
            return output.take()[0]

    def write_file(
        self, name: Path, data: Bytes, mode: int = 0, *, timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None
    ) -> None:
        """Writes a whole file of the guest in place of the one there, which stays whole until then.

        mode is that of a new file; 0: as the old one's, or 0644.
        """
        whole = bytes(data)
        patiently(timeout, lambda ms: call(
            lib.capsa_vm_file_write, self._handle, path(name), whole, len(whole), unsigned(mode, 32, "the mode"), ms,
            handle_of(Cancel, cancel)))
