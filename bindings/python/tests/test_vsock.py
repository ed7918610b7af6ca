"""Sockets between guest and host. The bare guest has no driver: its side of a listener is played by the test."""
from __future__ import annotations

import asyncio
import signal
import socket
import threading
from typing import Any, Callable, List, Type

import pytest

import capsa
from capsa import _ffi, aio

from conftest import PATIENCE, waits
from test_waiting import Signaller

Start = Callable[..., capsa.VM]


def connect(listener: capsa.VsockListener) -> socket.socket:
    """A connection to where the library connects for the guest."""
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(listener.socket.getsockname())
    return stream


def test_accepting(start: Start) -> None:
    vm = start("spin", vsock=True)
    with vm.vsock_listen(9) as listener:
        assert repr(listener) == f"<VsockListener port=9 fd={listener.fileno()}>"
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match="port 9"):
                listener.accept(timeout)
        guest = connect(listener)
        with guest, listener.accept(PATIENCE) as stream:
            assert isinstance(stream, socket.socket) and stream.port == 9 and stream.getblocking()
            assert repr(stream) == f"<VsockStream port=9 fd={stream.fileno()}>"
            stream.sendall(b"x")
            stream.shutdown(socket.SHUT_WR)
            assert guest.recv(2) == b"x" and guest.recv(1) == b""
        interrupted = False
        try:
            with Signaller(signal.SIGINT):
                listener.accept()
        except KeyboardInterrupt:
            interrupted = True
        assert interrupted


def test_what_waits_is_taken_after_the_end(start: Start) -> None:
    vm = start("spin", vsock=True)
    with vm.vsock_listen(9) as listener, connect(listener):
        vm.kill()
        listener.accept(PATIENCE).close()
        with pytest.raises(capsa.ClosedError, match="the machine has ended"):
            listener.accept()


@pytest.mark.parametrize("end", ["listener", "vm", "kill"])
def test_a_wait_ends_with_its_object(start: Start, end: str) -> None:
    vm = start("spin", vsock=True)
    listener = vm.vsock_listen(9)
    ended: List[Type[BaseException]] = []
    ids: List[int] = []
    ready = threading.Event()

    def work() -> None:
        ids.append(threading.get_native_id())
        ready.set()
        try:
            listener.accept()
        except capsa.CapsaError as error:
            ended.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    while not waits("self", ids[0]):
        pass
    {"listener": listener.close, "vm": vm.close, "kill": vm.kill}[end]()
    thread.join()
    assert ended == [capsa.ClosedError]
    listener.close()
    listener.close()


def test_ports(start: Start) -> None:
    vm = start("spin", vsock=True)
    with vm.vsock_listen(9), pytest.raises(capsa.ExistsError):
        vm.vsock_listen(9)
    vm.vsock_listen(9, seqpacket=True).close()
    with pytest.raises(capsa.NotFoundError):
        vm.vsock_unlisten(9)
    for wrong in (1 << 32, -1, (1 << 32) - 1):
        with pytest.raises(capsa.InvalidArgumentError):
            vm.vsock_connect(wrong)
    with pytest.raises(capsa.InvalidArgumentError):
        vm.vsock_listen(10, backlog=0)
    with pytest.raises(TimeoutError):
        vm.vsock_connect(1, timeout=0.01)
    vm.kill()
    with pytest.raises(capsa.StateError):
        vm.vsock_connect(1)
    with pytest.raises(capsa.StateError):
        vm.vsock_listen(1)
    with pytest.raises(capsa.UnsupportedError):
        start("spin").vsock_connect(1)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> List[socket.socket]:
    """What the guest would have: the library's answer to vsock_connect is the other end."""
    made: List[socket.socket] = []

    def answer(vm: Any, port: int, flags: int, timeout_ms: int, cancel: Any, fd: Any, error: Any) -> int:
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET if flags else socket.SOCK_STREAM)
        ours.setblocking(False)
        fd._obj.value = ours.detach()
        made.append(theirs)
        return 0

    monkeypatch.setattr(_ffi.lib, "capsa_vm_vsock_connect", answer, raising=False)
    return made


def test_a_connection_is_a_socket(start: Start, peers: List[socket.socket]) -> None:
    vm = start("spin", vsock=True)
    with vm.vsock_connect(1024, timeout=PATIENCE) as stream:
        assert stream.port == 1024 and stream.type == socket.SOCK_STREAM and stream.getblocking()
        with peers[0]:
            peers[0].sendall(b"hello\n")
            peers[0].shutdown(socket.SHUT_WR)
            with stream.makefile("rb") as file:
                assert file.read() == b"hello\n"
            stream.sendall(b"x")
    with vm.vsock_connect(1024, seqpacket=True) as stream, peers[1]:
        peers[1].send(b"one")
        peers[1].send(b"two")
        assert stream.type == socket.SOCK_SEQPACKET and (stream.recv(9), stream.recv(9)) == (b"one", b"two")


def test_connections_of_tasks(start: Start, peers: List[socket.socket]) -> None:
    async def main() -> None:
        vm = aio.VM(start("spin", vsock=True))
        reader, writer = await vm.open_vsock(1024)
        peers[0].sendall(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.write(b"answer\n")
        await writer.drain()
        assert await asyncio.get_running_loop().run_in_executor(None, peers[0].recv, 7) == b"answer\n"
        writer.close()
        await writer.wait_closed()
        assert peers[0].recv(1) == b""
        peers[0].close()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
