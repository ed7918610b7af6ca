"""A machine: its life, its end, its numbers."""
from __future__ import annotations

import datetime
import json
import math
import socket
from ctypes import byref, c_uint32, c_void_p, string_at
from typing import Any, Dict, Iterator, List, Optional, Union

from . import _bindings as c
from ._ffi import Descriptor, Output, Path, call, fd_from, handle_of, json_from, lib, text_from, unsigned
from ._wait import Cancel, milliseconds, patiently
from .cable import Capture, NetworkLimits, capture_of
from .console import Console
from .enums import Cause, EventType, Stage, State, known
from .errors import CallInterruptedError, ClosedError, FailedError, NotFoundError
from .guest import Guest
from .network import Forward, OpenForward, Policy, forward as forward_of, policy_text
from .records import DeviceStats, Event, ExitInfo, Stats, StopOutcome
from .vsock import VsockListener, VsockStream, flags

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class VM(Guest):
    """A machine, made by Builder.build() or boot(). Leaving ``with``, or forgetting it, ends it.

    Any method may be called from any thread. Those with a timeout (seconds; None is for ever, 0 does not wait) may take
    a Cancel too, and lose nothing when they end early.
    """

    _type = c.capsa_vm
    _free = "capsa_vm_free"

    def start(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> VM:
        """Runs the machine; returns when its processors run, not when the guest is up."""
        patiently(timeout, lambda ms: call(lib.capsa_vm_start, self._handle, ms, handle_of(Cancel, cancel)))
        return self

    def wait(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> ExitInfo:
        """Waits for the end of the machine, however it ends; repeatable, from many threads.

        BootError when the guest never came up, VMMDiedError when the machine's process died; ``exit_info`` of both is
        the record.
        """
        info = c.capsa_exit_info.init()
        try:
            patiently(timeout, lambda ms: call(
                lib.capsa_vm_wait, self._handle, ms, handle_of(Cancel, cancel), byref(info)))
        except FailedError as error:
            error.exit_info = ExitInfo.of(info)
            raise
        return ExitInfo.of(info)

    def exit_record(self) -> Dict[str, Any]:
        """The whole record of an ended machine, with the text of a kernel panic."""
        return json_from(lib.capsa_vm_exit_json, self._handle)

    def stop(self, grace: Optional[float] = 30.0, *, cancel: Optional[Cancel] = None) -> Union[Stage, int]:
        """Asks the guest to shut down, waits up to grace seconds, and then kills it; says how far it had to go."""
        stage, attempts = c_uint32(), 0

        def attempt(ms: int) -> None:
            nonlocal attempts
            attempts += 1
            call(lib.capsa_vm_stop, self._handle, ms, handle_of(Cancel, cancel), byref(stage))

        patiently(grace, attempt)
        if stage.value == Stage.NONE and attempts > 1:
            return self._ended_by(Stage.POWER_BUTTON)
        return known(Stage, stage.value)

    def _ended_by(self, asked: Stage) -> Stage:
        """The stage that ended a machine while a signal was handled, when that was what the guest was last asked."""
        try:
            cause = self.wait(0).cause
        except FailedError:
            return Stage.NONE
        if cause == Cause.KILLED:
            return Stage.KILL
        return asked if cause == Cause.STOPPED else Stage.NONE

    def stop_in_stages(
        self,
        agent: Optional[float] = 10.0,
        power_button: Optional[float] = 30.0,
        kill: Optional[float] = None,
        *,
        cancel: Optional[Cancel] = None,
    ) -> StopOutcome:
        """Asks the guest's agent, then presses the power button, then kills; each for so many seconds (0: not at all).

        kill is how long to wait after the kill; with 0 the machine is not killed. CallTimeoutError then when it has
        not ended; the requests stand.
        """
        options, outcome = c.capsa_stop_options.init(), c.capsa_stop_outcome.init()
        options.agent_ms = milliseconds(agent, "agent")
        options.power_button_ms = milliseconds(power_button, "power_button")
        options.kill_ms = milliseconds(kill, "kill")
        spent = {"agent": 0, "power_button": 0, "kill": 0}
        while True:
            try:
                call(lib.capsa_vm_stop_in_stages, self._handle, byref(options), handle_of(Cancel, cancel),
                     byref(outcome))
                break
            except CallInterruptedError:  # go on where the stages are
                _add(spent, outcome)
                _shorten(options, outcome)
        stage = known(Stage, outcome.stage)
        if stage is Stage.NONE and any(spent.values()):
            stage = self._ended_by(Stage.POWER_BUTTON if spent["power_button"] else Stage.AGENT)
        _add(spent, outcome)
        return StopOutcome(stage, *(ns / 1e9 for ns in spent.values()))

    def kill(self) -> None:
        """Stops the machine at once, within a second whatever the guest does. One that has ended stays as it is."""
        call(lib.capsa_vm_kill, self._handle)

    def pause(self) -> None:
        """Stops the processors, which keep their state."""
        call(lib.capsa_vm_pause, self._handle)

    def resume(self) -> None:
        """Lets paused processors run on."""
        call(lib.capsa_vm_resume, self._handle)

    def set_memory_target(self, size: int) -> None:
        """Asks the guest to make do with that many bytes of its memory; 0 ends that. stats() says how far it is."""
        call(lib.capsa_vm_set_memory_target, self._handle, unsigned(size, 64, "the memory target"))

    @property
    def state(self) -> Union[State, int]:
        """Created, running, paused, ..."""
        state = c_uint32()
        call(lib.capsa_vm_state, self._handle, byref(state))
        return known(State, state.value)

    # ---- Console and sockets

    def console(self) -> Console:
        """A new reader and writer of the console, which begins at the oldest output kept."""
        return Console(self)

    def vsock_connect(
        self,
        port: int,
        *,
        seqpacket: bool = False,
        timeout: Optional[float] = None,
        cancel: Optional[Cancel] = None,
    ) -> VsockStream:
        """Connects to a port of the guest. Waits for the guest's driver and for its answer.

        RefusedError when nobody listens there. With seqpacket the connection carries messages and not bytes.
        """
        number = unsigned(port, 32, "the port")
        with Descriptor() as descriptor:
            patiently(timeout, lambda ms: call(
                lib.capsa_vm_vsock_connect, self._handle, number, flags(seqpacket), ms, handle_of(Cancel, cancel),
                byref(descriptor.place)))
            stream = descriptor.socket(VsockStream)
        stream.port = number
        return stream

    def vsock_listen(self, port: int, backlog: int = 16, *, seqpacket: bool = False) -> VsockListener:
        """Listens at a port of the host for the guest's connections; at most backlog wait there."""
        number = unsigned(port, 32, "the port")
        with Descriptor() as descriptor:
            call(lib.capsa_vm_vsock_listen, self._handle, number, flags(seqpacket), unsigned(backlog, 31, "backlog"),
                 byref(descriptor.place))
            return VsockListener(self, number, descriptor.socket(socket.socket))

    def vsock_unlisten(self, port: int) -> None:
        """Frees a port of vsock_listen(), or one that the builder bound: the guest is refused there from now on."""
        call(lib.capsa_vm_vsock_unlisten, self._handle, unsigned(port, 32, "the port"))

    # ---- Network

    def add_forward(self, forward: Union[Forward, int], **options: Any) -> OpenForward:
        """Opens one more port of the guest to the host's side: a Forward, or a port and what a Forward takes."""
        made, info = forward_of(forward, options).options(), c.capsa_forward_info.init()
        call(lib.capsa_vm_add_forward, self._handle, byref(made), byref(info))
        return OpenForward.of(info)

    def remove_forward(self, forward: Union[OpenForward, int]) -> None:
        """Closes a forwarded port, or the one with that id. TCP connections that are established go on."""
        number = forward.id if isinstance(forward, OpenForward) else forward
        call(lib.capsa_vm_remove_forward, self._handle, unsigned(number, 32, "the forward's id"))

    def forwards(self) -> List[OpenForward]:
        """The forwarded ports, those of the builder first."""
        found: Any = json_from(lib.capsa_vm_forwards_json, self._handle)
        return [OpenForward.of_json(value) for value in found]

    def set_policy(self, policy: Optional[Policy]) -> None:
        """Puts another policy in force, at once: flows that it does not allow end. See Builder.policy()."""
        call(lib.capsa_vm_set_policy_json, self._handle, *policy_text(policy))

    def set_link(self, up: bool) -> None:
        """Plugs the guest's cable in, or pulls it out."""
        call(lib.capsa_vm_set_link, self._handle, int(bool(up)))

    def attach_fd(self, fd: int) -> None:
        """Plugs the guest's cable into another descriptor, for a machine of Builder.attach_fd()."""
        call(lib.capsa_vm_attach_fd, self._handle, unsigned(fd, 31, "the descriptor"))

    def set_network_limits(self, limits: Optional[NetworkLimits] = None, **options: int) -> None:
        """Changes what bounds the guest's network device, at once. See Builder.network_limits()."""
        made = (limits or NetworkLimits(**options)).options()
        call(lib.capsa_vm_set_network_limits, self._handle, byref(made))

    def set_capture(self, to: Union[Capture, Path, int, None]) -> None:
        """Has what passes the guest's network device written to another file from now on; None: not any more."""
        made = None if to is None else byref(capture_of(to).options())
        call(lib.capsa_vm_set_capture, self._handle, made)

    # ---- Numbers

    def stats(self) -> Stats:
        """Counters and time line; also after the end."""
        stats = c.capsa_stats.init()
        call(lib.capsa_vm_stats, self._handle, byref(stats))
        return Stats.of(stats)

    def stats_json(self) -> Dict[str, Any]:
        """The same in full: exits by reason, each device's own counters."""
        return json_from(lib.capsa_vm_stats_json, self._handle)

    def device_stats(self, device: int) -> DeviceStats:
        """Counters of one device, counted from 0."""
        stats = c.capsa_device_stats.init()
        call(lib.capsa_vm_device_stats, self._handle, unsigned(device, 32, "the device"), byref(stats))
        return DeviceStats.of(stats)

    def devices(self) -> List[DeviceStats]:
        """Counters of all devices."""
        found: List[DeviceStats] = []
        while True:
            try:
                found.append(self.device_stats(len(found)))
            except NotFoundError:
                return found

    def metrics(self) -> str:
        """All counters in the text format of Prometheus."""
        return text_from(lib.capsa_vm_metrics, self._handle)

    def boot_log(self) -> bytes:
        """What the guest wrote to its first serial port: the early log, the text of a panic; the last 64 KiB."""
        with Output() as output:
            call(lib.capsa_vm_boot_log, self._handle, byref(output.pointer))
            return output.take()[0]

    # ---- Events

    def next_event(self, timeout: Optional[float] = None, *, cancel: Optional[Cancel] = None) -> Event:
        """Takes the oldest event. ClosedError when the machine has ended and all events were taken."""
        event, details = c.capsa_event.init(), c_void_p()
        try:
            patiently(timeout, lambda ms: call(
                lib.capsa_vm_next_event, self._handle, ms, handle_of(Cancel, cancel), byref(event), byref(details)))
            parsed = json.loads(string_at(details.value)) if details.value else {}
        finally:
            lib.capsa_mem_free(details)
        when = _EPOCH + datetime.timedelta(microseconds=event.time_ns // 1000)
        return Event(known(EventType, event.type), when, event.value, parsed)

    def events(self) -> Iterator[Event]:
        """The events as they come, to the end of the machine."""
        while True:
            try:
                event = self.next_event()
            except ClosedError:
                return
            yield event

    def event_fd(self) -> int:
        """A descriptor that is readable while next_event() has something, and at its end with the machine's.

        It is the caller's to close; a new one each call.
        """
        return fd_from(lib.capsa_vm_event_fd, self._handle)

    def exit_fd(self) -> int:
        """A descriptor that is at its end (readable) once the machine has ended. The caller's; a new one each call."""
        return fd_from(lib.capsa_vm_exit_fd, self._handle)

    def __repr__(self) -> str:
        if self.closed:
            return super().__repr__()
        state = self.state
        return f"<VM {state.name.lower() if isinstance(state, State) else state}>"


def _add(spent: Dict[str, int], outcome: c.capsa_stop_outcome) -> None:
    """Adds the nanoseconds of a stop that went on."""
    for stage in spent:
        spent[stage] += getattr(outcome, stage + "_ns")


def _shorten(options: c.capsa_stop_options, outcome: c.capsa_stop_outcome) -> None:
    """Takes off the time spent; the stages before the one that was reached are over."""
    stages = ("agent", "power_button", "kill")
    reached = max((i for i, s in enumerate(stages) if getattr(outcome, s + "_ns")), default=0)
    for i, stage in enumerate(stages):
        left = getattr(options, stage + "_ms")
        if i < reached:
            left = 0
        elif left > 0:
            left = max(1, left - math.floor(getattr(outcome, stage + "_ns") / 1e6))
        setattr(options, stage + "_ms", left)
