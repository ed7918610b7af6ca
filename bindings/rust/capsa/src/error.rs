//! What failed calls give.
use crate::vm::Exit;
use capsa_sys::*;
use std::ffi::{c_char, CStr};
use std::{fmt, io};

/// The result of a call of the library.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $class:ident),* $(,)?) => {
        /// The class of an [`Error`]: the `CAPSA_E_...` of the header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
            /// A class that this crate does not know.
            Unknown(i32),
        }

        impl ErrorKind {
            fn of(class: capsa_status) -> Self {
                match class {
                    $($class => Self::$name,)*
                    other => Self::Unknown(other),
                }
            }

            fn class(self) -> capsa_status {
                match self {
                    $(Self::$name => $class,)*
                    Self::Unknown(class) => class,
                }
            }
        }
    };
}
kinds!(
    /// An argument is wrong by itself.
    InvalidArg = CAPSA_E_INVALID_ARG,
    /// The object is not what it should be: a fault of this crate.
    Handle = CAPSA_E_HANDLE,
    /// Not possible in this state of the machine.
    State = CAPSA_E_STATE,
    /// The description is wrong; [`Error::detail_json`] lists every problem.
    Config = CAPSA_E_CONFIG,
    /// This backend, host or build cannot do it.
    Unsupported = CAPSA_E_UNSUPPORTED,
    /// No `/dev/kvm`, no permission for it; an image that is in use.
    Unavailable = CAPSA_E_UNAVAILABLE,
    /// A named thing does not exist.
    NotFound = CAPSA_E_NOT_FOUND,
    /// A named thing exists already.
    Exists = CAPSA_E_EXISTS,
    /// The operating system refused.
    Permission = CAPSA_E_PERMISSION,
    /// Out of memory.
    NoMemory = CAPSA_E_NO_MEMORY,
    /// A limit of the library or the system.
    Limit = CAPSA_E_LIMIT,
    /// The time of a wait passed.
    Timeout = CAPSA_E_TIMEOUT,
    /// The wait's [`Cancel`](crate::Cancel) was triggered.
    Cancelled = CAPSA_E_CANCELLED,
    /// The stream has ended.
    Closed = CAPSA_E_CLOSED,
    /// A system call failed; [`Error::os_errno`] says how.
    Io = CAPSA_E_IO,
    /// The kernel could not be loaded or did not come up.
    Boot = CAPSA_E_BOOT,
    /// The guest answered no.
    Guest = CAPSA_E_GUEST,
    /// The guest answered nonsense.
    Protocol = CAPSA_E_PROTOCOL,
    /// The machine failed through a fault of the library, or its own process died.
    VmmDied = CAPSA_E_VMM_DIED,
    /// Used in a child of `fork()`.
    Forked = CAPSA_E_FORKED,
    /// A fault of the library; the message has a stack trace.
    Internal = CAPSA_E_INTERNAL,
);

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: static memory, for every number.
        f.write_str(unsafe { CStr::from_ptr(capsa_status_name(self.class())) }.to_str().unwrap_or("CAPSA_E_UNKNOWN"))
    }
}

/// A call of the library that failed. Displayed it is the message and, on a line of its own, the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    status: capsa_status,
    kind: ErrorKind,
    message: String,
    hint: String,
    component: String,
    os_errno: i32,
    detail_json: String,
    console_tail: Vec<u8>,
    exit: Option<Exit>,
}

impl Error {
    /// What a program looks at.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The number that the call returned, with its detail.
    pub fn status(&self) -> i32 {
        self.0.status
    }

    /// What failed, on what, and why; one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What a person can do about it, or `""`.
    pub fn hint(&self) -> &str {
        &self.0.hint
    }

    /// The part of the library: `"kvm"`, `"boot"`, `"console"`..., or `""`.
    pub fn component(&self) -> &str {
        &self.0.component
    }

    /// errno of the failed system call, or 0.
    pub fn os_errno(&self) -> i32 {
        self.0.os_errno
    }

    /// More for programs: `{"problems":[{"field","message","hint"}]...}`.
    pub fn detail_json(&self) -> &str {
        &self.0.detail_json
    }

    /// The last output (up to 4 KiB) of a guest that did not come up.
    pub fn console_tail(&self) -> &[u8] {
        &self.0.console_tail
    }

    /// The record of the machine, when [`Vm::wait`](crate::Vm::wait) failed because the machine did.
    pub fn exit(&self) -> Option<Exit> {
        self.0.exit
    }

    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.0.exit = Some(exit);
        self
    }

    /// An error of this crate's own making.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status: kind.class(),
            kind,
            message: message.into(),
            hint: String::new(),
            component: String::new(),
            os_errno: 0,
            detail_json: "{}".into(),
            console_tail: Vec::new(),
            exit: None,
        }))
    }

    /// A system call of this crate's that failed.
    pub(crate) fn os(what: &str, error: &io::Error) -> Self {
        let mut made = Self::new(ErrorKind::Io, format!("{what}: {error}"));
        made.0.os_errno = error.raw_os_error().unwrap_or(0);
        made
    }

    /// Takes over an error object.
    fn from_raw(status: capsa_status, raw: *mut capsa_error) -> Self {
        // SAFETY: the texts are never NULL and live until the object is freed, below; for NULL they are empty.
        unsafe {
            let mut len = 0;
            let tail = capsa_error_console_tail(raw, &mut len);
            let made = Self(Box::new(Inner {
                status,
                kind: ErrorKind::of(capsa_status_class(status)),
                message: text(capsa_error_message(raw)),
                hint: text(capsa_error_hint(raw)),
                component: text(capsa_error_component(raw)),
                os_errno: capsa_error_os_errno(raw),
                detail_json: text(capsa_error_detail_json(raw)),
                console_tail: std::slice::from_raw_parts(tail.cast(), len).to_vec(),
                exit: None,
            }));
            capsa_error_free(raw);
            made
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.hint.is_empty() {
            write!(f, "\n{}", self.0.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    /// Of the kind that such a failure usually is, with the [`Error`] inside; a failed system call by its errno alone.
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::InvalidArg | ErrorKind::Config => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::Exists => io::ErrorKind::AlreadyExists,
            ErrorKind::Permission => io::ErrorKind::PermissionDenied,
            ErrorKind::NoMemory => io::ErrorKind::OutOfMemory,
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Cancelled if error.status() == CAPSA_E_INTERRUPTED => io::ErrorKind::Interrupted,
            ErrorKind::Closed => io::ErrorKind::BrokenPipe,
            ErrorKind::Io if error.os_errno() != 0 => return io::Error::from_raw_os_error(error.os_errno()),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A copy of a text of the library.
///
/// # Safety
/// `p` points to a terminated text.
pub(crate) unsafe fn text(p: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned()
}

/// Makes a call with a place for its error.
pub(crate) fn call(f: impl FnOnce(*mut *mut capsa_error) -> capsa_status) -> Result<()> {
    let mut raw = std::ptr::null_mut();
    match f(&mut raw) {
        CAPSA_OK => Ok(()),
        status => Err(Error::from_raw(status, raw)),
    }
}
