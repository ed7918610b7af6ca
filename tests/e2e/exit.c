/* exit.c - how machines end, and what is recorded of it. */
#include "harness.h"

#include <stdlib.h>

TEST(exit, status_of_a_command, 60) {
    guest g = boot_kind(ours);

    CHECK_INT(run(&g, "exit 7", NULL), 7);
    CHECK_INT(run(&g, "true", NULL), 0);
    CHECK_INT(run(&g, "false", NULL), 1);
    CHECK_INT(run(&g, "nosuchcommand", NULL), 127);
    CHECK_INT(run(&g, "sh -c 'kill -9 $$'", NULL), 137);
    discard(&g);
}

/* Types a command that ends the machine, and waits for its record; its JSON is in static memory. */
static const char *end_by(guest g, const char *command, uint32_t cause) {
    static char copy[64 << 10];
    char *json = NULL;

    type(&g, command);
    capsa_exit_info first = ended(&g, cause), again = ended(&g, cause);
    CHECK(!memcmp(&first, &again, sizeof first), "the record changed");
    CHECK(first.uptime_ns > 0, "no uptime");
    CHECK_INT(first.code, 0);
    OK(capsa_vm_exit_json(g.vm, &json, &err));
    snprintf(copy, sizeof copy, "%s", json);
    capsa_mem_free(json);
    printf("  %s\n", copy);
    discard(&g);
    return copy;
}

TEST(exit, poweroff, 60) { end_by(boot_kind(ours), "poweroff", CAPSA_CAUSE_GUEST_SHUTDOWN); }
TEST(exit, poweroff_stock, 60) { end_by(boot_kind(stock), "poweroff", CAPSA_CAUSE_GUEST_SHUTDOWN); }
TEST(exit, reboot, 60) { end_by(boot_kind(ours), "reboot", CAPSA_CAUSE_REBOOT); }
TEST(exit, reboot_stock, 60) { end_by(boot_kind(stock), "reboot", CAPSA_CAUSE_REBOOT); }
TEST(exit, triple_fault, 60) { end_by(boot_kind(ours), "triplefault", CAPSA_CAUSE_TRIPLE_FAULT); }
TEST(exit, triple_fault_stock, 60) { end_by(boot_kind(stock), "triplefault", CAPSA_CAUSE_TRIPLE_FAULT); }

/* Boots with one more argument. */
static guest boot_with(kind k, const char *argument) {
    capsa_builder *b = builder_for(k);

    OK(capsa_builder_cmdline_arg(b, argument, &err));
    return boot(b);
}

static void panics(guest g) {
    const char *json = end_by(g, "crash", CAPSA_CAUSE_PANIC);

    CHECK(strstr(json, "sysrq triggered crash") || strstr(json, "Fatal exception"), "the record is %s", json);
}

TEST(exit, panic, 60) { panics(boot_kind(ours)); }
TEST(exit, panic_stock, 60) { panics(boot_kind(stock)); }

/* A kernel that panics and waits for ever says so to the panic device. */
TEST(exit, panic_without_reboot, 60) { panics(boot_with(ours, "panic=0")); }
TEST(exit, panic_without_reboot_stock, 60) { panics(boot_with(stock, "panic=0")); }

/* A kernel that says that its crash kernel takes over goes on. */
TEST(exit, crash_kernel, 60) {
    guest g = boot_kind(ours);

    must(&g, "crashkernel");
    const char *details = await_event(&g, CAPSA_EVENT_CRASH_KERNEL, NULL);
    CHECK(strstr(details, "\"crash kernel\""), "the event says %s", details);
    CHECK_INT(run(&g, "exit 5", NULL), 5);
    power_off(&g);
}

/* The guest runs out of memory and may not kill anything for it. */
TEST(exit, out_of_memory, 120) {
    end_by(boot_kind(ours),
           "echo 2 >/proc/sys/vm/panic_on_oom; mount -t tmpfs -o size=100% t /tmp; cat /dev/zero >/tmp/all",
           CAPSA_CAUSE_OOM);
}

/* Kill returns within a second, whatever the guest does; under emulation everything takes longer. */
static void kill_quickly(guest *g) {
    double begin = now();

    OK(capsa_vm_kill(g->vm, &err));
    double took = now() - begin;
    printf("  kill took %.3f s\n", took);
    CHECK(took < (emulated() ? 10 : 1), "kill took %.3f s", took);
    ended(g, CAPSA_CAUSE_KILLED);
    OK(capsa_vm_kill(g->vm, &err)); /* once more is no error */
    discard(g);
}

TEST(exit, kill_with_interrupts_off, 60) {
    guest g = start(builder_for((kind){"spin", NULL}));

    await_serial(&g, "spinning");
    kill_quickly(&g);
}

TEST(exit, kill_a_busy_guest, 60) {
    capsa_builder *b = builder_for(ours);

    OK(capsa_builder_set_cpus(b, 2, &err));
    guest g = boot(b);
    type(&g, "while :; do :; done & while :; do :; done");
    kill_quickly(&g);
}

TEST(exit, kill_an_idle_guest, 60) {
    guest g = boot_kind(ours);

    kill_quickly(&g);
}

TEST(exit, timeout, 60) {
    capsa_builder *b = builder_for((kind){"spin", NULL});

    OK(capsa_builder_set_timeout(b, 1500, &err));
    guest g = start(b);
    capsa_exit_info info = ended(&g, CAPSA_CAUSE_TIMED_OUT);
    CHECK(info.uptime_ns >= 1500000000u, "it ended after %llu ns", (unsigned long long)info.uptime_ns);
    discard(&g);
}

/* Stop presses the power button, and a guest that listens shuts down. */
static void stops(kind k) {
    guest g = boot_kind(k);
    uint32_t stage = 99;

    OK(capsa_vm_stop(g.vm, patience(30000), NULL, &stage, &err));
    CHECK_INT(stage, CAPSA_STAGE_POWER_BUTTON);
    ended(&g, CAPSA_CAUSE_STOPPED);
    OK(capsa_vm_stop(g.vm, 0, NULL, &stage, &err));
    CHECK_INT(stage, CAPSA_STAGE_NONE);
    discard(&g);
}

TEST(exit, stop, 60) { stops(ours); }
TEST(exit, stop_stock, 60) { stops(stock); }

TEST(exit, stop_of_a_guest_that_does_not_listen, 60) {
    guest g = start(builder_for((kind){"spin", NULL}));
    uint32_t stage = 99;

    await_serial(&g, "spinning");
    OK(capsa_vm_stop(g.vm, 500, NULL, &stage, &err));
    CHECK_INT(stage, CAPSA_STAGE_KILL);
    ended(&g, CAPSA_CAUSE_KILLED);
    discard(&g);
}

/* A wait that ends early loses nothing. */
TEST(exit, waiting_again, 60) {
    guest g = boot_kind(ours);
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_cancel *cancel = NULL;

    CHECK_INT(capsa_vm_wait(g.vm, 0, NULL, &info, NULL), CAPSA_E_TIMEOUT);
    OK(capsa_cancel_new(&cancel, &err));
    OK(capsa_cancel_trigger(cancel, &err));
    CHECK_INT(capsa_vm_wait(g.vm, -1, cancel, &info, NULL), CAPSA_E_CANCELLED);
    capsa_cancel_free(cancel);
    type(&g, "poweroff");
    ended(&g, CAPSA_CAUSE_GUEST_SHUTDOWN);
    discard(&g);
}
