//! hello KERNEL INITRD COMMAND: boots Linux, runs a command in its shell and ends with the command's exit status.
use capsa_sys::*;
use std::ffi::{CStr, CString};
use std::ptr::null_mut;

/// Calls a function of the library with a place for its error.
fn call(f: impl FnOnce(*mut *mut capsa_error) -> capsa_status) -> Result<(), String> {
    let mut err = null_mut();
    if f(&mut err) == CAPSA_OK {
        return Ok(());
    }
    // SAFETY: the object was just made; its texts live until it is freed.
    unsafe {
        let text = |p| CStr::from_ptr(p).to_string_lossy().into_owned();
        let message = text(capsa_error_message(err)) + "\n" + &text(capsa_error_hint(err));
        capsa_error_free(err);
        Err(message)
    }
}

fn run(kernel: &CStr, initrd: &CStr, command: &CStr) -> Result<i32, String> {
    let (mut builder, mut vm, mut console, mut output) = (null_mut(), null_mut(), null_mut(), null_mut());
    let mut status = 125;
    let prompt = capsa_pattern { kind: CAPSA_PATTERN_LITERAL, data: c"# ".as_ptr().cast(), len: 2, ..capsa_pattern::INIT };
    // SAFETY: all pointers are valid during the calls; handles are tokens.
    unsafe {
        let result = call(|e| capsa_builder_new(&mut builder, e))
            .and_then(|()| call(|e| capsa_builder_boot_linux(builder, kernel.as_ptr(), initrd.as_ptr(), e)))
            .and_then(|()| call(|e| capsa_builder_cmdline_arg(builder, c"quiet".as_ptr(), e)))
            .and_then(|()| call(|e| capsa_builder_build(builder, &mut vm, e)))
            .and_then(|()| call(|e| capsa_vm_start(vm, -1, null_mut(), e)))
            .and_then(|()| call(|e| capsa_vm_console(vm, &mut console, e)))
            .and_then(|()| {
                call(|e| capsa_console_expect(console, 300_000, null_mut(), &prompt, 1, null_mut(), null_mut(), e))
            })
            .and_then(|()| {
                call(|e| {
                    let command = command.as_ptr();
                    capsa_console_run(console, 60_000, null_mut(), command, &mut status, &mut output, e)
                })
            });
        print!("{}", CStr::from_ptr(capsa_output_data(output, null_mut())).to_string_lossy());
        capsa_output_free(output);
        capsa_console_free(console);
        capsa_vm_free(vm);
        capsa_builder_free(builder);
        result.map(|()| status)
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).map(|a| CString::new(a).expect("no zero byte")).collect();
    let status = match &arguments[..] {
        [kernel, initrd, command] => run(kernel, initrd, command),
        _ => Err("usage: hello KERNEL INITRD COMMAND".into()),
    };
    std::process::exit(status.unwrap_or_else(|message| {
        eprintln!("{message}");
        125
    }));
}
