//! Handles, and what goes in and out of calls.
use crate::error::{call, text, Error, ErrorKind, Result};
use capsa_sys::*;
use std::ffi::{c_char, c_int, CString};
use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

/// A kind of handle, and how it is freed.
pub(crate) trait Raw {
    const FREE: unsafe extern "C" fn(*mut Self);
}

macro_rules! raw {
    ($($handle:ident: $free:ident),*) => { $(impl Raw for $handle { const FREE: unsafe extern "C" fn(*mut Self) = $free; })* };
}
raw!(
    capsa_cancel: capsa_cancel_free,
    capsa_builder: capsa_builder_free,
    capsa_vm: capsa_vm_free,
    capsa_console: capsa_console_free,
    capsa_output: capsa_output_free
);

/// Owns a handle.
pub(crate) struct Handle<T: Raw>(*mut T);

// SAFETY: a handle is a token, and "any function may be called from any thread at any time, with any handle" (capsa.h).
unsafe impl<T: Raw> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Raw> Sync for Handle<T> {}

impl<T: Raw> Handle<T> {
    /// Owns what a function makes.
    pub(crate) fn new(make: impl FnOnce(*mut *mut T, *mut *mut capsa_error) -> capsa_status) -> Result<Self> {
        let mut made = null_mut();
        call(|e| make(&mut made, e))?;
        Ok(Self(made))
    }

    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

impl<T: Raw> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it any more.
        unsafe { T::FREE(self.0) }
    }
}

impl<T: Raw> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0 as usize)
    }
}

/// A text for C.
pub(crate) fn string(what: &str, value: impl AsRef<[u8]>) -> Result<CString> {
    CString::new(value.as_ref()).map_err(|_| Error::new(ErrorKind::InvalidArg, format!("{what} has a zero byte in it")))
}

/// A path for C.
pub(crate) fn path(value: impl AsRef<Path>) -> Result<CString> {
    string("the path", value.as_ref().as_os_str().as_bytes())
}

/// A text or path that may be missing.
pub(crate) fn optional<T>(value: Option<T>, to: impl FnOnce(T) -> Result<CString>) -> Result<Option<CString>> {
    value.map(to).transpose()
}

/// The pointer to a text that may be missing.
pub(crate) fn pointer(value: &Option<CString>) -> *const c_char {
    value.as_ref().map_or(null(), |s| s.as_ptr())
}

/// Texts for C, and the pointers to them.
pub(crate) fn strings(what: &str, values: &[String]) -> Result<(Vec<CString>, Vec<*const c_char>)> {
    let owned = values.iter().map(|v| string(what, v)).collect::<Result<Vec<_>>>()?;
    let pointers = owned.iter().map(|s| s.as_ptr()).collect();
    Ok((owned, pointers))
}

/// The text that a call gives out.
pub(crate) fn text_from(f: impl FnOnce(*mut *mut c_char, *mut *mut capsa_error) -> capsa_status) -> Result<String> {
    let mut raw = null_mut();
    call(|e| f(&mut raw, e))?;
    // SAFETY: the call has just made the text, which is ours to free.
    unsafe {
        let copy = text(raw);
        capsa_mem_free(raw.cast());
        Ok(copy)
    }
}

/// The descriptor that a call gives out.
pub(crate) fn fd_from(f: impl FnOnce(*mut c_int, *mut *mut capsa_error) -> capsa_status) -> Result<OwnedFd> {
    let mut fd = -1;
    call(|e| f(&mut fd, e))?;
    // SAFETY: it belongs to the caller (capsa.h).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The bytes of an output, and how many are missing.
pub(crate) fn bytes_of(output: &Handle<capsa_output>) -> (Vec<u8>, u64) {
    let mut len = 0;
    // SAFETY: the bytes live as long as the output does.
    unsafe {
        let data = capsa_output_data(output.get(), &mut len);
        (std::slice::from_raw_parts(data.cast(), len).to_vec(), capsa_output_missing(output.get()))
    }
}
