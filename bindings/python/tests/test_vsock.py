"""Sockets between guest and host. The bare guest has no driver: its side of a listener is played by the test."""
from __future__ import annotations

import signal
import socket
import threading
from typing import Callable, List, Type

import pytest

import capsa

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
