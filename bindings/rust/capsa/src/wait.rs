//! Waits.
use crate::error::{call, Result};
use crate::handle::Handle;
use capsa_sys::*;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// Ends waits from another thread: each that was given it, now and from now on, fails with
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
#[derive(Debug)]
pub struct Cancel(Handle<capsa_cancel>);

impl Cancel {
    /// Makes one.
    pub fn new() -> Result<Self> {
        // SAFETY: both places are valid during the call.
        Handle::new(|out, e| unsafe { capsa_cancel_new(out, e) }).map(Self)
    }

    /// Ends the waits. May be repeated.
    pub fn trigger(&self) -> Result<()> {
        // SAFETY: handles are checked tokens.
        call(|e| unsafe { capsa_cancel_trigger(self.0.get(), e) })
    }
}

/// How long a call may wait, and what else ends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait<'a> {
    timeout: Option<Duration>,
    cancel: Option<&'a Cancel>,
}

impl<'a> Wait<'a> {
    /// Until it is done.
    pub const FOREVER: Wait<'static> = Wait { timeout: None, cancel: None };
    /// Not at all: what can be done without waiting is done.
    pub const NOW: Wait<'static> = Wait { timeout: Some(Duration::ZERO), cancel: None };

    /// For so long; None is for ever.
    pub fn timeout(timeout: Option<Duration>) -> Self {
        Self { timeout, cancel: None }
    }

    /// Also until that one is triggered.
    pub fn or(self, cancel: &'a Cancel) -> Self {
        Self { cancel: Some(cancel), ..self }
    }

    pub(crate) fn limit(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn token(&self) -> *mut capsa_cancel {
        self.cancel.map_or(null_mut(), |c| c.0.get())
    }

    /// Calls `attempt` with the milliseconds that are left and the token, again when a signal handler ended it.
    pub(crate) fn patiently(
        self,
        mut attempt: impl FnMut(i64, *mut capsa_cancel, *mut *mut capsa_error) -> capsa_status,
    ) -> Result<()> {
        let begin = Instant::now();
        loop {
            let left = self.timeout.map(|t| t.saturating_sub(begin.elapsed()));
            match call(|e| attempt(milliseconds(left), self.token(), e)) {
                Err(error) if error.status() == CAPSA_E_INTERRUPTED => continue,
                result => return result,
            }
        }
    }
}

impl From<Duration> for Wait<'static> {
    fn from(timeout: Duration) -> Self {
        Wait::timeout(Some(timeout))
    }
}

impl<'a> From<&'a Cancel> for Wait<'a> {
    fn from(cancel: &'a Cancel) -> Self {
        Wait::FOREVER.or(cancel)
    }
}

/// A time as the library takes it, rounded up; None is for ever.
pub(crate) fn milliseconds(time: Option<Duration>) -> i64 {
    time.map_or(-1, |t| i64::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX))
}
