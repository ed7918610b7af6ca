"""Interpreter of the polyglot suite (README.md) over the Python package's face for asyncio."""
from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any, Dict

import capsa
import capsa.aio
from blocking import answer, describe, exit_of, failure, name_of, script, text_of


def within(a: Dict[str, str], awaitable: Any) -> Any:
    """The same with the step's time."""
    return asyncio.wait_for(awaitable, int(a["ms"]) / 1000)


async def end(thing: Any) -> None:
    """Closes what there is to close."""
    if isinstance(thing, tuple):
        thing[1].close()
        await thing[1].wait_closed()
    elif hasattr(thing, "close"):
        closing = thing.close()
        if inspect.isawaitable(closing):
            await closing


class Interpreter:
    """What the script has made, by name, and a method for each word."""

    def __init__(self) -> None:
        self.builder = capsa.Builder()
        self.made: Dict[str, Any] = {}

    async def clear(self, a: Dict[str, str]) -> None:
        """Frees everything."""
        for thing in reversed(list(self.made.values())):
            await end(thing)
        self.made.clear()
        self.builder = capsa.Builder()

    async def version(self, a: Dict[str, str]) -> str:
        return capsa.version()

    async def has(self, a: Dict[str, str]) -> str:
        return str(capsa.has(a["feature"])).lower()

    async def set(self, a: Dict[str, str]) -> None:
        describe(self.builder, a)

    async def json(self, a: Dict[str, str]) -> str:
        return self.builder.to_json()

    async def from_json(self, a: Dict[str, str]) -> None:
        self.builder = capsa.Builder.from_json(a["json"])

    async def build(self, a: Dict[str, str]) -> None:
        self.made[a["vm"]] = await capsa.aio.build(self.builder)

    async def start(self, a: Dict[str, str]) -> None:
        await self.made[a["vm"]].start()

    async def state(self, a: Dict[str, str]) -> str:
        return name_of(self.made[a["vm"]].state)

    async def wait(self, a: Dict[str, str]) -> str:
        return exit_of(await within(a, self.made[a["vm"]].wait()))

    async def stop(self, a: Dict[str, str]) -> str:
        return name_of(await self.made[a["vm"]].stop(int(a["ms"]) / 1000))

    async def kill(self, a: Dict[str, str]) -> None:
        await self.made[a["vm"]].kill()

    async def pause(self, a: Dict[str, str]) -> None:
        await self.made[a["vm"]].pause()

    async def resume(self, a: Dict[str, str]) -> None:
        await self.made[a["vm"]].resume()

    async def close(self, a: Dict[str, str]) -> None:
        await end(self.made.pop(a["of"]))

    async def cancelled(self, a: Dict[str, str]) -> str:
        waiting = asyncio.ensure_future(self.made[a["vm"]].wait())
        await asyncio.sleep(0)  # it waits now
        waiting.cancel()
        return exit_of(await waiting)

    async def boot_log(self, a: Dict[str, str]) -> str:
        return text_of(self.made[a["vm"]].boot_log())

    async def stats(self, a: Dict[str, str]) -> str:
        stats = self.made[a["vm"]].stats()
        return f"{stats.cpus} {stats.memory_bytes >> 20}"

    async def watch(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["vm"]].events()

    async def events(self, a: Dict[str, str]) -> str:
        return " ".join(sorted({name_of(event.type) async for event in self.made[a["of"]]}))

    async def many(self, a: Dict[str, str]) -> str:
        async def life() -> str:
            async with capsa.aio.boot(self.builder) as vm:
                return exit_of(await vm.wait())

        return " ".join(await within(a, asyncio.gather(*(life() for _ in range(int(a["count"]))))))

    async def churn(self, a: Dict[str, str]) -> None:
        for n in range(int(a["count"])):
            vm = await capsa.aio.build(self.builder)
            if "started" in a:
                await vm.start()
            if n % 2:  # the others are forgotten
                await vm.close()
            del vm

    async def console(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["vm"]].console()

    async def expect(self, a: Dict[str, str]) -> str:
        patterns = [a["literal"]] if "literal" in a else []
        expressions = [re.compile(a["regex"])] if "regex" in a else []
        found = await within(a, self.made[a["of"]].expect(*patterns, *expressions))
        return f"{found.index} {text_of(found.matched)}"

    async def run(self, a: Dict[str, str]) -> str:
        done = await within(a, self.made[a["of"]].run(a["command"]))
        return f"{done.exit_status} {done.text}"

    async def type(self, a: Dict[str, str]) -> None:
        await self.made[a["of"]].write(a["text"].encode())

    async def interrupt(self, a: Dict[str, str]) -> None:
        await self.made[a["of"]].interrupt()

    async def eof(self, a: Dict[str, str]) -> None:
        await self.made[a["of"]].eof()

    async def resize(self, a: Dict[str, str]) -> None:
        self.made[a["of"]].resize(int(a["columns"]), int(a["rows"]))

    async def read_all(self, a: Dict[str, str]) -> str:
        return text_of(await self.made[a["of"]].read_all())

    async def states(self, a: Dict[str, str]) -> None:
        vm: capsa.aio.VM = self.made[a["vm"]]
        for _ in range(int(a["count"])):
            vm.state

    async def drain(self, a: Dict[str, str]) -> str:
        size = 0
        for _ in range(int(a["count"])):
            async with self.made[a["vm"]].console() as console:
                async for piece in console:
                    size += len(piece)
        return str(size)

    async def ping(self, a: Dict[str, str]) -> None:
        console = self.made[a["of"]]
        for _ in range(int(a["count"])):
            await console.write(b"ping")
            await console.expect(b"ping")

    async def dial(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = await within(a, self.made[a["vm"]].open_vsock(int(a["port"])))

    async def listen(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = self.made[a["vm"]].vsock_listen(int(a["port"]))

    async def accept(self, a: Dict[str, str]) -> None:
        stream = await within(a, self.made[a["of"]].accept())
        self.made[a["as"]] = await asyncio.open_connection(sock=stream)

    async def add_forward(self, a: Dict[str, str]) -> str:
        self.made[a["as"]] = forward = await self.made[a["vm"]].add_forward(int(a["port"]))
        return f"{forward.host} {forward.guest_port}"

    async def remove_forward(self, a: Dict[str, str]) -> None:
        await self.made[a["vm"]].remove_forward(self.made[a["of"]])

    async def connect(self, a: Dict[str, str]) -> None:
        self.made[a["as"]] = await capsa.aio.open_forward(self.made[a["of"]])

    async def exchange(self, a: Dict[str, str]) -> str:
        reader, writer = self.made[a["of"]]
        writer.write(a["text"].encode())
        writer.write_eof()
        return text_of(await reader.read())

    async def policy(self, a: Dict[str, str]) -> None:
        await self.made[a["vm"]].set_policy(a.get("json"))

    async def link(self, a: Dict[str, str]) -> None:
        await self.made[a["vm"]].set_link(a["up"] == "1")

    async def file(self, a: Dict[str, str]) -> str:
        with open(a["path"], encoding="utf-8") as file:
            return file.read()


async def main() -> None:
    """Runs the script."""
    interpreter = Interpreter()
    for word, arguments in script():
        method = getattr(interpreter, word, None)
        if method is None:
            print("unknown", word, flush=True)
            continue
        try:
            answer(await method(arguments) or "")
        except capsa.CapsaError as error:
            failure(error)
        except asyncio.TimeoutError:  # what the library's timeout is elsewhere
            failure(capsa.CallTimeoutError("the step's time is over"))
        except asyncio.CancelledError:  # and its cancel
            failure(capsa.CallCancelledError("the task was cancelled"))
    await interpreter.clear({})


if __name__ == "__main__":
    asyncio.run(main())
