/* machine.c - machines side by side, one after the other, paused, and what they leave behind. */
#define _GNU_SOURCE
#include "harness.h"

#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

TEST(machine, two_at_once, 120) {
    guest a = start(builder_for(ours)), b = start(builder_for(stock));
    const char *text;

    await_text(&a, "capsa# ");
    await_text(&b, "capsa# ");
    CHECK_INT(run(&a, "echo first >/tmp/name; uname -r", &text), 0);
    CHECK(strstr(text, "capsa-guest"), "the first is \"%s\"", text);
    CHECK_INT(run(&b, "test ! -e /tmp/name; uname -r", &text), 0);
    CHECK(strstr(text, "cloud-amd64"), "the second is \"%s\"", text);
    type(&a, "poweroff");
    ended(&a, CAPSA_CAUSE_GUEST_SHUTDOWN);
    CHECK_INT(run(&b, "exit 9", NULL), 9);
    type(&b, "crash");
    ended(&b, CAPSA_CAUSE_PANIC);
    discard(&a);
    discard(&b);
}

/* One builder, several machines. */
TEST(machine, one_builder, 120) {
    capsa_builder *b = builder_for(ours);
    capsa_vm *vm[2] = {NULL, NULL};
    uint32_t state;

    for (int i = 0; i < 2; i++) OK(capsa_builder_build(b, &vm[i], &err));
    guest g = boot(b);
    CHECK_INT(run(&g, "exit 2", NULL), 2);
    OK(capsa_vm_state(vm[0], &state, &err));
    CHECK_INT(state, CAPSA_STATE_CREATED);
    discard(&g);
    for (int i = 0; i < 2; i++) capsa_vm_free(vm[i]);
}

/* ---- Nothing stays behind ----------------------------------------------------------------------------------- */

typedef struct traces {
    long fds, threads, mappings, machine_mappings;
} traces;

