/* reclaim.c - memory that the guest does without goes back to the host: by itself, and when it is asked for. */
#define _GNU_SOURCE
#include "harness.h"

#include <poll.h>
#include <stdlib.h>

#define MIB (1ull << 20)

static capsa_stats look(guest *g) {
    capsa_stats s = CAPSA_STATS_INIT;

    OK(capsa_vm_stats(g->vm, &s, &err));
    return s;
}

/* Memory of this process that is resident, as the kernel counts it. */
static uint64_t process_memory(void) {
    unsigned long long kib = 0;
    char line[256];
    FILE *f = fopen("/proc/self/smaps_rollup", "re");

    CHECK(f, "no smaps_rollup");
    while (!kib && fgets(line, sizeof line, f)) sscanf(line, "Rss: %llu kB", &kib);
    fclose(f);
    CHECK(kib, "no Rss");
    return kib << 10;
}

static void print_memory(const char *when, guest *g) {
    capsa_stats s = look(g);

    printf("  %s: resident %llu MiB, process %llu MiB, current %llu of %llu MiB, reported %llu MiB\n", when,
           (unsigned long long)(s.resident_bytes / MIB), (unsigned long long)(process_memory() / MIB),
           (unsigned long long)(s.current_bytes / MIB), (unsigned long long)(s.memory_bytes / MIB),
           (unsigned long long)(s.reported_bytes / MIB));
}

/* Waits until the guest takes at most so much of the host. Nothing tells when: looking again is all one can do, and the
 * test's limit ends it. */
static double await_resident(guest *g, uint64_t most) {
    double begin = now();

    while (look(g).resident_bytes > most) poll(NULL, 0, 100);
    return now() - begin;
}

/* Waits until the guest makes do with what it was asked to. */
static double await_target(guest *g) {
    double begin = now();

    for (capsa_stats s = look(g); s.current_bytes != s.target_bytes; s = look(g)) poll(NULL, 0, 100);
    return now() - begin;
}

/* Fills a file in memory, and removes it. */
static void touch_and_free(guest *g, unsigned mib) {
    char command[256];

    must(g, "mkdir -p /ram && mount -t tmpfs -o size=90% none /ram");
    snprintf(command, sizeof command, "dd if=/dev/zero of=/ram/file bs=1M count=%u 2>/dev/null", mib);
    must(g, command);
    print_memory("touched", g);
    uint64_t want = mib * MIB;
    CHECK(look(g).resident_bytes >= want, "the guest has not touched %u MiB", mib);
    CHECK(process_memory() >= want, "the process has not %u MiB", mib);
    must(g, "rm /ram/file && umount /ram && echo 3 >/proc/sys/vm/drop_caches");
}

static capsa_builder *machine(kind k, uint64_t mib, uint32_t flags) {
    capsa_builder *b = builder_for(k);
    capsa_balloon_options o = CAPSA_BALLOON_OPTIONS_INIT;

    o.flags = flags;
    OK(capsa_builder_set_memory_mib(b, mib, &err));
    OK(capsa_builder_set_balloon(b, &o, &err));
    return b;
}

/* ---- By itself ---------------------------------------------------------------------------------------------- */

static void free_memory_comes_back(kind k, uint64_t memory, unsigned mib) {
    guest g = boot(machine(k, memory, 0));

    print_memory("up", &g);
    CHECK_INT(look(&g).balloon, 2);
    touch_and_free(&g, mib);
    uint64_t peak = look(&g).resident_bytes, process = process_memory(), gone = mib * MIB * 9 / 10;
    printf("  back after %.1f s\n", await_resident(&g, peak - gone));
    print_memory("freed", &g);
    CHECK(process_memory() <= process - gone, "the process still has %llu MiB",
          (unsigned long long)(process_memory() / MIB));
    CHECK(look(&g).reported_bytes >= gone, "reported %llu", (unsigned long long)look(&g).reported_bytes);
    /* What came back is as good as before. */
    must(&g, "dd if=/dev/urandom of=/tmp/a bs=1M count=16 2>/dev/null && cp /tmp/a /tmp/b && cmp /tmp/a /tmp/b");
    type(&g, "poweroff");
    ended(&g, CAPSA_CAUSE_GUEST_SHUTDOWN);
    discard(&g);
}

TEST(reclaim, a_freed_gibibyte, 240) { free_memory_comes_back(ours, 2048, 1024); }

TEST(reclaim, stock_kernel, 240) { free_memory_comes_back(stock, 768, 256); }

/* Pages with a pattern (init_on_free makes it zeroes) go back as well. */
TEST(reclaim, init_on_free, 240) {
    capsa_builder *b = machine(ours, 768, 0);

    OK(capsa_builder_cmdline_arg(b, "init_on_free=1", &err));
    guest g = boot(b);
    CHECK_INT(look(&g).balloon, 2);
    touch_and_free(&g, 256);
    uint64_t peak = look(&g).resident_bytes;
    await_resident(&g, peak - 230 * MIB);
    discard(&g);
}

