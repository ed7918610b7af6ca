/* machine.c - the life of a machine and its console, with a bare guest on /dev/kvm: states, endings, output, input. */
#include "abi.h"

/* What is only possible in certain states. */
static void states(void) {
    capsa_vm *vm = build_guest("spin");
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    uint32_t stage = 99;
    char *json = NULL;

    CHECK(state_of(vm) == CAPSA_STATE_CREATED);
    FAILS(CAPSA_E_STATE, capsa_vm_pause(vm, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_resume(vm, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_stop(vm, 0, NULL, &stage, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_exit_json(vm, &json, &e));
    FAILS(CAPSA_E_TIMEOUT, capsa_vm_wait(vm, 0, NULL, &info, &e));
    CHECK(stage == 99 && !json && info.cause == CAPSA_CAUSE_NONE);

    OK(capsa_vm_start(vm, -1, NULL, &e));
    CHECK(state_of(vm) == CAPSA_STATE_RUNNING);
    FAILS(CAPSA_E_STATE, capsa_vm_start(vm, -1, NULL, &e));
    OK(capsa_vm_pause(vm, &e));
    CHECK(state_of(vm) == CAPSA_STATE_PAUSED);
    FAILS(CAPSA_E_STATE, capsa_vm_pause(vm, &e));
    OK(capsa_vm_resume(vm, &e));
    FAILS(CAPSA_E_TIMEOUT, capsa_vm_wait(vm, 20, NULL, &info, &e));
    OK(capsa_vm_stats_json(vm, &json, &e));
    CHECK(json[0] == '{');
    capsa_mem_free(json);

    OK(capsa_vm_kill(vm, &e));
    OK(capsa_vm_kill(vm, &e));
    CHECK(state_of(vm) == CAPSA_STATE_STOPPED);
    for (int i = 0; i < 3; i++) {
        capsa_exit_info again = CAPSA_EXIT_INFO_INIT;
        OK(capsa_vm_wait(vm, i - 1, NULL, &again, &e));
        CHECK(again.cause == CAPSA_CAUSE_KILLED && again.uptime_ns > 0);
    }
    OK(capsa_vm_wait(vm, 0, NULL, NULL, &e));
    OK(capsa_vm_exit_json(vm, &json, &e));
    CHECK(strstr(json, "\"cause_code\":7"));
    capsa_mem_free(json);
    FAILS(CAPSA_E_STATE, capsa_vm_start(vm, -1, NULL, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_pause(vm, &e));
    OK(capsa_vm_stop(vm, 0, NULL, &stage, &e));
    CHECK(stage == CAPSA_STAGE_NONE);
    capsa_vm_free(vm);
}

/* Each way a guest can end has a record of its own. */
static void endings(void) {
    static const struct {
        const char *commands;
        uint32_t cause;
    } cases[] = {
        {"print:up off", CAPSA_CAUSE_GUEST_SHUTDOWN},
        {"print:up reboot", CAPSA_CAUSE_REBOOT},
        {"print:up triple", CAPSA_CAUSE_TRIPLE_FAULT},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
        capsa_vm *vm = start_guest(cases[i].commands);
        OK(capsa_vm_wait(vm, 30000, NULL, &info, &e));
        if (info.cause != cases[i].cause) fprintf(stderr, "%s: cause %u\n", cases[i].commands, info.cause);
        CHECK(info.cause == cases[i].cause && info.size == sizeof info);
        capsa_vm_free(vm);
    }
}

/* A guest that never came up: the error has the last that it said, the record is there all the same. */
static void failed_boot(void) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_vm *vm = start_guest("serial:early-words triple");
    capsa_output *log = NULL;
    size_t len = 0;

    CHECK(capsa_vm_wait(vm, 30000, NULL, &info, &e) == CAPSA_E_BOOT);
    CHECK(info.cause == CAPSA_CAUSE_BOOT_FAILED);
    const char *tail = capsa_error_console_tail(e, &len);
    CHECK(strstr(tail, "early-words") && len == strlen(tail) && *capsa_error_hint(e));
    capsa_error_free(e);
    e = NULL;
    CHECK(state_of(vm) == CAPSA_STATE_FAILED);
    OK(capsa_vm_boot_log(vm, &log, &e));
    CHECK(strstr(capsa_output_data(log, NULL), "early-words\n"));
    capsa_output_free(log);
    capsa_vm_free(vm);
}

static void power_button(void) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_pattern ready[] = {CAPSA_LITERAL("ready\n")};
    capsa_vm *vm = start_guest("print:ready button off");
    capsa_console *c = NULL;
    uint32_t stage = 99;

    OK(capsa_vm_console(vm, &c, &e));
    OK(capsa_console_expect(c, 30000, NULL, ready, 1, NULL, NULL, &e));
    OK(capsa_vm_stop(vm, 30000, NULL, &stage, &e));
    CHECK(stage == CAPSA_STAGE_POWER_BUTTON);
    OK(capsa_vm_wait(vm, 0, NULL, &info, &e));
    CHECK(info.cause == CAPSA_CAUSE_STOPPED);
    capsa_console_free(c);
    capsa_vm_free(vm);

    vm = start_guest("spin");
    OK(capsa_vm_stop(vm, 10, NULL, &stage, &e));
    CHECK(stage == CAPSA_STAGE_KILL);
    capsa_vm_free(vm);
}

/* Each stage has its own time, and the outcome tells which ended the machine. */
static void stages(void) {
    capsa_stop_options grace = CAPSA_STOP_OPTIONS_INIT;
    capsa_stop_outcome outcome = CAPSA_STOP_OUTCOME_INIT;
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_pattern ready[] = {CAPSA_LITERAL("ready\n")};
    capsa_vm *vm = start_guest("print:ready button off");
    capsa_console *c = NULL;
    char *json = NULL;

    OK(capsa_vm_console(vm, &c, &e));
    OK(capsa_console_expect(c, 30000, NULL, ready, 1, NULL, NULL, &e));
    OK(capsa_vm_stop_in_stages(vm, NULL, NULL, &outcome, &e));
    CHECK(outcome.stage == CAPSA_STAGE_POWER_BUTTON && outcome.size == sizeof outcome);
    CHECK(outcome.power_button_ns > 0 && outcome.kill_ns == 0);
    capsa_console_free(c);
    capsa_vm_free(vm);

    vm = build_guest("spin");
    FAILS(CAPSA_E_STATE, capsa_vm_stop_in_stages(vm, NULL, NULL, NULL, &e));
    OK(capsa_vm_start(vm, -1, NULL, &e));
    grace.flags = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_stop_in_stages(vm, &grace, NULL, &outcome, &e));
    grace.flags = 0;
    grace.power_button_ms = 10;
    grace.kill_ms = 0;
    FAILS(CAPSA_E_TIMEOUT, capsa_vm_stop_in_stages(vm, &grace, NULL, &outcome, &e));
    CHECK(outcome.stage == CAPSA_STAGE_NONE && outcome.power_button_ns >= 10000000);
    CHECK(state_of(vm) == CAPSA_STATE_STOPPING);
    grace.kill_ms = 30000;
    OK(capsa_vm_stop_in_stages(vm, &grace, NULL, &outcome, &e));
    CHECK(outcome.stage == CAPSA_STAGE_KILL && outcome.kill_ns > 0);
    OK(capsa_vm_wait(vm, 0, NULL, &info, &e));
    CHECK(info.cause == CAPSA_CAUSE_KILLED);
    OK(capsa_vm_exit_json(vm, &json, &e));
    CHECK(strstr(json, "no agent") && strstr(json, "power button"));
    capsa_mem_free(json);
    OK(capsa_vm_stop_in_stages(vm, &grace, NULL, &outcome, &e));
    CHECK(outcome.stage == CAPSA_STAGE_NONE && outcome.kill_ns == 0);
    capsa_vm_free(vm);
}

static void memory_target(void) {
    capsa_balloon_options off = CAPSA_BALLOON_OPTIONS_INIT;
    capsa_stats stats = CAPSA_STATS_INIT;
    capsa_builder *b = guest_builder("spin");
    capsa_vm *vm = NULL;

    OK(capsa_builder_build(b, &vm, &e));
    OK(capsa_vm_stats(vm, &stats, &e));
    uint64_t full = stats.memory_bytes;
    CHECK(stats.target_bytes == full && stats.current_bytes == full && stats.resident_bytes > 0);
    OK(capsa_vm_set_memory_target(vm, full / 2, &e));
    OK(capsa_vm_start(vm, -1, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_set_memory_target(vm, full + 1, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_set_memory_target(vm, UINT64_MAX, &e));
    OK(capsa_vm_stats(vm, &stats, &e));
    CHECK(stats.target_bytes == full / 2 && stats.current_bytes == full); /* this guest has no driver */
    CHECK(stats.balloon == 0 && stats.guest_said_ns == 0);
    OK(capsa_vm_set_memory_target(vm, 0, &e));
    OK(capsa_vm_stats(vm, &stats, &e));
    CHECK(stats.target_bytes == full);
    OK(capsa_vm_kill(vm, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_set_memory_target(vm, 0, &e));
    capsa_vm_free(vm);

    off.flags = CAPSA_BALLOON_OFF;
    OK(capsa_builder_set_balloon(b, &off, &e));
    OK(capsa_builder_build(b, &vm, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_set_memory_target(vm, full / 2, &e));
    capsa_vm_free(vm);
    capsa_builder_free(b);
}

static void whole_life_limit(void) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_builder *b = guest_builder("spin");
    capsa_vm *vm = NULL;

    OK(capsa_builder_set_timeout(b, 50, &e));
    OK(capsa_builder_build(b, &vm, &e));
    OK(capsa_vm_start(vm, -1, NULL, &e));
    OK(capsa_vm_wait(vm, 30000, NULL, &info, &e));
    CHECK(info.cause == CAPSA_CAUSE_TIMED_OUT);
    capsa_vm_free(vm);
    capsa_builder_free(b);
}

/* Output is read by any number of readers, from the beginning, and stays readable after the machine. */
static void output(void) {
    capsa_vm *vm = start_guest("print:hello off");
    capsa_console *a = NULL, *b = NULL;
    capsa_pattern patterns[] = {CAPSA_LITERAL("nothing"), CAPSA_REGEX("h[a-z]*o"), CAPSA_LITERAL("hello")};
    capsa_match match = CAPSA_MATCH_INIT;
    capsa_output *text = NULL;
    char buf[4096];
    size_t len = 0, total = 0;

    OK(capsa_vm_console(vm, &a, &e));
    OK(capsa_vm_console(vm, &b, &e));
    OK(capsa_console_expect(a, 30000, NULL, patterns, 3, &match, &text, &e));
    const char *seen = capsa_output_data(text, &len);
    CHECK(match.pattern == 1 && match.len == 5 && match.start + match.len == len);
    CHECK(memcmp(seen + match.start, "hello", 6) == 0 && capsa_output_missing(text) == 0);
    capsa_output_free(text);
    OK(capsa_vm_wait(vm, 30000, NULL, NULL, &e));
    FAILS(CAPSA_E_CLOSED, capsa_console_expect(a, -1, NULL, patterns, 1, NULL, NULL, &e));
    OK(capsa_console_read(a, -1, NULL, buf, sizeof buf, &len, &e));
    CHECK(len == 1 && buf[0] == '\n');
    OK(capsa_console_read(a, -1, NULL, buf, sizeof buf, &len, &e));
    CHECK(len == 0);
    capsa_vm_free(vm);
    do {
        OK(capsa_console_read(b, -1, NULL, buf + total, sizeof buf - total - 1, &len, &e));
        total += len;
    } while (len);
    buf[total] = 0;
    CHECK(strstr(buf, "hello\n"));
    capsa_console_free(a);
    capsa_console_free(b);
}

static void input(void) {
    capsa_vm *vm = start_guest("print:ready echo off");
    capsa_console *c = NULL;
    capsa_pattern ready[] = {CAPSA_LITERAL("ready\n")}, pong[] = {CAPSA_LITERAL("ping")}, bad[] = {CAPSA_REGEX("(")};
    capsa_pattern empty[] = {CAPSA_REGEX("x*")};
    uint64_t lost = 1;
    size_t n = 0;
    char byte;

    OK(capsa_vm_console(vm, &c, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(c, -1, NULL, bad, 1, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(c, -1, NULL, empty, 1, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_resize(c, 0, 24, &e));
    OK(capsa_console_expect(c, 30000, NULL, ready, 1, NULL, NULL, &e));
    FAILS(CAPSA_E_TIMEOUT, capsa_console_expect(c, 0, NULL, pong, 1, NULL, NULL, &e));
    FAILS(CAPSA_E_TIMEOUT, capsa_console_expect(c, 20, NULL, pong, 1, NULL, NULL, &e));
    FAILS(CAPSA_E_TIMEOUT, capsa_console_read(c, 0, NULL, &byte, 1, &n, &e));
    OK(capsa_console_write(c, 0, NULL, "pi", 2, &n, &e));
    CHECK(n == 2);
    OK(capsa_console_write(c, -1, NULL, "ng", 2, &n, &e));
    OK(capsa_console_expect(c, 30000, NULL, pong, 1, NULL, NULL, &e));
    OK(capsa_console_resize(c, 100, 30, &e));
    OK(capsa_console_write(c, -1, NULL, NULL, 0, &n, &e));
    CHECK(n == 0);
    OK(capsa_console_lost(c, &lost, &e));
    CHECK(lost == 0);
    OK(capsa_console_eof(c, -1, NULL, &e));
    OK(capsa_vm_wait(vm, 30000, NULL, NULL, &e));
    capsa_vm_free(vm);
    FAILS(CAPSA_E_CLOSED, capsa_console_write(c, -1, NULL, "x", 1, &n, &e));
    FAILS(CAPSA_E_CLOSED, capsa_console_interrupt(c, -1, NULL, &e));
    capsa_console_free(c);
}

/* A ring smaller than the output: the oldest bytes go, the count of them stays. */
static void overwritten(void) {
    capsa_console_options options = CAPSA_CONSOLE_OPTIONS_INIT;
    capsa_pattern last[] = {CAPSA_LITERAL("done\n")};
    capsa_builder *b = guest_builder("flood:1000 print:done off");
    capsa_vm *vm = NULL;
    capsa_console *c = NULL, *late = NULL;
    uint64_t lost = 0;

    options.ring_size = 4096;
    OK(capsa_builder_set_console(b, &options, &e));
    OK(capsa_builder_build(b, &vm, &e));
    OK(capsa_vm_console(vm, &c, &e));
    OK(capsa_vm_start(vm, -1, NULL, &e));
    OK(capsa_vm_wait(vm, 30000, NULL, NULL, &e));
    OK(capsa_console_expect(c, 0, NULL, last, 1, NULL, NULL, &e));
    OK(capsa_console_lost(c, &lost, &e));
    CHECK(lost > 50000);
    OK(capsa_vm_console(vm, &late, &e));
    OK(capsa_console_expect(late, 0, NULL, last, 1, NULL, NULL, &e));
    OK(capsa_console_lost(late, &lost, &e));
    CHECK(lost == 0);
    capsa_console_free(late);
    capsa_console_free(c);
    capsa_vm_free(vm);
    capsa_builder_free(b);
}

/* What cannot be built says why, and the builder goes on. */
static void unbuildable(void) {
    capsa_builder *b = guest_builder("off");
    capsa_vm *vm = NULL;

    OK(capsa_builder_boot_linux(b, "/nonexistent/kernel", NULL, &e));
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_NOT_FOUND);
    CHECK(strstr(capsa_error_message(e), "/nonexistent/kernel") && capsa_error_os_errno(e) == ENOENT);
    capsa_error_free(e);
    e = NULL;
    OK(capsa_builder_boot_linux(b, "/dev/null", NULL, &e));
    CHECK(capsa_builder_build(b, &vm, &e) != CAPSA_OK && *capsa_error_message(e));
    capsa_error_free(e);
    e = NULL;
    OK(capsa_builder_cmdline_arg(b, "quiet", &e)); /* together with the whole command line */
    FAILS(CAPSA_E_CONFIG, capsa_builder_build(b, &vm, &e));
    CHECK(!vm);
    capsa_builder_free(b);
}

int main(void) {
    need_kvm();
    states();
    endings();
    failed_boot();
    power_button();
    stages();
    memory_target();
    whole_life_limit();
    output();
    input();
    overwritten();
    unbuildable();
    return 0;
}
