"""The network under asyncio. The bare guest has no driver: nobody in it answers."""
from __future__ import annotations

import asyncio
import pathlib
from typing import Callable

import pytest

import capsa
from capsa import Forward, ForwardProtocol, aio
from capsa.aio import _wait

from test_aio import cancelled, run, warm

Describe = Callable[..., capsa.Builder]

__all__ = ["warm"]  # the fixture
pytestmark = pytest.mark.usefixtures("warm")


def test_forwards_and_policies(describe: Describe, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with aio.boot(describe("spin", network=True, forwards=[22])) as vm:
            opened = await vm.add_forward(80)
            at_path = await vm.add_forward(Forward(81, path=tmp_path / "web"))
            udp = await vm.add_forward(53, protocol=ForwardProtocol.UDP)
            assert [f.guest_port for f in await vm.forwards()] == [22, 80, 81, 53]
            for forward in (opened, at_path):
                reader, writer = await aio.open_forward(forward)
                writer.close()
                await writer.wait_closed()
            with pytest.raises(ValueError, match="UDP"):
                await aio.open_forward(udp)
            await vm.remove_forward(udp)
            await vm.remove_forward(opened.id)
            with pytest.raises(capsa.NotFoundError):
                await vm.remove_forward(opened)
            with pytest.raises(ConnectionRefusedError):
                await aio.open_forward(opened)
            await vm.set_policy({"default": "deny-all"})
            with pytest.raises(capsa.InvalidArgumentError):
                await vm.set_policy({"default": "perhaps"})
            await vm.set_policy(None)
            await vm.set_link(False)
            await vm.set_link(True)

    run(main())


def test_a_machine_without_a_network(describe: Describe) -> None:
    async def main() -> None:
        async with await aio.build(describe("spin")) as vm:
            assert vm.state is capsa.State.CREATED
            for call in (vm.add_forward(80), vm.forwards(), vm.set_policy(None), vm.set_link(True)):
                with pytest.raises(capsa.UnsupportedError):
                    await call

    run(main())


def test_a_cancelled_forward_is_closed_again(describe: Describe, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with aio.boot(describe("spin", network=True)) as vm:
            loop, let = asyncio.get_running_loop(), asyncio.Event()
            work = _wait._work

            def late(*arguments: object) -> None:
                """The thread's work, once the test lets it begin."""
                asyncio.run_coroutine_threadsafe(let.wait(), loop).result()
                work(*arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(_wait, "_work", late)
            task = asyncio.ensure_future(vm.add_forward(80))
            await asyncio.sleep(0)
            task.cancel()
            let.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            monkeypatch.setattr(_wait, "_work", work)
            assert await vm.forwards() == []

    run(main())


def test_the_console_is_resized(describe: Describe) -> None:
    async def main() -> None:
        async with aio.boot(describe("print:ready spin")) as vm, vm.console() as console:
            await console.expect("ready")
            with pytest.raises(capsa.InvalidArgumentError):
                console.resize(0, 24)
            console.resize(100, 30)
            await cancelled(vm.wait())

    run(main())
