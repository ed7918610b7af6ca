/*
 * isolated native GUEST - machines in processes of their own against machines in this one, with the guest of first.S.
 * isolated traffic KERNEL INITRD ROUNDS - what crosses the border between the processes: console and sockets, with the
 * guest of the tests. Prints samples.
 */
#define _GNU_SOURCE
#include <capsa.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "samples.h"

#define MEMORY_MIB 256
#define ROUNDS 40
#define CALLS 200
#define LIFE_MS 30 /* as in native.c */
#define CYCLES 1000
#define MORE_NS 15e6 /* what a process may cost at the start */
#define PORT 7

enum { inside = CAPSA_ISOLATION_NONE, outside = CAPSA_ISOLATION_PROCESS };

static void die(const char *what, capsa_error *err) {
    fprintf(stderr, "bench: %s: %s %s\n", what, capsa_error_message(err), capsa_error_hint(err));
    exit(1);
}

static capsa_builder *builder_for(const char *kernel, const char *initrd, uint32_t isolation) {
    capsa_error *err = NULL;
    capsa_builder *b = NULL;
    if (capsa_builder_new(&b, &err)) die("builder", err);
    if (capsa_builder_boot_linux(b, kernel, initrd, &err)) die("boot", err);
    if (capsa_builder_set_memory_mib(b, MEMORY_MIB, &err)) die("memory", err);
    if (capsa_builder_set_isolation(b, isolation, 0, &err)) die("isolation", err);
    if (initrd && capsa_builder_set_vsock(b, 1, &err)) die("sockets", err);
    return b;
}

static capsa_vm *started(capsa_builder *b) {
    capsa_error *err = NULL;
    capsa_vm *vm = NULL;
    if (capsa_builder_build(b, &vm, &err)) die("build", err);
    if (capsa_vm_start(vm, -1, NULL, &err)) die("start", err);
    return vm;
}

/* Runs a machine for its time. What its start took, in nanoseconds. */
static double one_life(capsa_builder *b) {
    double begin = now_ns();
    capsa_vm *vm = started(b);
    double took = now_ns() - begin;
    poll(NULL, 0, LIFE_MS);
    capsa_vm_free(vm);
    return took;
}

static void bench_start(capsa_builder *in, capsa_builder *out) {
    static struct samples s = {
        .name = "start in a confined process", .unit = "ns", .peer_name = "in this process, and 15 ms", .goal = 1};
    for (int i = -3; i < ROUNDS; i++) {
        double ours = one_life(out), peer = one_life(in) + MORE_NS;
        if (i >= 0) add_ours(&s, ours), add_peer(&s, peer);
    }
    print_samples(&s);
}

/* One call that asks the machine, in nanoseconds. */
static double ask(capsa_vm *vm) {
    capsa_error *err = NULL;
    capsa_stats stats = CAPSA_STATS_INIT;
    double begin = now_ns();
    for (int i = 0; i < CALLS; i++)
        if (capsa_vm_stats(vm, &stats, &err)) die("statistics", err);
    return (now_ns() - begin) / CALLS;
}

static void bench_call(capsa_builder *in, capsa_builder *out) {
    static struct samples s = {
        .name = "a call to a confined process and back", .unit = "ns", .peer_name = "the same in this process"};
    capsa_vm *here = started(in), *there = started(out);
    for (int i = -3; i < ROUNDS; i++) {
        double ours = ask(there), peer = ask(here);
        if (i >= 0) add_ours(&s, ours), add_peer(&s, peer);
    }
    capsa_vm_free(here);
    capsa_vm_free(there);
    print_samples(&s);
}

/* A process's private memory, in bytes. */
static double private_bytes(const char *pid) {
    char path[64], line[256];
    double sum = 0;
    snprintf(path, sizeof path, "/proc/%.20s/smaps_rollup", pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f)) {
        long kib;
        if (sscanf(line, "Private_Clean: %ld", &kib) == 1 || sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            sum += 1024.0 * (double)kib;
    }
    fclose(f);
    return sum;
}

