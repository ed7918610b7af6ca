#!/usr/bin/env python3
"""console.py KERNEL [--initrd INITRD] [ARGUMENT...] - boots Linux with its console on this terminal.

Ends with the guest's result: 0 when it powered off, else the number of capsa.Cause.
"""
import argparse
import os
import selectors
import sys

import capsa


def attach(console: capsa.Console) -> None:
    """Joins the terminal and the console until the console ends."""
    with console.socket() as guest, selectors.DefaultSelector() as selector:
        selector.register(guest, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is guest:
                    output = guest.recv(4096)
                    if not output:
                        return
                    os.write(sys.stdout.fileno(), output)
                else:
                    typed = os.read(sys.stdin.fileno(), 4096)
                    if typed:
                        guest.sendall(typed)
                    else:
                        selector.unregister(sys.stdin)


def main() -> int:
    """Boots and attaches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel")
    parser.add_argument("--initrd")
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    with capsa.boot(given.kernel, given.initrd, args=given.arguments) as vm:
        attach(vm.console())
        record = vm.wait()
    return 0 if record.success else int(record.cause)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except capsa.CapsaError as error:
        sys.exit(str(error))