/* ---- When it is asked for ----------------------------------------------------------------------------------- */

/* A guest that reports nothing keeps what it has freed, until it is asked. */
TEST(reclaim, memory_target, 240) {
    guest g = boot(machine(ours, 1024, CAPSA_BALLOON_NO_REPORTING));

    CHECK_INT(look(&g).balloon, 1);
    touch_and_free(&g, 512);
    CHECK(look(&g).resident_bytes >= 512 * MIB, "it has given memory back");
    uint64_t process = process_memory();
    OK(capsa_vm_set_memory_target(g.vm, 256 * MIB, &err));
    printf("  256 MiB after %.1f s\n", await_target(&g));
    print_memory("shrunk", &g);
    CHECK(look(&g).resident_bytes <= 256 * MIB, "resident %llu", (unsigned long long)look(&g).resident_bytes);
    CHECK(process_memory() <= process - 300 * MIB, "the process has %llu MiB",
          (unsigned long long)(process_memory() / MIB));
    long long available = run_number(&g, "awk '/MemAvailable/{print $2}' /proc/meminfo");
    CHECK(available < 256 * 1024, "%lld KiB are available to the guest", available);

    OK(capsa_vm_set_memory_target(g.vm, 0, &err));
    printf("  all after %.1f s\n", await_target(&g));
    CHECK_INT(look(&g).current_bytes, 1024 * MIB);
    CHECK(look(&g).deflated_bytes >= 700 * MIB, "deflated %llu", (unsigned long long)look(&g).deflated_bytes);
    touch_and_free(&g, 700);
    REFUSED(capsa_vm_set_memory_target(g.vm, 1024 * MIB + 1, &err), CAPSA_E_INVALID_ARG, "more");
    discard(&g);
}

/* A target of before the start is the guest's from its beginning. */
TEST(reclaim, target_before_start, 120) {
    capsa_builder *b = machine(ours, 512, 0);
    guest g = {.builder = b};

    OK(capsa_builder_build(b, &g.vm, &err));
    OK(capsa_vm_set_memory_target(g.vm, 200 * MIB, &err));
    OK(capsa_vm_console(g.vm, &g.console, &err));
    OK(capsa_vm_start(g.vm, patience(10000), NULL, &err));
    await_text(&g, "capsa# ");
    printf("  200 MiB after %.1f s\n", await_target(&g));
    CHECK_INT(look(&g).current_bytes, 200 * MIB);
    capsa_console_free(g.console);
    capsa_vm_free(g.vm);
    capsa_builder_free(b);
}

/* What a program needs the guest takes back, and kills nothing. */
TEST(reclaim, taken_back_before_a_kill, 240) {
    guest g = boot(machine(ours, 512, 0));

    OK(capsa_vm_set_memory_target(g.vm, 160 * MIB, &err));
    await_target(&g);
    uint64_t before = look(&g).current_bytes;
    must(&g, "mkdir -p /ram && mount -t tmpfs -o size=90% none /ram && "
             "dd if=/dev/zero of=/ram/file bs=1M count=192 2>/dev/null");
    print_memory("needed", &g);
    CHECK(look(&g).current_bytes > before, "the guest has taken nothing back");
    CHECK_INT(look(&g).oom_kills, 0);
    discard(&g);
}

TEST(reclaim, without_a_balloon, 60) {
    guest g = boot(machine(ours, 256, CAPSA_BALLOON_OFF));

    CHECK_INT(look(&g).balloon, 0);
    REFUSED(capsa_vm_set_memory_target(g.vm, 128 * MIB, &err), CAPSA_E_UNSUPPORTED, "balloon");
    must(&g, "for d in /sys/bus/virtio/devices/*/device; do test $(cat $d) != 0x0005 || exit 1; done");
    discard(&g);
}

/* ---- What the guest says ------------------------------------------------------------------------------------ */

TEST(reclaim, guest_statistics, 60) {
    guest g = boot_kind(ours);
    capsa_stats s = look(&g);
    uint64_t free_bytes = (uint64_t)run_number(&g, "awk '/MemFree/{print $2}' /proc/meminfo") << 10;

    /* Each look asks for news. */
    while ((s = look(&g)).guest_said_ns == 0 || s.guest_said_ns > (uint64_t)patience(2000) * 1000000)
        poll(NULL, 0, 50);
    printf("  free %llu MiB, available %llu MiB, said %.3f s ago; /proc/meminfo %llu MiB\n",
           (unsigned long long)(s.guest_free_bytes / MIB), (unsigned long long)(s.guest_available_bytes / MIB),
           (double)s.guest_said_ns / 1e9, (unsigned long long)(free_bytes / MIB));
    CHECK(s.guest_free_bytes < free_bytes + 32 * MIB && s.guest_free_bytes + 32 * MIB > free_bytes, "not the same");
    CHECK(s.guest_available_bytes && s.guest_available_bytes < 256 * MIB, "available");
    discard(&g);
}
