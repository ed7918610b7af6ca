/* leftbehind.c - the disks that a machine leaves behind, when it is shut down by the power button and when the process
 * around it is killed. With the small guest, which boots quickly; debian.c does the same with systemd. */
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Two data disks with ext4, raw and qcow2; the guest mounts them at /raw and /qcow2. */
typedef struct disks {
    char raw[256], qcow2[256];
} disks;

static disks name_disks(const char *dir) {
    disks d;

    snprintf(d.raw, sizeof d.raw, "%s/data.raw", dir);
    snprintf(d.qcow2, sizeof d.qcow2, "%s/data.qcow2", dir);
    return d;
}

static disks make_disks(void) {
    disks d = name_disks(scratch());

    host("truncate -s 96M '%s' && mke2fs -q -F -t ext4 '%s' && qemu-img convert -O qcow2 '%s' '%s'", d.raw, d.raw,
         d.raw, d.qcow2);
    return d;
}

static guest boot_with(const disks *d) {
    capsa_builder *b = builder_for(ours);

    add_disk(b, (disk){d->raw, CAPSA_DISK_FORMAT_RAW, 0, NULL, NULL});
    add_disk(b, (disk){d->qcow2, CAPSA_DISK_FORMAT_QCOW2, 0, NULL, NULL});
    guest g = boot(b);
    CHECK_INT(run(&g, "mkdir /raw /qcow2 && mount /dev/vda /raw && mount /dev/vdb /qcow2", NULL), 0);
    return g;
}

/* ---- The power button ---------------------------------------------------------------------------------------- */

TEST(leftbehind, by_power_button, 60) {
    disks d = make_disks();
    guest g = boot_with(&d);
    uint32_t stage = 99;

    type(&g, "cd /raw; while :; do cat /bin/busybox >/raw/b; cat /bin/busybox >/qcow2/b; echo rou''nd; done");
    await_text(&g, "round");
    await_text(&g, "round");
    OK(capsa_vm_stop(g.vm, patience(30000), NULL, &stage, &err));
    CHECK_INT(stage, CAPSA_STAGE_POWER_BUTTON);
    ended(&g, CAPSA_CAUSE_STOPPED);
    discard(&g);
    check_unmounted(d.raw);
    check_qcow2(d.qcow2, 0);
    check_unmounted(raw_copy(d.qcow2, "copy.raw"));
}

/* ---- The process is killed ----------------------------------------------------------------------------------- */

enum { file_size = 64 << 10, rounds = 3 };

/* What the guest does until it is gone: it writes here and there without order, and files one after the other, whose
 * numbers it says once they are synced. */
static const char load[] =
    "for d in raw qcow2; do while :; do"
    " dd if=/dev/urandom of=/$d/noise bs=4k count=64 seek=$((RANDOM % 2000)) conv=notrunc 2>/dev/null;"
    " mkdir -p /$d/many; : >/$d/many/$((RANDOM % 50)); rm -f /$d/many/$((RANDOM % 50)); done & done;"
    " i=0; while :; do i=$((i + 1)); for d in raw qcow2; do"
    " flood 65536 | dd of=/$d/f$i bs=4k conv=fsync 2>/dev/null; done; echo SYN''CED $i; done";

/* The process to be killed: runs the machine and passes on what its console says. */
static void run_load(const char *dir) {
    disks d = name_disks(dir);
    guest g = boot_with(&d);
    static char text[4096];
    size_t len = 1;

    type(&g, load);
    while (len) {
        OK(capsa_console_read(g.console, -1, NULL, text, sizeof text, &len, &err));
        CHECK(write(STDOUT_FILENO, text, len) == (ssize_t)len, "the pipe is broken");
    }
    FAIL("the guest ended");
}

/* Starts this test again as the process to be killed; *output reads what it prints. */
static pid_t start_load(FILE **output) {
    int fds[2];

    CHECK_INT(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "e2e", "--one", "leftbehind.by_kill", (char *)NULL);
        _exit(127);
    }
    CHECK(pid > 0, "fork: %s", strerror(errno));
    close(fds[1]);
    *output = fdopen(fds[0], "r");
    CHECK(*output, "fdopen: %s", strerror(errno));
    return pid;
}

/* Kills the process at some moment after `goal` files were synced; the number of the last one known to be. */
static int kill_after(int goal, long nanoseconds) {
    const struct timespec moment = {.tv_nsec = nanoseconds};
    char line[8192], said[64 << 10] = "";
    int synced = 0, n, status;
    FILE *output;
    pid_t pid = start_load(&output);

    while (synced < goal && fgets(line, sizeof line, output)) {
        if (sscanf(line, "SYNCED %d", &n) == 1) synced = n;
        strncat(said, line, sizeof said - 1 - strlen(said));
    }
    CHECK(synced >= goal, "it ended after %d files and said:\n%s", synced, said);
    nanosleep(&moment, NULL); /* so that it happens anywhere in the guest's work */
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "it ended with %#x", status);
    while (fgets(line, sizeof line, output))
        if (sscanf(line, "SYNCED %d\n", &n) == 1 && strchr(line, '\n')) synced = n;
    fclose(output);
    return synced;
}

/* Every synced file is there with all its bytes. */
static void check_files(const char *raw, int synced, const uint8_t *want) {
    const char *dir = scratch_file("files");
    char path[512];

    host("rm -rf '%s' && mkdir '%s' && debugfs -R 'rdump / %s' '%s'", dir, dir, dir, raw);
    for (int i = 1; i <= synced; i++) {
        size_t len;
        snprintf(path, sizeof path, "%s/f%d", dir, i);
        uint8_t *got = slurp(path, &len);
        CHECK_INT(len, file_size);
        CHECK(!memcmp(got, want, len), "file %d of %s is not what was written", i, raw);
        free(got);
    }
}

TEST(leftbehind, by_kill, 240) {
    const char *dir = getenv("E2E_LOAD");
    static char want[file_size + 1];

    if (dir) run_load(dir);
    disks d = make_disks();
    setenv("E2E_LOAD", scratch(), 1);
    for (int i = 0; i < file_size / 16; i++) snprintf(want + i * 16, 17, "%015d\n", i % 4096);
    srandom((unsigned)time(NULL));
    for (int round = 0; round < rounds; round++) {
        int goal = 2 + (int)(random() % 8);
        long moment = random() % 500000000;
        int synced = kill_after(goal, moment);
        printf("  round %d: killed %ld ms after file %d, %d were synced\n", round, moment / 1000000, goal, synced);
        check_qcow2(d.qcow2, 1);
        const char *copies[] = {raw_copy(d.raw, "copy.raw"), raw_copy(d.qcow2, "copy2.raw")};
        for (int i = 0; i < 2; i++) {
            check_recovers(copies[i]);
            check_files(copies[i], synced, (uint8_t *)want);
        }
    }
}
