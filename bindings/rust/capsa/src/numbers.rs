//! The header's numbers with names.
use capsa_sys::*;

macro_rules! numbers {
    ($(#[$top:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:ident),* $(,)? }) => {
        $(#[$top])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A number that this crate does not know.
            Unknown(u32),
        }

        impl From<u32> for $name {
            fn from(value: u32) -> Self {
                match value {
                    $($value => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }
        }
    };
}

numbers!(
    /// States of a machine.
    State {
        /// Built, and not started.
        Created = CAPSA_STATE_CREATED,
        /// On its way to run.
        Starting = CAPSA_STATE_STARTING,
        /// Its processors run.
        Running = CAPSA_STATE_RUNNING,
        /// Its processors are stopped, and can go on.
        Paused = CAPSA_STATE_PAUSED,
        /// On its way to its end.
        Stopping = CAPSA_STATE_STOPPING,
        /// Ended.
        Stopped = CAPSA_STATE_STOPPED,
        /// Ended, because the machine failed.
        Failed = CAPSA_STATE_FAILED,
    }
);
numbers!(
    /// Why a machine ended.
    Cause {
        /// It has not.
        None = CAPSA_CAUSE_NONE,
        /// The guest powered off by itself.
        GuestShutdown = CAPSA_CAUSE_GUEST_SHUTDOWN,
        /// The machine's main program ended.
        MainExited = CAPSA_CAUSE_MAIN_EXITED,
        /// The guest asked for a reboot.
        Reboot = CAPSA_CAUSE_REBOOT,
        /// The guest's kernel panicked.
        Panic = CAPSA_CAUSE_PANIC,
        /// The guest's kernel ran out of memory and panicked.
        Oom = CAPSA_CAUSE_OOM,
        /// It was asked to stop, and the guest complied.
        Stopped = CAPSA_CAUSE_STOPPED,
        /// It was killed.
        Killed = CAPSA_CAUSE_KILLED,
        /// The time of [`Builder::timeout`](crate::Builder::timeout) passed.
        TimedOut = CAPSA_CAUSE_TIMED_OUT,
        /// A fault of the library or the hypervisor.
        VmmCrash = CAPSA_CAUSE_VMM_CRASH,
        /// The kernel never came up.
        BootFailed = CAPSA_CAUSE_BOOT_FAILED,
        /// The guest's processor shut down.
        TripleFault = CAPSA_CAUSE_TRIPLE_FAULT,
    }
);
numbers!(
    /// How far a stop had to go.
    Stage {
        /// The machine had ended before.
        None = CAPSA_STAGE_NONE,
        /// The guest's agent shut it down.
        Agent = CAPSA_STAGE_AGENT,
        /// The guest reacted to its power button.
        PowerButton = CAPSA_STAGE_POWER_BUTTON,
        /// It was killed.
        Kill = CAPSA_STAGE_KILL,
    }
);
numbers!(
    /// What happened to a machine.
    EventType {
        /// A new state; the value is its number.
        State = CAPSA_EVENT_STATE,
        /// The guest is up.
        Ready = CAPSA_EVENT_READY,
        /// The machine has ended; the last event.
        Exited = CAPSA_EVENT_EXITED,
        /// A program in the guest ended.
        ExecExited = CAPSA_EVENT_EXEC_EXITED,
        /// The console has new output.
        ConsoleData = CAPSA_EVENT_CONSOLE_DATA,
        /// A forwarded port listens; the value is the host's port, or 0.
        PortBound = CAPSA_EVENT_PORT_BOUND,
        /// The network policy refused a flow or a name.
        PolicyDeny = CAPSA_EVENT_POLICY_DENY,
        /// The guest ran out of memory.
        Oom = CAPSA_EVENT_OOM,
        /// A line for a log.
        Log = CAPSA_EVENT_LOG,
        /// The value is how many events nobody fetched in time and are gone.
        EventsLost = CAPSA_EVENT_EVENTS_LOST,
        /// The host could not serve a request of a disk; the value is the disk's index.
        DiskError = CAPSA_EVENT_DISK_ERROR,
        /// The guest's kernel panicked and starts the crash kernel it was given. The machine goes on.
        CrashKernel = CAPSA_EVENT_CRASH_KERNEL,
    }
);
