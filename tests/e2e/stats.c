/* stats.c - counters, the time line, metrics, a stop in stages, and the clock after a pause. */
#define _GNU_SOURCE
#include "harness.h"

#include <stdlib.h>
#include <time.h>

TEST(stats, time_line, 60) {
    capsa_builder *b = builder_for(ours);
    capsa_stats s = CAPSA_STATS_INIT;
    char *text = NULL;

    OK(capsa_builder_set_name(b, "a \"name\"", &err));
    OK(capsa_builder_set_cpus(b, 2, &err));
    guest g = boot(b);
    CHECK_INT(run(&g, "exit 3", NULL), 3);
    OK(capsa_vm_stats(g.vm, &s, &err));
    const uint64_t line[] = {
        1, s.created_ns, s.first_instruction_ns, s.first_exit_ns, s.drivers_up_ns, s.console_open_ns};
    for (size_t i = 1; i < sizeof line / sizeof line[0]; i++) {
        printf("  step %zu after %.3f s\n", i, (double)line[i] / 1e9);
        CHECK(line[i] >= line[i - 1], "step %zu comes before the one before it", i);
    }
    CHECK(s.started_ns >= s.created_ns && s.ended_ns == 0, "started %llu", (unsigned long long)s.started_ns);
    CHECK(s.cpus == 2 && s.memory_bytes == 256u << 20 && s.state == CAPSA_STATE_RUNNING, "state %u", s.state);
    CHECK(s.exits == s.exits_io + s.exits_mmio + s.exits_other && s.exits_io && s.exits_mmio, "exits do not add up");

    OK(capsa_metrics(&text, &err));
    const char *const wanted[] = {
        "vm=\"a \\\"name\\\"\",state=\"running\"} 1\n",
        "# TYPE capsa_vm_exits_total counter\n",
        "device=\"console\",direction=\"in\"}",
        "step=\"console_open\"}",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        CHECK(strstr(text, wanted[i]), "the metrics lack %s:\n%s", wanted[i], text);
    capsa_mem_free(text);
    discard(&g);
}

/* A program that takes all memory is killed by the guest's kernel; the host is told, and the guest lives. */
TEST(stats, out_of_memory_kill, 120) {
    capsa_stats s = CAPSA_STATS_INIT;
    capsa_event e = CAPSA_EVENT_INIT;
    char *json = NULL;
    guest g = boot_kind(ours);

    CHECK(run(&g, "tail /dev/zero", NULL) != 0, "256 MiB were enough for everything");
    do {
        capsa_mem_free(json);
        json = NULL;
        OK(capsa_vm_next_event(g.vm, patience(30000), NULL, &e, &json, &err));
    } while (e.type != CAPSA_EVENT_OOM);
    CHECK(strstr(json, "Killed process"), "the event says %s", json);
    printf("  %s\n", json);
    capsa_mem_free(json);
    OK(capsa_vm_stats(g.vm, &s, &err));
    CHECK_INT(s.oom_kills, 1);
    CHECK_INT(run(&g, "exit 4", NULL), 4);
    discard(&g);
}

static void stages(kind k) {
    capsa_stop_outcome outcome = CAPSA_STOP_OUTCOME_INIT;
    guest g = boot_kind(k);

    OK(capsa_vm_stop_in_stages(g.vm, NULL, NULL, &outcome, &err));
    CHECK_INT(outcome.stage, CAPSA_STAGE_POWER_BUTTON);
    CHECK(outcome.power_button_ns > 0 && outcome.kill_ns == 0, "it was killed");
    printf("  power button: %.3f s\n", (double)outcome.power_button_ns / 1e9);
    ended(&g, CAPSA_CAUSE_STOPPED);
    discard(&g);
}

TEST(stats, stop_in_stages, 60) { stages(ours); }
TEST(stats, stop_in_stages_stock, 60) { stages(stock); }

/* By how many seconds the guest's clock is ahead of the host's, as far as the time of asking does not blur it. */
static long long ahead(guest *g) {
    long long from = time(NULL), there = run_number(g, "date +%s"), to = time(NULL);

    return there < from ? there - from : there > to ? there - to : 0;
}

/* After a pause of a minute the guest's clocks are right at once, and it does not take the pause for a fault. */
static void paused_clock(kind k) {
    enum { pause = 60 };
    struct timespec minute = {.tv_sec = pause};
    const char *text;
    capsa_builder *b = builder_for(k);

    OK(capsa_builder_set_cpus(b, 2, &err));
    guest g = boot(b);
    long long before = ahead(&g), up = run_number(&g, "cut -d. -f1 /proc/uptime");
    CHECK(llabs(before) <= 1, "the clock is ahead by %lld s", before);
    CHECK_INT(run(&g, "dmesg -c", NULL), 0);
    OK(capsa_vm_pause(g.vm, &err));
    while (nanosleep(&minute, &minute)) {
    }
    OK(capsa_vm_resume(g.vm, &err));
    long long after = ahead(&g), up_after = run_number(&g, "cut -d. -f1 /proc/uptime");
    printf("  ahead by %lld s before, %lld s after; up %lld s and %lld s\n", before, after, up, up_after);
    CHECK(llabs(after) <= 1, "the clock is ahead by %lld s", after);
    run(&g, "dmesg | grep -iE 'lockup|stall|unstable|blocked for|hung'", &text);
    CHECK_TEXT(text, "");
    discard(&g);
}

TEST(stats, clock_after_a_pause, 150) { paused_clock(ours); }
TEST(stats, clock_after_a_pause_stock, 150) { paused_clock(stock); }
