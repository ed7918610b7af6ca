//! The description of a machine.
use crate::error::{call, Result};
use crate::handle::{optional, path, pointer, string, text_from, Handle};
use crate::options::{Balloon, ConsoleOptions, Disk, Forward, Isolation, Network, Share};
use crate::vm::Vm;
use crate::wait::{milliseconds, Wait};
use capsa_sys::*;
use std::ffi::{c_char, c_int};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::Duration;

/// Describes a machine and builds any number of them.
///
/// A new one has 1 processor, 256 MiB, the best backend of the host, and nothing to boot. A method that fails changes
/// nothing; the last call wins.
///
/// ```no_run
/// # fn main() -> capsa::Result<()> {
/// let builder = capsa::Builder::new()?;
/// builder.linux("vmlinuz", Some("initrd.cpio"))?.cpus(2)?.memory_mib(512)?;
/// let (one, another) = (builder.build()?, builder.build()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder(Handle<capsa_builder>);

/// A setter of the header: the handle, `$arg`s, and the place for the error.
macro_rules! set {
    ($self:ident, $function:ident $(, $arg:expr)*) => {{
        // SAFETY: the handle is a checked token; texts and structures live during the call, which copies them.
        call(|e| unsafe { $function($self.0.get() $(, $arg)*, e) })?;
        Ok($self)
    }};
}

impl Builder {
    /// Makes one.
    pub fn new() -> Result<Self> {
        // SAFETY: both places are valid during the call.
        Handle::new(|out, e| unsafe { capsa_builder_new(out, e) }).map(Self)
    }

    /// Makes one from what [`Builder::to_json`] gave. Unknown fields are errors.
    pub fn from_json(json: &str) -> Result<Self> {
        // SAFETY: the bytes live during the call.
        Handle::new(|out, e| unsafe { capsa_builder_from_json(json.as_ptr().cast(), json.len(), out, e) }).map(Self)
    }

    /// A copy that from now on changes by itself.
    pub fn try_clone(&self) -> Result<Self> {
        // SAFETY: the handle is a checked token.
        Handle::new(|out, e| unsafe { capsa_builder_clone(self.0.get(), out, e) }).map(Self)
    }

    /// The description as JSON.
    pub fn to_json(&self) -> Result<String> {
        // SAFETY: the handle is a checked token.
        text_from(|out, e| unsafe { capsa_builder_to_json(self.0.get(), out, e) })
    }

    /// Names the machine, for messages and process listings: up to 64 bytes of printable text.
    pub fn name(&self, name: &str) -> Result<&Self> {
        let name = string("the name", name)?;
        set!(self, capsa_builder_set_name, name.as_ptr())
    }

    /// Chooses the backend: `"kvm"`, or `""` for the best one of the host.
    pub fn backend(&self, name: &str) -> Result<&Self> {
        let name = string("the backend", name)?;
        set!(self, capsa_builder_set_backend, name.as_ptr())
    }

    /// Boots a Linux kernel (bzImage or ELF vmlinux) with an initial RAM disk. The build opens both.
    pub fn linux<P: AsRef<Path>>(&self, kernel: P, initrd: Option<P>) -> Result<&Self> {
        let (kernel, initrd) = (path(kernel)?, optional(initrd, path)?);
        set!(self, capsa_builder_boot_linux, kernel.as_ptr(), pointer(&initrd))
    }

    /// Appends one argument to the kernel command line, after the machine's own; of several values the last wins.
    pub fn arg(&self, arg: &str) -> Result<&Self> {
        let arg = string("the argument", arg)?;
        set!(self, capsa_builder_cmdline_arg, arg.as_ptr())
    }

    /// Gives the whole command line, in place of the machine's own and of all arguments; None goes back to its own.
    pub fn cmdline(&self, cmdline: Option<&str>) -> Result<&Self> {
        let cmdline = optional(cmdline, |c| string("the command line", c))?;
        set!(self, capsa_builder_set_cmdline, pointer(&cmdline))
    }

    /// Sets the number of virtual processors, at least 1.
    pub fn cpus(&self, cpus: u32) -> Result<&Self> {
        set!(self, capsa_builder_set_cpus, cpus)
    }

    /// Sets the guest's memory in MiB.
    pub fn memory_mib(&self, mib: u64) -> Result<&Self> {
        set!(self, capsa_builder_set_memory_mib, mib)
    }

    /// Limits the machine's whole life, from start on; it then ends with [`Cause::TimedOut`](crate::Cause::TimedOut).
    pub fn timeout(&self, timeout: Option<Duration>) -> Result<&Self> {
        set!(self, capsa_builder_set_timeout, timeout.map_or(0, |t| milliseconds(Some(t))))
    }

    /// Sets size and buffer of the console.
    pub fn console(&self, options: &ConsoleOptions) -> Result<&Self> {
        let options = capsa_console_options {
            columns: options.columns,
            rows: options.rows,
            ring_size: options.ring_size,
            ..capsa_console_options::INIT
        };
        set!(self, capsa_builder_set_console, &options)
    }

