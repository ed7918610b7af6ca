"""The library as a whole: its version, what it can do, what this host can do, its metrics."""
from __future__ import annotations

from typing import Any, Dict

from ._ffi import json_from, lib, string, text, text_from


def version() -> str:
    """The library's version: ``"0.1.0"``."""
    return text(lib.capsa_version_string())


def version_number() -> int:
    """The same as ``major << 16 | minor << 8 | patch``."""
    return lib.capsa_version() or 0


def abi_version() -> int:
    """The ABI that the library implements."""
    return lib.capsa_abi_version() or 0


def has(feature: str) -> bool:
    """Whether this library knows a feature: ``"kvm"``, ``"console"``, ``"disk"``. doctor() says what works here."""
    return bool(lib.capsa_has(string(feature, "the feature")))


def doctor() -> Dict[str, Any]:
    """Examines the host: for each backend whether it works here, why not, and what to do about it."""
    return json_from(lib.capsa_doctor)


def metrics() -> str:
    """The counters of all machines of the process, in the text format of Prometheus."""
    return text_from(lib.capsa_metrics)


def status_name(status: int) -> str:
    """The name of a status: ``"CAPSA_E_TIMEOUT"``."""
    return text(lib.capsa_status_name(status))