static long entries(const char *path) {
    long n = 0;
    DIR *d = opendir(path);

    CHECK(d, "%s cannot be opened", path);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static traces look(void) {
    traces t = {.fds = entries("/proc/self/fd"), .threads = entries("/proc/self/task")};
    char line[4096];
    FILE *f = fopen("/proc/self/maps", "re");

    CHECK(f, "no maps");
    while (fgets(line, sizeof line, f)) {
        t.mappings++;
        t.machine_mappings += strstr(line, "memfd:") || strstr(line, "kvm-vcpu") || strstr(line, "/dev/kvm");
    }
    fclose(f);
    return t;
}

static void live_and_die(capsa_builder *b) {
    capsa_vm *vm = NULL;
    capsa_console *console = NULL;
    int fds[2];

    OK(capsa_builder_build(b, &vm, &err));
    OK(capsa_vm_console(vm, &console, &err));
    OK(capsa_vm_exit_fd(vm, &fds[0], &err));
    OK(capsa_console_fd(console, &fds[1], &err));
    OK(capsa_vm_start(vm, patience(10000), NULL, &err));
    OK(capsa_vm_kill(vm, &err));
    capsa_console_free(console);
    capsa_vm_free(vm);
    close(fds[0]);
    close(fds[1]);
}

TEST(machine, cycles_leave_nothing, 240) {
    enum { warm = 20, cycles = 200 };
    capsa_builder *b = builder_for((kind){"spin", NULL});
    traces before, after;

    OK(capsa_builder_set_cpus(b, 2, &err));
    for (int i = 0; i < warm; i++) /* the runtime makes its threads and heaps */
        live_and_die(b);
    before = look();
    for (int i = 0; i < cycles; i++) live_and_die(b);
    after = look();
    printf("  fds %ld -> %ld, threads %ld -> %ld, mappings %ld -> %ld\n", before.fds, after.fds, before.threads,
           after.threads, before.mappings, after.mappings);
    CHECK_INT(after.fds, before.fds);
    CHECK_INT(after.machine_mappings, 0);
    /* The language runtime may have made a thread (with its stack and guard) or a heap arena meanwhile, but not one
     * a cycle. */
    CHECK(after.threads <= before.threads + 4, "threads %ld -> %ld", before.threads, after.threads);
    CHECK(after.mappings <= before.mappings + 20, "mappings %ld -> %ld", before.mappings, after.mappings);
    capsa_builder_free(b);
}

/* Machines that never start leave nothing either. */
TEST(machine, builds_leave_nothing, 120) {
    capsa_builder *b = builder_for(ours);
    capsa_vm *vm = NULL;
    traces before = {0}, after;

    for (int i = 0; i < 30; i++) {
        OK(capsa_builder_build(b, &vm, &err));
        capsa_vm_free(vm);
        if (i == 5) before = look();
    }
    after = look();
    CHECK_INT(after.fds, before.fds);
    CHECK_INT(after.machine_mappings, 0);
    CHECK(after.threads <= before.threads + 4, "threads %ld -> %ld", before.threads, after.threads);
    capsa_builder_free(b);
}

/* ---- Pause -------------------------------------------------------------------------------------------------- */

TEST(machine, pause, 120) {
    capsa_builder *b = builder_for(ours);
    capsa_pattern tick[] = {CAPSA_LITERAL("tick")};
    capsa_status status = CAPSA_OK;
    uint32_t state;

    OK(capsa_builder_set_cpus(b, 2, &err));
    guest g = boot(b);
    type(&g, "while :; do echo ti''ck; sleep 0.1; done");
    await_text(&g, "tick");
    for (int round = 0; round < 5; round++) {
        OK(capsa_vm_pause(g.vm, &err));
        OK(capsa_vm_state(g.vm, &state, &err));
        CHECK_INT(state, CAPSA_STATE_PAUSED);
        /* What is there is read; then nothing comes any more. */
        while ((status = capsa_console_expect(g.console, 0, NULL, tick, 1, NULL, NULL, NULL)) == CAPSA_OK)
            ;
        CHECK_INT(status, CAPSA_E_TIMEOUT);
        CHECK_INT(capsa_console_expect(g.console, patience(400), NULL, tick, 1, NULL, NULL, NULL), CAPSA_E_TIMEOUT);
        OK(capsa_vm_resume(g.vm, &err));
        await_text(&g, "tick");
    }
    OK(capsa_vm_pause(g.vm, &err));
    REFUSED(capsa_vm_pause(g.vm, &err), CAPSA_E_STATE, "paused");
    OK(capsa_vm_kill(g.vm, &err)); /* a paused machine can be killed */
    ended(&g, CAPSA_CAUSE_KILLED);
    discard(&g);
}

/* ---- Events ------------------------------------------------------------------------------------------------- */

TEST(machine, events, 60) {
    guest g = start(builder_for((kind){"spin", NULL}));
    capsa_event e = CAPSA_EVENT_INIT;
    int events = -1, end = -1, running = 0, exited = 0;
    struct pollfd p[2];

    OK(capsa_vm_event_fd(g.vm, &events, &err));
    OK(capsa_vm_exit_fd(g.vm, &end, &err));
    p[0] = (struct pollfd){.fd = end, .events = POLLIN};
    CHECK_INT(poll(p, 1, 0), 0);
    await_serial(&g, "spinning");
    OK(capsa_vm_kill(g.vm, &err));
    CHECK_INT(poll(p, 1, (int)patience(5000)), 1);
    for (;;) {
        p[1] = (struct pollfd){.fd = events, .events = POLLIN};
        CHECK_INT(poll(p + 1, 1, (int)patience(5000)), 1);
        capsa_status status = capsa_vm_next_event(g.vm, 0, NULL, &e, NULL, NULL);
        if (status == CAPSA_E_CLOSED) break;
        CHECK_INT(status, CAPSA_OK);
        CHECK(!exited, "an event after the last one");
        running += e.type == CAPSA_EVENT_STATE && e.value == CAPSA_STATE_RUNNING;
        if (e.type == CAPSA_EVENT_EXITED) {
            CHECK_INT(e.value, CAPSA_CAUSE_KILLED);
            exited = 1;
        }
    }
    CHECK(running == 1 && exited, "running %d, exited %d", running, exited);
    close(events);
    close(end);
    discard(&g);
}

/* Freeing a machine that runs ends it, and the waits on it. */
TEST(machine, free_while_running, 60) {
    guest g = boot_kind(ours);
    int fd = -1;
    struct pollfd p;

    OK(capsa_vm_exit_fd(g.vm, &fd, &err));
    capsa_vm_free(g.vm);
    p = (struct pollfd){.fd = fd, .events = POLLIN};
    CHECK_INT(poll(&p, 1, (int)patience(5000)), 1);
    close(fd);
    CHECK_INT(capsa_vm_wait(g.vm, 0, NULL, NULL, NULL), CAPSA_E_HANDLE);
    discard(&g);
}
