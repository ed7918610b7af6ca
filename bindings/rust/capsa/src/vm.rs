//! A machine: its life, its end, its numbers.
use crate::builder::bytes;
use crate::console::Console;
use crate::error::{call, text, ErrorKind, Result};
use crate::events::{Event, Events};
use crate::handle::{bytes_of, fd_from, text_from, Handle};
use crate::numbers::{Cause, Stage, State};
use crate::options::{Forward, OpenForward};
use crate::vsock::{self, VsockListener};
use crate::wait::{milliseconds, Wait};
use capsa_sys::*;
use std::ffi::c_int;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Counters of a machine, and its time line, as `capsa.h` explains them.
pub type Stats = capsa_stats;

/// A machine, made by [`Builder::build`](crate::Builder::build). Dropping it ends it.
#[derive(Debug)]
pub struct Vm(Handle<capsa_vm>);

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub cause: Cause,
    /// Exit code of the main program, else 0.
    pub code: i32,
    /// Signal that ended the main program, else 0.
    pub signal: i32,
    /// Time between start and end.
    pub uptime: Duration,
}

/// How long each stage of a stop may take: None for ever, zero leaves it out.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// The guest's agent is asked.
    pub agent: Option<Duration>,
    /// The power button is pressed.
    pub power_button: Option<Duration>,
    /// How long the call waits after the kill; zero: the machine is not killed.
    pub kill: Option<Duration>,
}

impl Default for Grace {
    fn default() -> Self {
        Self { agent: Some(Duration::from_secs(10)), power_button: Some(Duration::from_secs(30)), kill: None }
    }
}

/// How a stop went: the stage that ended the machine, and the time spent in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// That ended the machine.
    pub stage: Stage,
    /// Zero: the stage did not come.
    pub agent: Duration,
    /// As above.
    pub power_button: Duration,
    /// As above.
    pub kill: Duration,
}

/// Counters of one device.
#[derive(Clone, Debug)]
pub struct DeviceStats {
    /// `"console"`, `"disk 0"`.
    pub name: String,
    /// The counters, as `capsa.h` explains them.
    pub counters: capsa_device_stats,
}

impl Vm {
    pub(crate) fn own(handle: Handle<capsa_vm>) -> Self {
        Self(handle)
    }

    pub(crate) fn handle(&self) -> *mut capsa_vm {
        self.0.get()
    }

    /// Runs the machine; returns when its processors run, not when the guest is up.
    pub fn start<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<()> {
        // SAFETY: handles are checked tokens, here and in all calls below; places live during the call.
        wait.into().patiently(|ms, cancel, e| unsafe { capsa_vm_start(self.handle(), ms, cancel, e) })
    }

    /// Waits for the end of the machine, however it ends. Repeatable, from many threads, always the same record.
    ///
    /// The error of a guest that never came up is of [`ErrorKind::Boot`], that of a machine that failed itself of
    /// [`ErrorKind::VmmDied`]; both have the record in [`Error::exit`](crate::Error::exit).
    pub fn wait<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Exit> {
        let mut info = capsa_exit_info::INIT;
        // SAFETY: as above.
        let ended = wait.into().patiently(|ms, cancel, e| unsafe {
            capsa_vm_wait(self.handle(), ms, cancel, &mut info, e)
        });
        let exit = Exit {
            cause: info.cause.into(),
            code: info.code,
            signal: info.signal,
            uptime: Duration::from_nanos(info.uptime_ns),
        };
        match ended {
            Ok(()) => Ok(exit),
            Err(e) if matches!(e.kind(), ErrorKind::Boot | ErrorKind::VmmDied) => Err(e.with_exit(exit)),
            Err(e) => Err(e),
        }
    }

    /// The whole record of an ended machine as JSON, with the text of a kernel panic.
    pub fn exit_json(&self) -> Result<String> {
        // SAFETY: as above.
        text_from(|out, e| unsafe { capsa_vm_exit_json(self.handle(), out, e) })
    }

