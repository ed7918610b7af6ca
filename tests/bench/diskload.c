/*
 * The guest's first process in the disk benchmark: loads /dev/vda without the page cache, prints a line for each slice of
 * time, "bench NAME NANOSECONDS" for each request, and ends the machine by a reset. rounds=N on the kernel's command line
 * is how often it goes through all loads.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 300000000.0 /* of one load */
#define MAX_DEPTH 32
#define BUFFERS (4 << 20) /* of all requests in flight */

struct load {
    const char *name;
    int write, depth;
    size_t size; /* of a request */
    int random;
};

static const struct load loads[] = {
    {"random read 4 KiB, depth 1", 0, 1, 4096, 1},        {"random read 4 KiB, depth 32", 0, 32, 4096, 1},
    {"random write 4 KiB, depth 1", 1, 1, 4096, 1},       {"random write 4 KiB, depth 32", 1, 32, 4096, 1},
    {"sequential read 1 MiB, depth 4", 0, 4, 1 << 20, 0}, {"sequential write 1 MiB, depth 4", 1, 4, 1 << 20, 0},
};

static _Noreturn void die(const char *what) {
    perror(what);
    fflush(NULL);
    reboot(RB_POWER_OFF);
    _exit(1);
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(void) {
    static uint64_t x = 88172645463325252u; /* xorshift64 */
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

/* Prepares the i-th request of a load. */
static void prepare(struct iocb *cb, const struct load *l, int fd, char *buffer, uint64_t disk, uint64_t i) {
    uint64_t blocks = disk / l->size, block = l->random ? next_random() % blocks : i % blocks;
    memset(cb, 0, sizeof *cb);
    cb->aio_fildes = (uint32_t)fd;
    cb->aio_lio_opcode = l->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
    cb->aio_buf = (uintptr_t)buffer;
    cb->aio_nbytes = l->size;
    cb->aio_offset = (int64_t)(block * l->size);
}

/* Nanoseconds for a request of the load, over one slice. */
static double run(aio_context_t ctx, const struct load *l, int fd, char *memory, uint64_t disk) {
    static struct iocb cbs[MAX_DEPTH], *list[MAX_DEPTH];
    struct io_event done[MAX_DEPTH];
    uint64_t issued = 0, ended = 0;
    int n = l->depth;
    double begin = now_ns();
    for (int i = 0; i < n; i++) prepare(list[i] = &cbs[i], l, fd, memory + (size_t)i * l->size, disk, issued++);
    for (;;) {
        if (n && syscall(SYS_io_submit, ctx, (long)n, list) != n) die("io_submit");
        long got = syscall(SYS_io_getevents, ctx, 1L, (long)l->depth, done, NULL);
        if (got < 1) die("io_getevents");
        ended += (uint64_t)got;
        n = 0;
        int more = now_ns() - begin < SLICE_NS;
        for (long i = 0; i < got; i++) {
            struct iocb *cb = (struct iocb *)(uintptr_t)done[i].obj;
            if (done[i].res != (int64_t)l->size) die("a request");
            if (more) prepare(cb, l, fd, (char *)(uintptr_t)cb->aio_buf, disk, issued++), list[n++] = cb;
        }
        if (ended == issued && !n) return (now_ns() - begin) / (double)ended;
    }
}

int main(void) {
    uint64_t disk = 0;
    aio_context_t ctx = 0;
    const char *wanted = getenv("rounds");
    int rounds = wanted ? atoi(wanted) : 1;
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int console = open("/dev/hvc0", O_WRONLY), fd = open("/dev/vda", O_RDWR | O_DIRECT);
    if (console >= 0) dup2(console, 1), dup2(console, 2);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &disk)) die("/dev/vda");
    char *memory = mmap(NULL, 2 * BUFFERS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap");
    memory = (char *)(((uintptr_t)memory + BUFFERS - 1) & ~(uintptr_t)(BUFFERS - 1));
    madvise(memory, BUFFERS, MADV_HUGEPAGE); /* few segments, as a program that cares has them */
    memset(memory, 0x5A, BUFFERS);
    if (syscall(SYS_io_setup, (long)MAX_DEPTH, &ctx)) die("io_setup");
    for (int r = -1; r < rounds; r++)
        for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
            double ns = run(ctx, &loads[i], fd, memory, disk);
            if (r < 0) continue; /* warming up */
            printf("bench %s %.0f\n", loads[i].name, ns);
            fflush(stdout);
        }
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}
