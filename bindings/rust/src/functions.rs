//! The functions of capsa.h.
use super::*;

type Err = *mut *mut capsa_error;

extern "C" {
    pub fn capsa_version() -> u32;
    pub fn capsa_version_string() -> *const c_char;
    pub fn capsa_abi_version() -> u32;
    pub fn capsa_has(feature: *const c_char) -> c_int;
    pub fn capsa_doctor(json: *mut *mut c_char, err: Err) -> capsa_status;
    pub fn capsa_metrics(text: *mut *mut c_char, err: Err) -> capsa_status;
    pub fn capsa_mem_free(p: *mut c_void);

    pub fn capsa_status_name(status: capsa_status) -> *const c_char;
    pub fn capsa_status_class(status: capsa_status) -> capsa_status;
    pub fn capsa_error_code(error: *const capsa_error) -> capsa_status;
    pub fn capsa_error_message(error: *const capsa_error) -> *const c_char;
    pub fn capsa_error_hint(error: *const capsa_error) -> *const c_char;
    pub fn capsa_error_component(error: *const capsa_error) -> *const c_char;
    pub fn capsa_error_os_errno(error: *const capsa_error) -> i32;
    pub fn capsa_error_detail_json(error: *const capsa_error) -> *const c_char;
    pub fn capsa_error_console_tail(error: *const capsa_error, len: *mut usize) -> *const c_char;
    pub fn capsa_error_free(error: *mut capsa_error);

    pub fn capsa_cancel_new(out: *mut *mut capsa_cancel, err: Err) -> capsa_status;
    pub fn capsa_cancel_trigger(cancel: *mut capsa_cancel, err: Err) -> capsa_status;
    pub fn capsa_cancel_free(cancel: *mut capsa_cancel);

    pub fn capsa_builder_new(out: *mut *mut capsa_builder, err: Err) -> capsa_status;
    pub fn capsa_builder_clone(b: *mut capsa_builder, out: *mut *mut capsa_builder, err: Err) -> capsa_status;
    pub fn capsa_builder_free(b: *mut capsa_builder);
    pub fn capsa_builder_set_name(b: *mut capsa_builder, name: *const c_char, err: Err) -> capsa_status;
    pub fn capsa_builder_set_backend(b: *mut capsa_builder, name: *const c_char, err: Err) -> capsa_status;
    pub fn capsa_builder_boot_linux(
        b: *mut capsa_builder,
        kernel_path: *const c_char,
        initrd_path: *const c_char,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_cmdline_arg(b: *mut capsa_builder, arg: *const c_char, err: Err) -> capsa_status;
    pub fn capsa_builder_set_cmdline(b: *mut capsa_builder, cmdline: *const c_char, err: Err) -> capsa_status;
    pub fn capsa_builder_set_cpus(b: *mut capsa_builder, cpus: u32, err: Err) -> capsa_status;
    pub fn capsa_builder_set_memory_mib(b: *mut capsa_builder, mib: u64, err: Err) -> capsa_status;
    pub fn capsa_builder_set_timeout(b: *mut capsa_builder, timeout_ms: i64, err: Err) -> capsa_status;
    pub fn capsa_builder_set_console(
        b: *mut capsa_builder,
        options: *const capsa_console_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_add_disk(
        b: *mut capsa_builder,
        path: *const c_char,
        options: *const capsa_disk_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_add_share(
        b: *mut capsa_builder,
        tag: *const c_char,
        path: *const c_char,
        options: *const capsa_share_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_balloon(
        b: *mut capsa_builder,
        options: *const capsa_balloon_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_isolation(
        b: *mut capsa_builder,
        isolation: u32,
        flags: u32,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_vsock(b: *mut capsa_builder, on: c_int, err: Err) -> capsa_status;
    pub fn capsa_builder_vsock_listen(
        b: *mut capsa_builder,
        port: u32,
        path: *const c_char,
        flags: u32,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_vsock_connect(
        b: *mut capsa_builder,
        port: u32,
        path: *const c_char,
        flags: u32,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_network(
        b: *mut capsa_builder,
        options: *const capsa_network_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_policy_json(
        b: *mut capsa_builder,
        json: *const c_char,
        len: usize,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_add_forward(
        b: *mut capsa_builder,
        options: *const capsa_forward_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_network_new(options: *const capsa_shared_options, out: *mut *mut capsa_network, err: Err) -> capsa_status;
    pub fn capsa_network_free(n: *mut capsa_network);
    pub fn capsa_builder_attach_network(
        b: *mut capsa_builder,
        n: *mut capsa_network,
        options: *const capsa_attach_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_attach_fd(
        b: *mut capsa_builder,
        fd: c_int,
        options: *const capsa_attach_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_attach_tap(
        b: *mut capsa_builder,
        name: *const c_char,
        options: *const capsa_attach_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_network_limits(
        b: *mut capsa_builder,
        limits: *const capsa_network_limits,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_capture(
        b: *mut capsa_builder,
        options: *const capsa_capture_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_attach_fd(vm: *mut capsa_vm, fd: c_int, err: Err) -> capsa_status;
    pub fn capsa_vm_set_network_limits(vm: *mut capsa_vm, limits: *const capsa_network_limits, err: Err) -> capsa_status;
    pub fn capsa_vm_set_capture(vm: *mut capsa_vm, options: *const capsa_capture_options, err: Err) -> capsa_status;
    pub fn capsa_builder_to_json(b: *mut capsa_builder, json: *mut *mut c_char, err: Err) -> capsa_status;
    pub fn capsa_builder_from_json(
        json: *const c_char,
        len: usize,
        out: *mut *mut capsa_builder,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_build(b: *mut capsa_builder, out: *mut *mut capsa_vm, err: Err) -> capsa_status;

    pub fn capsa_vm_start(vm: *mut capsa_vm, timeout_ms: i64, cancel: *mut capsa_cancel, err: Err)
        -> capsa_status;
    pub fn capsa_vm_wait(
        vm: *mut capsa_vm,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        info: *mut capsa_exit_info,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_exit_json(vm: *mut capsa_vm, json: *mut *mut c_char, err: Err) -> capsa_status;
    pub fn capsa_vm_stop(
        vm: *mut capsa_vm,
        grace_ms: i64,
        cancel: *mut capsa_cancel,
        stage: *mut u32,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_stop_in_stages(
        vm: *mut capsa_vm,
        options: *const capsa_stop_options,
        cancel: *mut capsa_cancel,
        outcome: *mut capsa_stop_outcome,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_kill(vm: *mut capsa_vm, err: Err) -> capsa_status;
    pub fn capsa_vm_pause(vm: *mut capsa_vm, err: Err) -> capsa_status;
    pub fn capsa_vm_resume(vm: *mut capsa_vm, err: Err) -> capsa_status;
    pub fn capsa_vm_set_memory_target(vm: *mut capsa_vm, bytes: u64, err: Err) -> capsa_status;
    pub fn capsa_vm_vsock_connect(
        vm: *mut capsa_vm,
        port: u32,
        flags: u32,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        fd: *mut c_int,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_vsock_listen(
        vm: *mut capsa_vm,
        port: u32,
        flags: u32,
        backlog: c_int,
        fd: *mut c_int,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_vsock_unlisten(vm: *mut capsa_vm, port: u32, err: Err) -> capsa_status;
    pub fn capsa_vm_add_forward(
        vm: *mut capsa_vm,
        options: *const capsa_forward_options,
        info: *mut capsa_forward_info,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_remove_forward(vm: *mut capsa_vm, id: u32, err: Err) -> capsa_status;
    pub fn capsa_vm_forwards_json(vm: *mut capsa_vm, json: *mut *mut c_char, err: Err) -> capsa_status;
    pub fn capsa_vm_set_policy_json(vm: *mut capsa_vm, json: *const c_char, len: usize, err: Err) -> capsa_status;
    pub fn capsa_vm_set_link(vm: *mut capsa_vm, up: c_int, err: Err) -> capsa_status;
    pub fn capsa_vm_state(vm: *mut capsa_vm, state: *mut u32, err: Err) -> capsa_status;
    pub fn capsa_vm_stats_json(vm: *mut capsa_vm, json: *mut *mut c_char, err: Err) -> capsa_status;
    pub fn capsa_vm_stats(vm: *mut capsa_vm, stats: *mut capsa_stats, err: Err) -> capsa_status;
    pub fn capsa_vm_device_stats(
        vm: *mut capsa_vm,
        device: u32,
        stats: *mut capsa_device_stats,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_metrics(vm: *mut capsa_vm, text: *mut *mut c_char, err: Err) -> capsa_status;
    pub fn capsa_vm_boot_log(vm: *mut capsa_vm, out: *mut *mut capsa_output, err: Err) -> capsa_status;
    pub fn capsa_vm_event_fd(vm: *mut capsa_vm, fd: *mut c_int, err: Err) -> capsa_status;
    pub fn capsa_vm_next_event(
        vm: *mut capsa_vm,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        event: *mut capsa_event,
        json: *mut *mut c_char,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_exit_fd(vm: *mut capsa_vm, fd: *mut c_int, err: Err) -> capsa_status;
    pub fn capsa_vm_console(vm: *mut capsa_vm, out: *mut *mut capsa_console, err: Err) -> capsa_status;
    pub fn capsa_vm_free(vm: *mut capsa_vm);

    pub fn capsa_builder_new_sandbox(out: *mut *mut capsa_builder, err: Err) -> capsa_status;
    pub fn capsa_builder_set_root_dir(
        b: *mut capsa_builder,
        path: *const c_char,
        overlay: u32,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_root_disk(
        b: *mut capsa_builder,
        path: *const c_char,
        options: *const capsa_disk_options,
        overlay: u32,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_mount(
        b: *mut capsa_builder,
        path: *const c_char,
        target: *const c_char,
        options: *const capsa_share_options,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_builder_set_guest_json(
        b: *mut capsa_builder,
        json: *const c_char,
        len: usize,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_wait_ready(
        vm: *mut capsa_vm,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        info: *mut *mut c_char,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_exec(
        vm: *mut capsa_vm,
        options: *const capsa_exec_options,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        out: *mut *mut capsa_exec,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_exec_fd(exec: *mut capsa_exec, stream: u32, fd: *mut c_int, err: Err) -> capsa_status;
    pub fn capsa_exec_wait(
        exec: *mut capsa_exec,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        status: *mut capsa_exec_status,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_exec_signal(
        exec: *mut capsa_exec,
        signal: i32,
        flags: u32,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_exec_resize(
        exec: *mut capsa_exec,
        columns: u16,
        rows: u16,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_exec_free(exec: *mut capsa_exec);
    pub fn capsa_vm_copy_in(
        vm: *mut capsa_vm,
        from: *const c_char,
        to: *const c_char,
        flags: u32,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_copy_out(
        vm: *mut capsa_vm,
        from: *const c_char,
        to: *const c_char,
        flags: u32,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_file_read(
        vm: *mut capsa_vm,
        path: *const c_char,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        out: *mut *mut capsa_output,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_vm_file_write(
        vm: *mut capsa_vm,
        path: *const c_char,
        data: *const c_void,
        len: usize,
        mode: u32,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        err: Err,
    ) -> capsa_status;

    pub fn capsa_console_fd(console: *mut capsa_console, fd: *mut c_int, err: Err) -> capsa_status;
    pub fn capsa_console_read(
        console: *mut capsa_console,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        buf: *mut c_void,
        cap: usize,
        len: *mut usize,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_console_write(
        console: *mut capsa_console,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        data: *const c_void,
        len: usize,
        written: *mut usize,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_console_expect(
        console: *mut capsa_console,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        patterns: *const capsa_pattern,
        n: usize,
        found: *mut capsa_match,
        output: *mut *mut capsa_output,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_console_run(
        console: *mut capsa_console,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        command: *const c_char,
        exit_status: *mut i32,
        output: *mut *mut capsa_output,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_console_interrupt(
        console: *mut capsa_console,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_console_eof(
        console: *mut capsa_console,
        timeout_ms: i64,
        cancel: *mut capsa_cancel,
        err: Err,
    ) -> capsa_status;
    pub fn capsa_console_resize(console: *mut capsa_console, columns: u16, rows: u16, err: Err) -> capsa_status;
    pub fn capsa_console_lost(console: *mut capsa_console, bytes: *mut u64, err: Err) -> capsa_status;
    pub fn capsa_console_free(console: *mut capsa_console);

    pub fn capsa_output_data(output: *const capsa_output, len: *mut usize) -> *const c_char;
    pub fn capsa_output_missing(output: *const capsa_output) -> u64;
    pub fn capsa_output_free(output: *mut capsa_output);
}
