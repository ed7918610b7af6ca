#!/usr/bin/env python3
"""hello.py KERNEL INITRD COMMAND - boots Linux, runs a command in its shell and ends with the command's exit status."""
import sys

import capsa


def main(kernel: str, initrd: str, command: str) -> int:
    """Boots, runs, ends."""
    with capsa.boot(kernel, initrd, args=["quiet"]) as vm:
        console = vm.console()
        console.expect("# ", timeout=300)
        done = console.run(command, timeout=60)
    sys.stdout.write(done.text)
    return done.exit_status


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except capsa.CapsaError as error:  # what failed, why, what to do, and the guest's last words
        print(error, file=sys.stderr)
        sys.exit(125)
