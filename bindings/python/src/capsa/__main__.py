"""``python -m capsa`` says whether machines can run on this host, and what to do where they cannot."""
from __future__ import annotations

import sys

from . import LibraryError, doctor, version


def main() -> int:
    """Prints the report; 0 when a backend is usable, 2 without the library."""
    try:
        report = doctor()
    except LibraryError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"libcapsa {version()} on {report.get('platform', 'this host')}")
    for backend in report["backends"]:
        print(f"  {backend['name']}: " + ("usable" if backend["usable"] else backend.get("problem", "not usable")))
        if backend.get("hint"):
            print(f"      {backend['hint']}")
    return 0 if report.get("ok") else 1


if __name__ == "__main__":
    sys.exit(main())
