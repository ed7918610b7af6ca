/* misuse.c - every function with NULL for every pointer and with every kind of bad handle: a typed error each time. */
#include "abi.h"

static char text[64];

/* Every function of a type, with a handle that must be refused. */

static void refuse_builder(capsa_builder *b) {
    capsa_builder *out = NULL;
    capsa_vm *vm = NULL;
    char *json = NULL;

    FAILS(CAPSA_E_HANDLE, capsa_builder_clone(b, &out, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_name(b, "x", &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_backend(b, "kvm", &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_boot_linux(b, "/k", NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_cmdline_arg(b, "x", &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_cmdline(b, "x", &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_cpus(b, 1, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_memory_mib(b, 64, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_timeout(b, 0, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_console(b, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_isolation(b, 0, 0, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_vsock(b, 1, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_vsock_listen(b, 1, "/x", 0, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_vsock_connect(b, 1, "/x", 0, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_root_dir(b, "/x", 0, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_root_disk(b, "/x", NULL, 0, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_mount(b, "/x", "/y", NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_guest_json(b, "{}", 2, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_to_json(b, &json, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_build(b, &vm, &e));
    capsa_builder_free(b);
    CHECK(!out && !vm && !json);
}

static void refuse_vm(capsa_vm *vm) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_event event = CAPSA_EVENT_INIT;
    capsa_console *console = NULL;
    char *json = NULL;
    uint32_t n = 7;
    int fd = -7;

    FAILS(CAPSA_E_HANDLE, capsa_vm_start(vm, -1, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_wait(vm, -1, NULL, &info, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_exit_json(vm, &json, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_stop(vm, -1, NULL, &n, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_kill(vm, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_pause(vm, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_resume(vm, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_vsock_connect(vm, 1, 0, -1, NULL, &fd, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_vsock_listen(vm, 1, 0, 1, &fd, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_vsock_unlisten(vm, 1, &e));
    capsa_exec_options options = CAPSA_EXEC_OPTIONS_INIT;
    capsa_exec *exec = NULL;
    capsa_output *output = NULL;
    FAILS(CAPSA_E_HANDLE, capsa_vm_wait_ready(vm, -1, NULL, &json, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_exec(vm, &options, -1, NULL, &exec, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_copy_in(vm, "/x", "/y", 0, -1, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_copy_out(vm, "/x", "/y", 0, -1, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_file_read(vm, "/x", -1, NULL, &output, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_file_write(vm, "/x", "y", 1, 0, -1, NULL, &e));
    CHECK(!exec && !output);
    FAILS(CAPSA_E_HANDLE, capsa_vm_state(vm, &n, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_stats_json(vm, &json, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_event_fd(vm, &fd, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_next_event(vm, -1, NULL, &event, &json, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_exit_fd(vm, &fd, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_console(vm, &console, &e));
    capsa_vm_free(vm);
    CHECK(!json && n == 7 && fd == -7 && !console && info.cause == 0 && event.type == 0);
}

static void refuse_exec(capsa_exec *x) {
    capsa_exec_status status = CAPSA_EXEC_STATUS_INIT;
    int fd = -7;

    FAILS(CAPSA_E_HANDLE, capsa_exec_fd(x, 0, &fd, &e));
    FAILS(CAPSA_E_HANDLE, capsa_exec_wait(x, -1, NULL, &status, &e));
    FAILS(CAPSA_E_HANDLE, capsa_exec_signal(x, 9, 0, -1, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_exec_resize(x, 80, 24, -1, NULL, &e));
    capsa_exec_free(x);
    CHECK(fd == -7 && !status.code);
}

static void refuse_console(capsa_console *c) {
    capsa_pattern patterns[] = {CAPSA_LITERAL("x")};
    capsa_match match = CAPSA_MATCH_INIT;
    capsa_output *output = NULL;
    uint64_t lost = 7;
    int32_t status = 7;
    size_t n = 7;
    int fd = -7;

    FAILS(CAPSA_E_HANDLE, capsa_console_fd(c, &fd, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_read(c, -1, NULL, text, sizeof text, &n, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_write(c, -1, NULL, "x", 1, &n, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_expect(c, -1, NULL, patterns, 1, &match, &output, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_run(c, -1, NULL, "true", &status, &output, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_interrupt(c, -1, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_eof(c, -1, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_resize(c, 80, 24, &e));
    FAILS(CAPSA_E_HANDLE, capsa_console_lost(c, &lost, &e));
    capsa_console_free(c);
    CHECK(fd == -7 && n == 7 && status == 7 && lost == 7 && !output);
}

static void refuse_cancel(capsa_cancel *c) {
    FAILS(CAPSA_E_HANDLE, capsa_cancel_trigger(c, &e));
    capsa_cancel_free(c);
}

static void refuse_error(capsa_error *c) {
    size_t len = 7;

    CHECK(capsa_error_code(c) == CAPSA_OK && capsa_error_os_errno(c) == 0);
    CHECK(!*capsa_error_message(c) && !*capsa_error_hint(c) && !*capsa_error_component(c));
    CHECK(!*capsa_error_detail_json(c) && !*capsa_error_console_tail(c, &len) && len == 0);
    capsa_error_free(c);
}

static void refuse_output(capsa_output *o) {
    size_t len = 7;

    CHECK(!*capsa_output_data(o, &len) && len == 0 && capsa_output_missing(o) == 0);
    capsa_output_free(o);
}

static void refuse_everywhere(uint64_t token) {
    void *h = (void *)(uintptr_t)token;

    refuse_builder(h);
    refuse_vm(h);
    refuse_exec(h);
    refuse_console(h);
    refuse_cancel(h);
    refuse_error(h);
    refuse_output(h);
}

/* NULL where a pointer is needed. The handles are good ones, or never looked at. */
static void nulls(capsa_builder *b) {
    capsa_vm *vm = (capsa_vm *)b;
    capsa_console *c = (capsa_console *)b;
    capsa_pattern patterns[] = {CAPSA_LITERAL("x")};
    size_t n;

    FAILS(CAPSA_E_INVALID_ARG, capsa_doctor(NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_cancel_new(NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_new(NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_clone(b, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_name(b, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_backend(b, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_boot_linux(b, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_cmdline_arg(b, NULL, &e));
    OK(capsa_builder_set_cmdline(b, NULL, &e));
    OK(capsa_builder_set_console(b, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_to_json(b, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_from_json(NULL, 0, &b, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_from_json("{}", 2, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_build(b, NULL, &e));
    capsa_exec_options options = CAPSA_EXEC_OPTIONS_INIT;
    capsa_exec *exec = NULL;
    const char *none[1] = {NULL};
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_new_sandbox(NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_root_dir(b, NULL, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_root_dir(b, "/x", 7, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_root_disk(b, NULL, NULL, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_mount(b, NULL, "/y", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_mount(b, "/x", NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_guest_json(b, NULL, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_exec(vm, NULL, 0, NULL, &exec, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_exec(vm, &options, 0, NULL, NULL, &e));
    options.n_args = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_exec(vm, &options, 0, NULL, &exec, &e));
    options.args = none;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_exec(vm, &options, 0, NULL, &exec, &e));
    options.size = 3;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_exec(vm, &options, 0, NULL, &exec, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_exec_fd(exec, 0, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_copy_in(vm, NULL, "/y", 0, 0, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_copy_out(vm, "/x", NULL, 0, 0, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_file_read(vm, "/x", 0, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_file_write(vm, "/x", NULL, 1, 0, 0, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_exit_json(vm, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_connect(vm, 1, 0, -1, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_listen(vm, 1, 0, 1, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_state(vm, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_stats_json(vm, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_event_fd(vm, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_next_event(vm, 0, NULL, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_exit_fd(vm, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_console(vm, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_fd(c, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_read(c, 0, NULL, NULL, 1, &n, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_read(c, 0, NULL, text, 1, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_read(c, 0, NULL, text, 0, &n, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_write(c, 0, NULL, NULL, 1, &n, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_write(c, 0, NULL, "x", 1, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_write(c, 0, NULL, "x", (size_t)1 << 63, &n, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(c, 0, NULL, NULL, 1, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(c, 0, NULL, patterns, 0, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(c, 0, NULL, patterns, 65, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_run(c, 0, NULL, NULL, (int32_t *)&n, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_run(c, 0, NULL, "x", NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_lost(c, NULL, &e));
    CHECK(capsa_has(NULL) == 0);
    capsa_mem_free(NULL);

    /* No error object wanted: the status alone. */
    CHECK(capsa_builder_set_cpus(NULL, 1, NULL) == CAPSA_E_HANDLE);
    CHECK(capsa_builder_set_name(b, NULL, NULL) == CAPSA_E_INVALID_ARG);
}

/* Freed, freed twice, its slot used again. */
static void stale(void) {
    capsa_builder *a = NULL, *b = NULL;
    capsa_cancel *c = NULL;

    OK(capsa_builder_new(&a, &e));
    refuse_vm((capsa_vm *)a); /* of another type; still alive after that */
    refuse_cancel((capsa_cancel *)a);
    refuse_error((capsa_error *)a);
    OK(capsa_builder_set_cpus(a, 2, &e));
    capsa_builder_free(a);
    refuse_builder(a);
    OK(capsa_builder_new(&b, &e));
    CHECK(a != b);
    refuse_builder(a);
    capsa_builder_free(a); /* must not free b, which has a's slot */
    OK(capsa_builder_set_cpus(b, 2, &e));
    capsa_builder_free(b);

    OK(capsa_cancel_new(&c, &e));
    OK(capsa_cancel_trigger(c, &e));
    OK(capsa_cancel_trigger(c, &e));
    capsa_cancel_free(c);
    refuse_cancel(c);

    CHECK(capsa_builder_set_cpus(NULL, 1, &e) == CAPSA_E_HANDLE);
    CHECK(strstr(capsa_error_message(e), "NULL"));
    CHECK(strstr(capsa_error_detail_json(e), "\"kind\":\"bad handle\""));
    capsa_error *old = e;
    refuse_output((capsa_output *)old);
    capsa_error_free(old);
    e = NULL;
    refuse_error(old);
}

/* Statuses and their names. */
static void statuses(void) {
    for (capsa_status s = CAPSA_OK; s >= CAPSA_E_INTERNAL; s--) {
        CHECK(capsa_status_class(s) == s);
        CHECK(strncmp(capsa_status_name(s), "CAPSA_", 6) == 0);
        CHECK(strcmp(capsa_status_name(s), "CAPSA_E_UNKNOWN") != 0);
    }
    CHECK(capsa_status_class(CAPSA_E_INTERRUPTED) == CAPSA_E_CANCELLED);
    CHECK(strcmp(capsa_status_name(CAPSA_E_TIMEOUT), "CAPSA_E_TIMEOUT") == 0);
    CHECK(strcmp(capsa_status_name(CAPSA_E_INTERRUPTED), "CAPSA_E_INTERRUPTED") == 0);
    CHECK(strcmp(capsa_status_name(-22), "CAPSA_E_UNKNOWN") == 0);
    CHECK(strcmp(capsa_status_name(INT32_MIN), "CAPSA_E_UNKNOWN") == 0);
    CHECK(strcmp(capsa_status_name(INT32_MAX), "CAPSA_E_UNKNOWN") == 0);
    CHECK(capsa_version() >> 16 == CAPSA_VERSION_MAJOR);
    CHECK(strcmp(capsa_version_string(), CAPSA_VERSION_STRING) == 0);
    CHECK(capsa_abi_version() == CAPSA_ABI_VERSION);
    CHECK(capsa_has("console") == 1 && capsa_has("time travel") == 0);
}

int main(void) {
    static const uint64_t odd[] = {0,
                                   1,
                                   8,
                                   0xffffff,
                                   1ull << 24,
                                   UINT64_MAX,
                                   INT64_MAX,
                                   1ull << 63,
                                   0x0100000000000001,
                                   0x6100000000fffff0,
                                   0x61ffffffffffffff};
    capsa_builder *b = NULL;
    uint64_t x = 88172645463325252ull; /* xorshift64 (Marsaglia 2003) */

    statuses();
    OK(capsa_builder_new(&b, &e));
    nulls(b);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) refuse_everywhere(odd[i]);
    for (int i = 0; i < 500; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        refuse_everywhere(x);
        refuse_everywhere((x & 0x00ffffffffffffff) | (uint64_t)(1 + x % 5) << 56); /* a kind that exists */
    }
    OK(capsa_builder_set_cpus(b, 1, &e));
    capsa_builder_free(b);
    stale();
    return 0;
}
