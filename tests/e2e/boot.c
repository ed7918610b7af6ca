/* boot.c - kernels come up with every number of processors and amount of memory, and see all of it. */
#include "harness.h"

/* Boots and checks what the guest counts: processors, and memory up to the hole between 640 KiB and 1 MiB (its size
 * is 384 KiB; firmware data and the first page, which Linux keeps for itself, may take as much again). */
static void counts(capsa_builder *b, uint32_t cpus, uint64_t mib) {
    OK(capsa_builder_set_cpus(b, cpus, &err));
    OK(capsa_builder_set_memory_mib(b, mib, &err));
    guest g = boot(b);
    CHECK_INT(run_number(&g, "nproc"), cpus);
    long long kib = run_number(&g, "ram"), all = (long long)mib * 1024;
    CHECK(kib <= all && kib >= all - 768, "the guest sees %lld KiB of %lld", kib, all);
    CHECK_INT(run(&g, "test -c /dev/hwrng", NULL), 0);
    OK(capsa_vm_kill(g.vm, &err));
    ended(&g, CAPSA_CAUSE_KILLED);
    discard(&g);
}

#define BOOT(kind, cpus, mib)                                                                                         \
    TEST(boot, kind##_##cpus##_cpus_##mib##_mib, 60) { counts(builder_for(kind), cpus, mib); }

BOOT(ours, 1, 128)
BOOT(ours, 1, 512)
BOOT(ours, 2, 512)
BOOT(ours, 4, 512)
BOOT(ours, 1, 3328)
BOOT(ours, 1, 4096)
BOOT(ours, 2, 6144)
BOOT(stock, 1, 128)
BOOT(stock, 1, 512)
BOOT(stock, 2, 512)
BOOT(stock, 4, 512)
BOOT(stock, 1, 3328)
BOOT(stock, 1, 4096)
BOOT(stock, 2, 6144)
BOOT(vmlinux, 2, 512)
BOOT(large, 1, 512)

/* The list of processors in a file of /sys/devices/system/cpu. */
static void check_list(guest *g, const char *name, const char *want) {
    char command[128];

    snprintf(command, sizeof command, "cat /sys/devices/system/cpu/%s", name);
    const char *text = must(g, command);
    CHECK(!strcmp(text, want), "%s processors are %s, not %s", name, text, want);
}

/* 64 processors are there, in one package, and start, first or last. The emulated machine has two of its own; all 64 at
 * once would only wait for each other. */
TEST(boot, many_cpus, 120) {
    capsa_builder *b = builder_for(ours);
    const int late[] = {4, 31, 62, 63};
    char command[512];

    OK(capsa_builder_set_cpus(b, 64, &err));
    OK(capsa_builder_set_memory_mib(b, 512, &err));
    OK(capsa_builder_cmdline_arg(b, "maxcpus=4", &err));
    guest g = boot(b);
    check_list(&g, "possible", "0-63");
    check_list(&g, "present", "0-63");
    check_list(&g, "online", "0-3");
    for (size_t i = 0; i < sizeof late / sizeof *late; i++) {
        int cpu = late[i];
        snprintf(command, sizeof command,
                 "(cd /sys/devices/system/cpu/cpu%d && echo 1 >online && cat topology/physical_package_id"
                 " topology/core_id topology/thread_siblings_list | tr '\\n' ' ' && taskset -c %d true)",
                 cpu, cpu);
        const char *text = must(&g, command);
        snprintf(command, sizeof command, "0 %d %d", cpu, cpu);
        CHECK(!strncmp(text, command, strlen(command)), "processor %d is \"%s\", not \"%s\"", cpu, text, command);
    }
    check_list(&g, "online", "0-4,31,62-63");
    OK(capsa_vm_kill(g.vm, &err));
    ended(&g, CAPSA_CAUSE_KILLED);
    discard(&g);
}

static void without_acpi(uint32_t cpus) {
    capsa_builder *b = builder_for(ours);
    const char *text;

    OK(capsa_builder_cmdline_arg(b, "acpi=off", &err));
    OK(capsa_builder_set_cpus(b, cpus, &err));
    guest g = boot(b);
    CHECK_INT(run_number(&g, "nproc"), cpus);
    /* Nothing but the command line can have announced the console. */
    CHECK_INT(run(&g, "test ! -e /sys/firmware/acpi/tables", NULL), 0);
    run(&g, "cat /proc/cmdline", &text);
    CHECK(strstr(text, "virtio_mmio.device="), "the command line is \"%s\"", text);
    discard(&g);
}

TEST(boot, without_acpi_1_cpu, 60) { without_acpi(1); }
TEST(boot, without_acpi_4_cpus, 60) { without_acpi(4); }

/* The user's arguments follow the machine's own, and the last value of a key wins. */
TEST(boot, arguments, 60) {
    capsa_builder *b = builder_for(ours);
    const char *text;

    OK(capsa_builder_cmdline_arg(b, "capsa.test=\"two words\"", &err));
    OK(capsa_builder_cmdline_arg(b, "loglevel=3", &err));
    guest g = boot(b);
    CHECK_INT(run(&g, "cat /proc/cmdline", &text), 0);
    CHECK(strstr(text, "capsa.test=\"two words\" loglevel=3"), "the command line is \"%s\"", text);
    CHECK_INT(run_number(&g, "cut -f1 /proc/sys/kernel/printk"), 3);
    discard(&g);
}

/* A kernel that does not come up is a BOOT error with the kernel's own words. */
TEST(boot, no_init, 60) {
    capsa_builder *b = builder_for(ours);
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;

    OK(capsa_builder_boot_linux(b, image("bzImage"), NULL, &err));
    guest g = start(b);
    capsa_status status = capsa_vm_wait(g.vm, patience(60000), NULL, &info, &err);
    CHECK_INT(status, CAPSA_E_BOOT);
    CHECK(strstr(capsa_error_console_tail(err, NULL), "Kernel panic"), "the console's tail is \"%s\"",
          capsa_error_console_tail(err, NULL));
    REFUSED(status, CAPSA_E_BOOT, "root");
    CHECK_INT(info.cause, CAPSA_CAUSE_BOOT_FAILED);
    discard(&g);
}

/* A guest that dies before its console is there did not come up either. */
TEST(boot, triple_fault_at_once, 60) {
    capsa_builder *b = builder_for((kind){"triple", NULL});
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    guest g = start(b);

    REFUSED(capsa_vm_wait(g.vm, patience(60000), NULL, &info, &err), CAPSA_E_BOOT, "crashed");
    CHECK_INT(info.cause, CAPSA_CAUSE_BOOT_FAILED);
    await_serial(&g, "falling");
    discard(&g);
}
