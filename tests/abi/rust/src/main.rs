//! A client of the ABI in Rust: errors, threads and a bare guest from start to end.
use capsa_sys::*;
use std::ffi::{CStr, CString};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;

/// A failed call: status and message.
#[derive(Debug)]
struct Failure(capsa_status, String);

fn call(f: impl FnOnce(*mut *mut capsa_error) -> capsa_status) -> Result<(), Failure> {
    let mut err = null_mut();
    let status = f(&mut err);
    if status == CAPSA_OK {
        assert!(err.is_null());
        return Ok(());
    }
    // SAFETY: the library has just made the object; its text lives until the free below.
    let message = unsafe {
        assert_eq!(capsa_error_code(err), status);
        let text = CStr::from_ptr(capsa_error_message(err)).to_string_lossy().into_owned();
        capsa_error_free(err);
        text
    };
    Err(Failure(status, message))
}

/// Owns a handle.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));
// SAFETY: "any function, any handle, any thread" (capsa.h).
unsafe impl<T> Send for Owned<T> {}
unsafe impl<T> Sync for Owned<T> {}
impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        unsafe { (self.1)(self.0) }
    }
}

fn make<T>(
    free: unsafe extern "C" fn(*mut T),
    f: impl FnOnce(*mut *mut T, *mut *mut capsa_error) -> capsa_status,
) -> Result<Owned<T>, Failure> {
    let mut h = null_mut();
    call(|e| f(&mut h, e))?;
    Ok(Owned(h, free))
}

fn text(s: &str) -> CString {
    CString::new(s).expect("no zero byte")
}

fn builder(commands: &str) -> Result<Owned<capsa_builder>, Failure> {
    let guest = text(&std::env::var("CAPSA_TEST_GUEST").expect("CAPSA_TEST_GUEST"));
    let commands = text(commands);
    unsafe {
        let b = make(capsa_builder_free, |out, e| capsa_builder_new(out, e))?;
        call(|e| capsa_builder_boot_linux(b.0, guest.as_ptr(), std::ptr::null(), e))?;
        call(|e| capsa_builder_set_cmdline(b.0, commands.as_ptr(), e))?;
        call(|e| capsa_builder_set_memory_mib(b.0, 32, e))?;
        Ok(b)
    }
}

fn errors() -> Result<(), Failure> {
    unsafe {
        assert_eq!(capsa_abi_version(), CAPSA_ABI_VERSION);
        assert_eq!(capsa_builder_set_cpus(null_mut(), 1, null_mut()), CAPSA_E_HANDLE);
        let b = make(capsa_builder_free, |out, e| capsa_builder_new(out, e))?;
        let Failure(status, message) = call(|e| capsa_builder_set_cpus(b.0, 0, e)).unwrap_err();
        assert_eq!(status, CAPSA_E_INVALID_ARG);
        assert!(message.contains("cpus"), "{message}");
        let options = capsa_console_options { columns: 100, rows: 30, ..capsa_console_options::INIT };
        call(|e| capsa_builder_set_console(b.0, &options, e))?;
        let mut json = null_mut();
        call(|e| capsa_builder_to_json(b.0, &mut json, e))?;
        assert!(CStr::from_ptr(json).to_string_lossy().contains("\"cols\":100"));
        capsa_mem_free(json.cast());
    }
    Ok(())
}

fn machine() -> Result<(), Failure> {
    unsafe {
        let b = builder("print:ready echo off")?;
        let vm = make(capsa_vm_free, |out, e| capsa_builder_build(b.0, out, e))?;
        let console = make(capsa_console_free, |out, e| capsa_vm_console(vm.0, out, e))?;
        call(|e| capsa_vm_start(vm.0, -1, null_mut(), e))?;

        let words = ["never", "rea.y\n"];
        let patterns: Vec<_> = words
            .iter()
            .map(|w| capsa_pattern {
                kind: CAPSA_PATTERN_REGEX,
                data: w.as_ptr().cast(),
                len: w.len(),
                ..capsa_pattern::INIT
            })
            .collect();
        let mut found = capsa_match::INIT;
        call(|e| {
            capsa_console_expect(console.0, 60000, null_mut(), patterns.as_ptr(), 2, &mut found, null_mut(), e)
        })?;
        assert_eq!((found.pattern, found.len), (1, 6));

        let mut fd = -1;
        call(|e| capsa_console_fd(console.0, &mut fd, e))?;
        let mut stream = UnixStream::from_raw_fd(fd);
        stream.set_nonblocking(false).expect("a socket");
        stream.write_all(b"from rust\x04").expect("typed");

        // One thread waits while another one asks.
        let vm = &vm;
        let info = std::thread::scope(|s| {
            let waiter = s.spawn(move || {
                let mut info = capsa_exit_info::INIT;
                call(|e| capsa_vm_wait(vm.0, 60000, null_mut(), &mut info, e)).map(|()| info)
            });
            let mut state = 99;
            call(|e| capsa_vm_state(vm.0, &mut state, e)).expect("a state");
            waiter.join().expect("no panic")
        })?;
        assert_eq!(info.cause, CAPSA_CAUSE_GUEST_SHUTDOWN);
        assert!(info.uptime_ns > 0);
        let mut seen = String::new();
        stream.read_to_string(&mut seen).expect("output");
        assert_eq!(seen, "ready\nfrom rust");
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    errors()?;
    if std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        let required = std::env::var("CAPSA_REQUIRE").unwrap_or_default().contains("kvm");
        eprintln!("no KVM: /dev/kvm cannot be opened");
        std::process::exit(if required { 1 } else { 77 });
    }
    machine()
}
