#!/usr/bin/env python3
"""many.py COUNT KERNEL [--initrd INITRD] [ARGUMENT...] - boots machines side by side and prints what each says."""
import argparse
import asyncio
import sys
from typing import Any, Dict

import capsa
from capsa import aio


async def follow(number: int, kernel: str, description: Dict[str, Any]) -> capsa.ExitInfo:
    """Boots one machine and prints its lines to its end."""
    async with aio.boot(kernel, name=f"machine-{number}", **description) as vm, vm.console() as console:
        async for line in console.lines():
            print(f"{number}: {line.decode('utf-8', 'replace')}")
        return await vm.wait()


async def main() -> int:
    """Boots them all; 0 when all powered off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("kernel")
    parser.add_argument("--initrd")
    parser.add_argument("--memory-mib", type=int, default=64)
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    description = dict(initrd=given.initrd, args=given.arguments, memory_mib=given.memory_mib)
    records = await asyncio.gather(*(follow(n, given.kernel, description) for n in range(given.count)))
    return 0 if all(record.success for record in records) else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except capsa.CapsaError as error:
        sys.exit(str(error))
