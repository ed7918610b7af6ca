//! What happens to a machine.
use crate::error::{text, Error, ErrorKind, Result};
use crate::numbers::EventType;
use crate::vm::Vm;
use crate::wait::Wait;
use capsa_sys::*;
use std::iter::FusedIterator;
use std::ptr::null_mut;
use std::time::{Duration, SystemTime};

/// Something that happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventType,
    /// When.
    pub time: SystemTime,
    /// The new state, the cause of the end, the disk's index...: see [`EventType`].
    pub value: i64,
    /// More of it.
    pub details_json: String,
}

impl Event {
    pub(crate) fn next(vm: &Vm, wait: Wait<'_>) -> Result<Self> {
        let (mut event, mut details) = (capsa_event::INIT, null_mut());
        // SAFETY: the handle is a checked token; the places live during the call, and the text is ours to free.
        unsafe {
            wait.patiently(|ms, cancel, e| capsa_vm_next_event(vm.handle(), ms, cancel, &mut event, &mut details, e))?;
            let details_json = if details.is_null() { "{}".into() } else { text(details) };
            capsa_mem_free(details.cast());
            Ok(Self {
                kind: event.type_.into(),
                time: SystemTime::UNIX_EPOCH + Duration::from_nanos(event.time_ns),
                value: event.value,
                details_json,
            })
        }
    }
}

/// The events of a machine as they come, to its end; after an error there are no more.
#[derive(Debug)]
pub struct Events<'a> {
    vm: &'a Vm,
    over: bool,
}

impl<'a> Events<'a> {
    pub(crate) fn of(vm: &'a Vm) -> Self {
        Self { vm, over: false }
    }
}

impl Iterator for Events<'_> {
    type Item = std::result::Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        match self.vm.next_event(Wait::FOREVER) {
            Ok(event) => Some(Ok(event)),
            Err(error) => {
                self.over = true;
                (error.kind() != ErrorKind::Closed).then_some(Err(error))
            }
        }
    }
}

impl FusedIterator for Events<'_> {}