    /// Adds a disk: `/dev/vda`, `/dev/vdb`... in the order of adding. The build opens and locks it.
    pub fn disk(&self, image: impl AsRef<Path>, options: &Disk) -> Result<&Self> {
        let image = path(image)?;
        // SAFETY: as in set!.
        options.with(|o| call(|e| unsafe { capsa_builder_add_disk(self.0.get(), image.as_ptr(), o, e) }))?;
        Ok(self)
    }

    /// Adds a directory that the guest mounts by its tag: `mount -t virtiofs TAG /mnt`.
    pub fn share(&self, tag: &str, directory: impl AsRef<Path>, options: &Share) -> Result<&Self> {
        let (tag, dir) = (string("the tag", tag)?, path(directory)?);
        // SAFETY: as in set!.
        options.with(|o| call(|e| unsafe { capsa_builder_add_share(self.0.get(), tag.as_ptr(), dir.as_ptr(), o, e) }))?;
        Ok(self)
    }

    /// Sets how memory that the guest does without goes back to the host.
    pub fn balloon(&self, options: Balloon) -> Result<&Self> {
        set!(self, capsa_builder_set_balloon, &options.options())
    }

    /// Chooses the process in which the machine runs, and its jail.
    pub fn isolation(&self, isolation: Isolation) -> Result<&Self> {
        let (isolation, flags) = isolation.numbers();
        set!(self, capsa_builder_set_isolation, isolation, flags)
    }

    /// Gives the machine sockets between guest and host; a bound port does so too.
    pub fn vsock(&self, on: bool) -> Result<&Self> {
        set!(self, capsa_builder_set_vsock, c_int::from(on))
    }

    /// Binds a port of the guest to a path: the host listens there and connects each client to the guest's port.
    pub fn vsock_listen(&self, port: u32, at: impl AsRef<Path>) -> Result<&Self> {
        let at = path(at)?;
        set!(self, capsa_builder_vsock_listen, port, at.as_ptr(), 0)
    }

    /// The same with messages (`SOCK_SEQPACKET`) and not bytes.
    pub fn vsock_listen_packets(&self, port: u32, at: impl AsRef<Path>) -> Result<&Self> {
        let at = path(at)?;
        set!(self, capsa_builder_vsock_listen, port, at.as_ptr(), CAPSA_VSOCK_SEQPACKET)
    }

    /// Binds a port of the host to a path: each connection of the guest to it is one to the unix socket there.
    pub fn vsock_connect(&self, port: u32, to: impl AsRef<Path>) -> Result<&Self> {
        let to = path(to)?;
        set!(self, capsa_builder_vsock_connect, port, to.as_ptr(), 0)
    }

    /// The same with messages (`SOCK_SEQPACKET`) and not bytes.
    pub fn vsock_connect_packets(&self, port: u32, to: impl AsRef<Path>) -> Result<&Self> {
        let to = path(to)?;
        set!(self, capsa_builder_vsock_connect, port, to.as_ptr(), CAPSA_VSOCK_SEQPACKET)
    }

    /// Gives the guest a network; None: none.
    pub fn network(&self, network: Option<&Network>) -> Result<&Self> {
        let Some(network) = network else { return set!(self, capsa_builder_set_network, null()) };
        // SAFETY: as in set!.
        network.with(|o| call(|e| unsafe { capsa_builder_set_network(self.0.get(), o, e) }))?;
        Ok(self)
    }

    /// Says in JSON, whose form `capsa.h` tells, what the guest may reach, and what may reach it. None: everything but the
    /// host itself, and what only the host should reach.
    pub fn policy(&self, json: Option<&str>) -> Result<&Self> {
        let (data, len) = bytes(json);
        set!(self, capsa_builder_set_policy_json, data, len)
    }

    /// Opens a port of the guest to the host's side, from the build to the machine's end.
    pub fn forward(&self, forward: &Forward) -> Result<&Self> {
        // SAFETY: as in set!.
        forward.with(|o| call(|e| unsafe { capsa_builder_add_forward(self.0.get(), o, e) }))?;
        Ok(self)
    }

    /// Checks the description, opens and loads the kernel, and makes the machine; nothing runs yet. The error of a wrong
    /// description is of [`ErrorKind::Config`](crate::ErrorKind::Config) and lists every problem.
    pub fn build(&self) -> Result<Vm> {
        // SAFETY: the handle is a checked token.
        Handle::new(|out, e| unsafe { capsa_builder_build(self.0.get(), out, e) }).map(Vm::own)
    }

    /// Builds a machine and starts it.
    pub fn start(&self) -> Result<Vm> {
        let vm = self.build()?;
        vm.start(Wait::FOREVER)?;
        Ok(vm)
    }
}

/// Pointer and length of a text that may be missing.
pub(crate) fn bytes(text: Option<&str>) -> (*const c_char, usize) {
    text.map_or((null_mut::<c_char>().cast_const(), 0), |t| (t.as_ptr().cast(), t.len()))
}
