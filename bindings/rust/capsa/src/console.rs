//! A machine's console.
use crate::error::{call, Error, ErrorKind, Result};
use crate::handle::{bytes_of, fd_from, string, Handle};
use crate::vsock::stream;
use crate::wait::Wait;
use capsa_sys::*;
use std::io;
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;

/// One thing that [`Console::expect`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern<'a> {
    /// The bytes themselves.
    Literal(&'a [u8]),
    /// A regular expression in RE2 syntax. It matches in the shortest output that holds a match: `[0-9]+` takes one digit,
    /// `[0-9]+\r` all of them.
    Regex(&'a str),
}
pub use Pattern::{Literal, Regex};

impl<'a> From<&'a str> for Pattern<'a> {
    fn from(text: &'a str) -> Self {
        Literal(text.as_bytes())
    }
}

/// What [`Console::expect`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which of the patterns.
    pub index: usize,
    /// The output up to the end of the match, which was consumed.
    pub output: Vec<u8>,
    /// Where in it the match begins; it ends with the output.
    pub start: usize,
    /// Bytes of output that were overwritten before they were read.
    pub missing: u64,
}

impl Match {
    /// The text that matched.
    pub fn matched(&self) -> &[u8] {
        &self.output[self.start..]
    }

    /// The output before it.
    pub fn before(&self) -> &[u8] {
        &self.output[..self.start]
    }
}

/// A command that ran in the guest's shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Its exit status.
    pub status: i32,
    /// What it wrote, to both of its outputs.
    pub output: Vec<u8>,
    /// Bytes of output beyond the library's limit, or overwritten before they were read.
    pub missing: u64,
}

/// A reader and writer of a machine's console, with a position of its own that begins at the oldest output kept.
///
/// It is [`Read`](io::Read) and [`Write`](io::Write), also by reference. The machine does not wait for its readers, and
/// what one reads stays there for the others. A console outlives its [`Vm`](crate::Vm): it keeps what it has not read yet.
#[derive(Debug)]
pub struct Console(Handle<capsa_console>);

impl Console {
    pub(crate) fn own(handle: Handle<capsa_console>) -> Self {
        Self(handle)
    }

    /// Waits until one of the patterns appears in the output; the earliest match wins, then the order. Consumes the output
    /// up to the end of the match, and nothing when it fails.
    pub fn expect<'a>(&self, patterns: &[Pattern<'_>], wait: impl Into<Wait<'a>>) -> Result<Match> {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|p| match p {
                Literal(bytes) => (CAPSA_PATTERN_LITERAL, *bytes),
                Regex(text) => (CAPSA_PATTERN_REGEX, text.as_bytes()),
            })
            .map(|(kind, b)| capsa_pattern { kind, data: b.as_ptr().cast(), len: b.len(), ..capsa_pattern::INIT })
            .collect();
        let mut found = capsa_match::INIT;
        let wait = wait.into();
        let output = made(|out| {
            // SAFETY: the handle is a checked token; patterns and places live during the call.
            wait.patiently(|ms, cancel, e| unsafe {
                let (list, n) = (patterns.as_ptr(), patterns.len());
                capsa_console_expect(self.0.get(), ms, cancel, list, n, &mut found, out, e)
            })
        })?;
        let (output, missing) = bytes_of(&output);
        Ok(Match { index: found.pattern as usize, output, start: found.start, missing })
    }

    /// Runs a command line in the shell that waits on the console, whatever its prompt is. When the wait ends early the
    /// command goes on in the guest; [`Console::interrupt`] stops it.
    pub fn run<'a>(&self, command: &str, wait: impl Into<Wait<'a>>) -> Result<Completed> {
        let (command, mut status) = (string("the command", command)?, 0);
        let wait = wait.into();
        let output = made(|out| {
            // SAFETY: as above.
            wait.patiently(|ms, cancel, e| unsafe {
                capsa_console_run(self.0.get(), ms, cancel, command.as_ptr(), &mut status, out, e)
            })
        })?;
        let (output, missing) = bytes_of(&output);
        Ok(Completed { status, output, missing })
    }

    /// Reads what is there, at least one byte; 0 is the end of the console.
    pub fn receive<'a>(&self, buffer: &mut [u8], wait: impl Into<Wait<'a>>) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut len = 0;
        // SAFETY: as above; the buffer has as many bytes as are said.
        wait.into().patiently(|ms, cancel, e| unsafe {
            let (data, cap) = (buffer.as_mut_ptr().cast(), buffer.len());
            capsa_console_read(self.0.get(), ms, cancel, data, cap, &mut len, e)
        })?;
        Ok(len)
    }

    /// Writes to the guest, which may be slow to take it; gives the number of bytes it took before the wait ended.
    pub fn send<'a>(&self, data: &[u8], wait: impl Into<Wait<'a>>) -> Result<usize> {
        let mut written = 0;
        // SAFETY: as above.
        wait.into().patiently(|ms, cancel, e| unsafe {
            capsa_console_write(self.0.get(), ms, cancel, data.as_ptr().cast(), data.len(), &mut written, e)
        })?;
        Ok(written)
    }

    /// Types Ctrl-C.
    pub fn interrupt<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<()> {
        // SAFETY: as above.
        wait.into().patiently(|ms, cancel, e| unsafe { capsa_console_interrupt(self.0.get(), ms, cancel, e) })
    }

    /// Types Ctrl-D, the end of input.
    pub fn eof<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<()> {
        // SAFETY: as above.
        wait.into().patiently(|ms, cancel, e| unsafe { capsa_console_eof(self.0.get(), ms, cancel, e) })
    }

    /// Tells the guest the size of the terminal, both at least 1.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        // SAFETY: as above.
        call(|e| unsafe { capsa_console_resize(self.0.get(), columns, rows, e) })
    }

    /// How much output was overwritten before this console read it.
    pub fn lost(&self) -> Result<u64> {
        let mut bytes = 0;
        // SAFETY: as above.
        call(|e| unsafe { capsa_console_lost(self.0.get(), &mut bytes, e) })?;
        Ok(bytes)
    }

    /// A socket with a position of its own: reads the output from the oldest kept on, and writes input. It blocks.
    pub fn stream(&self) -> Result<UnixStream> {
        // SAFETY: as above.
        stream(fd_from(|out, e| unsafe { capsa_console_fd(self.0.get(), out, e) })?)
    }
}

/// The output that a call makes.
fn made(f: impl FnOnce(&mut *mut capsa_output) -> Result<()>) -> Result<Handle<capsa_output>> {
    let mut raw = null_mut();
    f(&mut raw)?;
    Handle::new(|out, _| {
        // SAFETY: `out` is Handle::new's place for the object.
        unsafe { *out = raw };
        CAPSA_OK
    })
}

/// Reads wait for ever; the end of the console is the end of the file.
impl io::Read for &Console {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer, Wait::FOREVER).map_err(io::Error::from)
    }
}

/// Writes wait until the guest has taken the data, and fail as broken pipes when the machine has ended.
impl io::Write for &Console {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data, Wait::FOREVER).map_err(io::Error::from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As by reference.
impl io::Read for Console {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut &*self, buffer)
    }
}

/// As by reference.
impl io::Write for Console {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut &*self, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<io::Error> for Error {
    /// An [`Error`] that was made one of the standard library is itself again.
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
            Some(own) => own.clone(),
            None if error.raw_os_error().is_some() => Error::os("system call", &error),
            None => Error::new(ErrorKind::Io, error.to_string()),
        }
    }
}
