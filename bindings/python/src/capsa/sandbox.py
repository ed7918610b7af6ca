"""A machine in which programs are run, in one line."""
from __future__ import annotations

from typing import Any, Mapping, Optional, Union

from ._ffi import Path, lib
from ._wait import Cancel
from .builder import SandboxBuilder
from .disk import Disk
from .share import Share
from .vm import VM


class Sandbox(VM):
    """A fresh machine that runs programs; it is up when the object is there, and gone after ``with``::

        with Sandbox("bzImage", "/srv/debian") as box:
            print(box.run(["python3", "-c", "print(6 * 7)"], check=True).text)

    The root directory of the guest is a directory of the host or, as a Disk, the file system on an image. Neither is
    changed: what the guest writes stays in its memory, unless writable is set. It has no network, no shares but the
    mounts, by their paths in the guest, and a process of its own. Other keywords are those of Builder.
    """

    def __init__(
        self,
        kernel: Path,
        root: Union[Path, Disk],
        *,
        writable: bool = False,
        mounts: Optional[Mapping[str, Union[Share, Path]]] = None,
        guest: Optional[Mapping[str, Any]] = None,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
        **description: Any,
    ) -> None:
        with SandboxBuilder(**description) as builder:
            builder.linux(kernel).root(root, writable=writable)
            for target, share in (mounts or {}).items():
                builder.mount(share, target)
            if guest is not None:
                builder.guest(guest)
            super().__init__(lib.capsa_builder_build, builder._handle)
        try:
            self.start()
            self.info = self.wait_ready(timeout, cancel=cancel)
            """what the guest says of itself"""
        except BaseException:
            self.close()
            raise