    /// Asks the guest to shut down, waits up to `grace` (None: for ever), and then kills it; says how far it had to go.
    pub fn stop(&self, grace: Option<Duration>) -> Result<Stage> {
        let mut stage = 0;
        // SAFETY: as above.
        Wait::timeout(grace).patiently(|ms, cancel, e| unsafe {
            capsa_vm_stop(self.handle(), ms, cancel, &mut stage, e)
        })?;
        Ok(stage.into())
    }

    /// Asks the guest's agent, then presses the power button, then kills, each for as long as `grace` says. The wait's own
    /// time is not used, its [`Cancel`](crate::Cancel) is: the requests made so far then stand.
    pub fn stop_in_stages<'a>(&self, grace: Grace, wait: impl Into<Wait<'a>>) -> Result<Outcome> {
        let options = capsa_stop_options {
            agent_ms: milliseconds(grace.agent),
            power_button_ms: milliseconds(grace.power_button),
            kill_ms: milliseconds(grace.kill),
            ..capsa_stop_options::INIT
        };
        let (mut outcome, token) = (capsa_stop_outcome::INIT, wait.into().token());
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_stop_in_stages(self.handle(), &options, token, &mut outcome, e) })?;
        Ok(Outcome {
            stage: outcome.stage.into(),
            agent: Duration::from_nanos(outcome.agent_ns),
            power_button: Duration::from_nanos(outcome.power_button_ns),
            kill: Duration::from_nanos(outcome.kill_ns),
        })
    }

    /// Stops the machine at once, within a second whatever the guest does. One that has ended stays as it is.
    pub fn kill(&self) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_kill(self.handle(), e) })
    }

    /// Stops the processors, which keep their state.
    pub fn pause(&self) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_pause(self.handle(), e) })
    }

    /// Lets paused processors run on.
    pub fn resume(&self) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_resume(self.handle(), e) })
    }

    /// Asks the guest to make do with that many bytes of its memory; 0 ends that. [`Vm::stats`] says how far it is.
    pub fn set_memory_target(&self, bytes: u64) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_set_memory_target(self.handle(), bytes, e) })
    }

    /// Where the machine is in its life.
    pub fn state(&self) -> Result<State> {
        let mut state = 0;
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_state(self.handle(), &mut state, e) })?;
        Ok(state.into())
    }

    /// A new reader and writer of the console, which begins at the oldest output kept.
    pub fn console(&self) -> Result<Console> {
        // SAFETY: as above.
        Handle::new(|out, e| unsafe { capsa_vm_console(self.handle(), out, e) }).map(Console::own)
    }

    /// What the guest wrote to its first serial port: the early log, the text of a panic; the last 64 KiB.
    pub fn boot_log(&self) -> Result<Vec<u8>> {
        // SAFETY: as above.
        let output = Handle::new(|out, e| unsafe { capsa_vm_boot_log(self.handle(), out, e) })?;
        Ok(bytes_of(&output).0)
    }

    /// Connects to a port of the guest. Waits for the guest's driver and for its answer.
    pub fn vsock_connect<'a>(&self, port: u32, wait: impl Into<Wait<'a>>) -> Result<UnixStream> {
        vsock::stream(self.connect(port, 0, wait.into())?)
    }

    /// The same with messages (`SOCK_SEQPACKET`) and not bytes. The descriptor does not block.
    pub fn vsock_connect_packets<'a>(&self, port: u32, wait: impl Into<Wait<'a>>) -> Result<OwnedFd> {
        self.connect(port, CAPSA_VSOCK_SEQPACKET, wait.into())
    }

    fn connect(&self, port: u32, flags: u32, wait: Wait<'_>) -> Result<OwnedFd> {
        let mut fd = -1;
        // SAFETY: as above; a descriptor that is given out is ours.
        unsafe {
            wait.patiently(|ms, cancel, e| capsa_vm_vsock_connect(self.handle(), port, flags, ms, cancel, &mut fd, e))?;
            Ok(std::os::fd::FromRawFd::from_raw_fd(fd))
        }
    }

    /// Listens at a port of the host for the guest's connections; at most `backlog` wait there.
    pub fn vsock_listen(&self, port: u32, backlog: i32) -> Result<VsockListener<'_>> {
        // SAFETY: as above.
        let fd = fd_from(|out, e| unsafe { capsa_vm_vsock_listen(self.handle(), port, 0, backlog, out, e) })?;
        Ok(VsockListener::own(self, port, fd))
    }

    /// Frees a port that the builder bound: the guest is refused there from now on. What is connected stays so.
    pub fn vsock_unlisten(&self, port: u32) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_vsock_unlisten(self.handle(), port, e) })
    }

    /// Opens one more port of the guest to the host's side.
    pub fn add_forward(&self, forward: &Forward) -> Result<OpenForward> {
        let mut info = capsa_forward_info::INIT;
        // SAFETY: as above.
        forward.with(|o| call(|e| unsafe { capsa_vm_add_forward(self.handle(), o, &mut info, e) }))?;
        Ok(OpenForward::of(&info))
    }

    /// Closes a forwarded port. TCP connections that are established go on.
    pub fn remove_forward(&self, id: u32) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_remove_forward(self.handle(), id, e) })
    }

    /// The forwarded ports, those of the builder first, as a JSON list.
    pub fn forwards_json(&self) -> Result<String> {
        // SAFETY: as above.
        text_from(|out, e| unsafe { capsa_vm_forwards_json(self.handle(), out, e) })
    }

    /// Puts another policy in force, at once: flows that it does not allow end.
    pub fn set_policy(&self, json: Option<&str>) -> Result<()> {
        let (data, len) = bytes(json);
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_set_policy_json(self.handle(), data, len, e) })
    }

    /// Plugs the guest's cable in, or pulls it out.
    pub fn set_link(&self, up: bool) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_set_link(self.handle(), c_int::from(up), e) })
    }

    /// Counters and time line; also after the end.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = capsa_stats::INIT;
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_stats(self.handle(), &mut stats, e) })?;
        Ok(stats)
    }

    /// The same in full, as JSON: exits by reason, each device's own counters.
    pub fn stats_json(&self) -> Result<String> {
        // SAFETY: as above.
        text_from(|out, e| unsafe { capsa_vm_stats_json(self.handle(), out, e) })
    }

    /// Counters of one device, counted from 0.
    pub fn device_stats(&self, device: u32) -> Result<DeviceStats> {
        let mut counters = capsa_device_stats::INIT;
        // SAFETY: as above.
        call(|e| unsafe { capsa_vm_device_stats(self.handle(), device, &mut counters, e) })?;
        // SAFETY: the library ends the name with a zero byte.
        Ok(DeviceStats { name: unsafe { text(counters.name.as_ptr()) }, counters })
    }

    /// Counters of all devices.
    pub fn devices(&self) -> Result<Vec<DeviceStats>> {
        (0..self.stats()?.devices).map(|d| self.device_stats(d)).collect()
    }

    /// All counters in the text format of Prometheus.
    pub fn metrics(&self) -> Result<String> {
        // SAFETY: as above.
        text_from(|out, e| unsafe { capsa_vm_metrics(self.handle(), out, e) })
    }

    /// Takes the oldest event; of [`ErrorKind::Closed`] when the machine has ended and all were taken.
    pub fn next_event<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Event> {
        Event::next(self, wait.into())
    }

    /// The events as they come, to the end of the machine.
    pub fn events(&self) -> Events<'_> {
        Events::of(self)
    }

    /// A descriptor that is readable while [`Vm::next_event`] has something, and at its end with the machine's.
    pub fn event_fd(&self) -> Result<OwnedFd> {
        // SAFETY: as above.
        fd_from(|out, e| unsafe { capsa_vm_event_fd(self.handle(), out, e) })
    }

    /// A descriptor that is at its end (readable) once the machine has ended.
    pub fn exit_fd(&self) -> Result<OwnedFd> {
        // SAFETY: as above.
        fd_from(|out, e| unsafe { capsa_vm_exit_fd(self.handle(), out, e) })
    }
}