/* The private memory of this process's child, of which there is one. */
static double of_child(void) {
    char path[64], pid[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *d;
    while (tasks && (d = readdir(tasks))) { /* a child belongs to the thread that made it */
        snprintf(path, sizeof path, "/proc/self/task/%.20s/children", d->d_name);
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%31s", pid) == 1) rewinddir(tasks);
        if (f) fclose(f);
        if (*pid) break;
    }
    if (tasks) closedir(tasks);
    return *pid ? private_bytes(pid) : 0;
}

static void bench_memory(capsa_builder *out) {
    static struct samples s = {.name = "private memory of a confined process", .unit = "bytes"};
    capsa_vm *vm = started(out);
    poll(NULL, 0, LIFE_MS);
    double found = of_child();
    if (found > 0) add_ours(&s, found);
    capsa_vm_free(vm);
    if (s.n) print_samples(&s);
}

static int descriptors(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

/* Nothing is left of a thousand processes: descriptors none, memory no more than the runtime's own noise. */
static void cycles(capsa_builder *out) {
    static struct samples s = {.name = "memory that a confined process leaves behind (slope of 1,000)",
                               .unit = "bytes"};
    for (int i = 0; i < 20; i++) one_life(out);
    int fds = descriptors();
    double before = private_bytes("self");
    for (int i = 0; i < CYCLES; i++) {
        capsa_error *err = NULL;
        capsa_vm *vm = started(out);
        if (capsa_vm_kill(vm, &err)) die("kill", err);
        capsa_vm_free(vm);
    }
    int left = descriptors() - fds;
    if (left > 0) {
        fprintf(stderr, "bench: %d descriptors are left of %d machines\n", left, CYCLES);
        exit(1);
    }
    double grown = (private_bytes("self") - before) / CYCLES;
    add_ours(&s, grown > 1 ? grown : 1);
    print_samples(&s);
}

/* ---- Traffic ------------------------------------------------------------------------------------------------- */

#define BULK (64 << 10)
#define OUTPUT (8 << 10) /* of a console: its driver waits for each line */
#define TURNS 100

struct guest {
    capsa_vm *vm;
    capsa_console *console;
};

static void command(struct guest *g, const char *line) {
    capsa_error *err = NULL;
    size_t written;
    if (capsa_console_write(g->console, -1, NULL, line, strlen(line), &written, &err)) die("console", err);
}

static void await(struct guest *g, const char *text) {
    capsa_error *err = NULL;
    capsa_pattern p = CAPSA_PATTERN_INIT;
    p.kind = CAPSA_PATTERN_LITERAL, p.data = text, p.len = strlen(text);
    if (capsa_console_expect(g->console, 300000, NULL, &p, 1, NULL, NULL, &err)) die(text, err);
}

static struct guest boot(capsa_builder *b) {
    capsa_error *err = NULL;
    struct guest g = {.vm = started(b)};
    if (capsa_vm_console(g.vm, &g.console, &err)) die("console", err);
    await(&g, "capsa# ");
    command(&g, "vsock echo 7 &\n");
    await(&g, "listening");
    return g;
}

/* The console keeps what fits, so the end is waited for, not a number of bytes. */
static double console_ns(struct guest *g) {
    char line[64];
    snprintf(line, sizeof line, "flood %d; echo that\"\"s-all\n", OUTPUT);
    double begin = now_ns();
    command(g, line);
    await(g, "thats-all");
    return (now_ns() - begin) / OUTPUT;
}

static int dial(struct guest *g) {
    capsa_error *err = NULL;
    int fd;
    if (capsa_vm_vsock_connect(g->vm, PORT, 0, 300000, NULL, &fd, &err)) die("connect", err);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

/* One byte there and back, in nanoseconds. */
static double turn_ns(int fd) {
    char byte = 1;
    double begin = now_ns();
    for (int i = 0; i < TURNS; i++)
        if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) die("a byte's way", NULL);
    return (now_ns() - begin) / TURNS;
}

/* Bytes there and back, each in nanoseconds. */
static double echo_ns(int fd) {
    static char out[64 << 10], in[64 << 10];
    size_t sent = 0, got = 0;
    double begin = now_ns();
    while (got < BULK) {
        struct pollfd p = {.fd = fd, .events = POLLIN | (sent < BULK ? POLLOUT : 0)};
        if (poll(&p, 1, -1) < 0) die("poll", NULL);
        if (p.revents & POLLOUT) {
            ssize_t n = send(fd, out, sizeof out, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0) sent += (size_t)n;
        }
        if (p.revents & POLLIN) {
            ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT);
            if (n == 0) die("the guest hung up", NULL);
            if (n > 0) got += (size_t)n;
        }
    }
    return (now_ns() - begin) / BULK;
}

static void bench_traffic(const char *kernel, const char *initrd, int rounds) {
    static struct samples c = {.name = "console output of a confined process",
                               .unit = "ns a byte",
                               .peer_name = "the same in this process",
                               .goal = 1 / 0.9};
    static struct samples t = {.name = "vsock round trip of a confined process",
                               .unit = "ns",
                               .peer_name = "the same in this process",
                               .goal = 1 / 0.9};
    static struct samples e = {.name = "vsock echo of a confined process",
                               .unit = "ns a byte",
                               .peer_name = "the same in this process",
                               .goal = 1 / 0.9};
    capsa_builder *in = builder_for(kernel, initrd, inside), *out = builder_for(kernel, initrd, outside);
    struct guest here = boot(in), there = boot(out);
    int near = dial(&here), far = dial(&there);
    for (int i = -1; i < rounds; i++) {
        double ours[] = {console_ns(&there), turn_ns(far), echo_ns(far)};
        double peer[] = {console_ns(&here), turn_ns(near), echo_ns(near)};
        if (i < 0) continue;
        add_ours(&c, ours[0]), add_peer(&c, peer[0]);
        add_ours(&t, ours[1]), add_peer(&t, peer[1]);
        add_ours(&e, ours[2]), add_peer(&e, peer[2]);
    }
    close(near), close(far);
    capsa_vm_free(here.vm);
    capsa_vm_free(there.vm);
    capsa_console_free(here.console);
    capsa_console_free(there.console);
    capsa_builder_free(in);
    capsa_builder_free(out);
    print_samples(&c);
    print_samples(&t);
    print_samples(&e);
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "traffic")) {
        bench_traffic(argv[2], argv[3], atoi(argv[4]));
        return 0;
    }
    if (argc != 3 || strcmp(argv[1], "native"))
        return fprintf(stderr, "usage: isolated native GUEST | traffic KERNEL INITRD ROUNDS\n"), 2;
    capsa_builder *in = builder_for(argv[2], NULL, inside), *out = builder_for(argv[2], NULL, outside);
    bench_start(in, out);
    bench_call(in, out);
    bench_memory(out);
    cycles(out);
    capsa_builder_free(in);
    capsa_builder_free(out);
    return 0;
}
