//! Run Linux virtual machines inside your program.
//!
//! ```no_run
//! use capsa::{Builder, Literal};
//! use std::time::Duration;
//!
//! # fn main() -> capsa::Result<()> {
//! let vm = Builder::new()?.linux("vmlinuz", Some("initrd.cpio"))?.arg("quiet")?.start()?;
//! let console = vm.console()?;
//! console.expect(&[Literal(b"# ")], Duration::from_secs(60))?;
//! let done = console.run("uname -a; exit 7", Duration::from_secs(10))?;
//! assert_eq!(done.status, 7);
//! # Ok(())
//! # }
//! ```
//!
//! [`Builder`] describes machines, [`Vm`] is one, [`Console`] talks with it. Every object owns what it stands for and
//! frees it when it is dropped; a [`Vm`] that is dropped ends its machine. All of them may be shared between threads, and
//! every call may be made at any time from any of them.
//!
//! Calls that wait take a [`Wait`]: a [`Duration`](std::time::Duration), a [`Cancel`] of another thread, both, or
//! [`Wait::FOREVER`]. Nothing is lost when a wait ends early; calling again is always right. A signal handler that ran
//! does not end a wait.
//!
//! Every failure is an [`Error`], which says what failed, on what, why, and in its [`hint`](Error::hint) what to do about
//! it. `capsa.h` is the reference of what happens below.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![deny(unsafe_op_in_unsafe_fn)]

mod builder;
mod console;
mod error;
mod events;
mod handle;
mod library;
mod numbers;
mod options;
mod poll;
mod vm;
mod vsock;
mod wait;

pub use builder::Builder;
pub use console::{Completed, Console, Literal, Match, Pattern, Regex};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Events};
pub use library::{doctor, has, metrics, version};
pub use numbers::{Cause, EventType, Stage, State};
pub use options::{
    Balloon, ConsoleOptions, Disk, DiskFormat, Forward, IdRange, Isolation, Jail, Network, OpenForward, Protocol, Share,
    ShareCache, ShareOwner, ShareXattr,
};
pub use vm::{DeviceStats, Exit, Grace, Outcome, Stats, Vm};
pub use vsock::VsockListener;
pub use wait::{Cancel, Wait};
