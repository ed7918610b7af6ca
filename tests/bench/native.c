/*
 * native GUEST NOOP - measures what needs no Linux guest, on any /dev/kvm. GUEST is the guest of first.S, NOOP the library
 * of noop/. Prints samples.
 */
#define _GNU_SOURCE
#include <capsa.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "floor.h"
#include "samples.h"

#define MEMORY_MIB 256
#define ROUNDS 60
#define CALLS 20000
#define MANY 200

static void die(const char *what, capsa_error *err) {
    fprintf(stderr, "bench: %s: %s %s\n", what, capsa_error_message(err), capsa_error_hint(err));
    exit(1);
}

static capsa_builder *builder_for(const char *guest) {
    capsa_error *err = NULL;
    capsa_builder *b = NULL;
    if (capsa_builder_new(&b, &err)) die("builder", err);
    if (capsa_builder_boot_linux(b, guest, NULL, &err)) die("boot", err);
    if (capsa_builder_set_memory_mib(b, MEMORY_MIB, &err)) die("memory", err);
    return b;
}

/* A moment of the machine's time line, in nanoseconds since it began; 0 while it has not come. */
static double moment(capsa_vm *vm, const char *key) {
    capsa_error *err = NULL;
    char *json = NULL;
    double v = 0;
    if (capsa_vm_stats_json(vm, &json, &err)) die("stats", err);
    const char *at = strstr(json, key);
    if (at) v = strtod(at + strlen(key), NULL);
    capsa_mem_free(json);
    return v;
}

static double first_exit_ns(capsa_vm *vm) { return moment(vm, "\"first_exit_ns\":"); }
static double created_ns(capsa_vm *vm) { return moment(vm, "\"created_ns\":"); }

/*
 * How long machines run before they are freed, in milliseconds. Nothing looks at them meanwhile. Shorter lives cost more, for
 * both: since Linux 6.18 an interrupt controller that is new has callbacks pending, and closing a machine waits for them.
 */
#define LIFE_MS 30

/* A machine on its way to the guest's first instruction. */
struct birth {
    capsa_vm *vm;
    double begin, built; /* of capsa_builder_build */
};

static struct birth create(capsa_builder *b) {
    capsa_error *err = NULL;
    struct birth n = {.begin = now_ns()};
    if (capsa_builder_build(b, &n.vm, &err)) die("build", err);
    n.built = now_ns();
    if (capsa_vm_start(n.vm, -1, NULL, &err)) die("start", err);
    return n;
}

/* From build to the guest's first instruction: its first exit, on the machine's own time line, and what build took before
 * that began. Call it when the guest has had its time. */
static double birth_ns(const struct birth *n) {
    double first;
    while ((first = first_exit_ns(n->vm)) == 0) poll(NULL, 0, LIFE_MS); /* a very busy machine */
    return first + (n->built - n->begin) - created_ns(n->vm); /* at most: the time line begins inside of build */
}

static void bench_create(const char *guest) {
    static struct samples s = {
        .name = "create to first guest instruction", .unit = "ns", .peer_name = "minimal C program", .goal = 1.3};
    static struct samples k = {
        .name = "free a running machine", .unit = "ns", .peer_name = "minimal C program", .goal = 1.5};
    capsa_builder *b = builder_for(guest);
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    for (int i = -5; i < ROUNDS; i++) {
        struct birth n = create(b);
        poll(NULL, 0, LIFE_MS);
        double took = birth_ns(&n), begin = now_ns();
        capsa_vm_free(n.vm);
        double freed = now_ns() - begin;
        struct floor_vm f;
        begin = now_ns();
        if (floor_create(&f, kvm, (size_t)MEMORY_MIB << 20)) {
            perror("bench: the minimal program");
            exit(1);
        }
        double least = now_ns() - begin;
        poll(NULL, 0, LIFE_MS);
        begin = now_ns();
        floor_close(&f);
        double closed = now_ns() - begin;
        if (i < 0) continue; /* warming up */
        add_ours(&s, took), add_peer(&s, least);
        add_ours(&k, freed), add_peer(&k, closed);
    }
    close(kvm);
    capsa_builder_free(b);
    print_samples(&s);
    print_samples(&k);
}

/* Sorts the i-th of MANY into the first and the last ones. */
static void add_of_many(struct samples *s, int i, double took) {
    if (i < 20) add_peer(s, took);
    if (i >= MANY - 20) add_ours(s, took);
}

static void bench_many(const char *guest) {
    static struct samples s = {
        .name = "create the 200th machine", .unit = "ns", .peer_name = "the first ones", .goal = 1.2};
    static struct samples f = {.name = "the minimal C program's 200th", .unit = "ns", .peer_name = "its first ones"};
    static struct birth births[MANY];
    static struct floor_vm floors[MANY];
    capsa_builder *b = builder_for(guest);
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) births[i] = create(b);
        poll(NULL, 0, LIFE_MS);
        for (int i = 0; i < MANY; i++) {
            add_of_many(&s, i, birth_ns(&births[i]));
            capsa_vm_free(births[i].vm);
        }
        for (int i = 0; i < MANY; i++) {
            double begin = now_ns();
            if (floor_create(&floors[i], kvm, (size_t)MEMORY_MIB << 20)) {
                perror("bench: the minimal program");
                exit(1);
            }
            add_of_many(&f, i, now_ns() - begin);
        }
        poll(NULL, 0, LIFE_MS);
        for (int i = 0; i < MANY; i++) floor_close(&floors[i]);
    }
    close(kvm);
    capsa_builder_free(b);
    print_samples(&s);
    print_samples(&f);
}

static void bench_call(const char *guest, const char *noop_path) {
    static struct samples s = {.name = "trivial call", .unit = "ns", .peer_name = "empty Go export", .goal = 1.3};
    void *lib = dlopen(noop_path, RTLD_NOW | RTLD_LOCAL);
    int32_t (*noop)(uintptr_t) = NULL;
    if (lib) *(void **)&noop = dlsym(lib, "noop");
    if (!noop) {
        fprintf(stderr, "bench: %s\n", dlerror());
        exit(1);
    }
    capsa_error *err = NULL;
    capsa_builder *b = builder_for(guest);
    capsa_vm *vm = NULL;
    uint32_t state;
    if (capsa_builder_build(b, &vm, &err)) die("build", err);
    for (int i = -5; i < ROUNDS; i++) {
        double begin = now_ns();
        for (int j = 0; j < CALLS; j++) capsa_vm_state(vm, &state, NULL);
        double ours = (now_ns() - begin) / CALLS;
        begin = now_ns();
        for (int j = 0; j < CALLS; j++) noop(1);
        double peer = (now_ns() - begin) / CALLS;
        if (i >= 0) add_ours(&s, ours), add_peer(&s, peer);
    }
    capsa_vm_free(vm);
    capsa_builder_free(b);
    print_samples(&s);
}

/* The process's share of the memory that it maps, in bytes. */
static double pss_bytes(void) {
    double sum = 0;
    char line[256];
    long kib;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Pss: %ld", &kib) == 1) sum = 1024.0 * (double)kib;
    fclose(f);
    return sum;
}

/* What a machine adds to the process's memory: from 1 machine on in steps, up to the 100th. */
#define SLOPE_MACHINES 100
#define SLOPE_STEP 11

static void bench_memory(const char *guest) {
    static struct samples s = {
        .name = "memory of a machine, 1 to 100", .unit = "bytes", .peer_name = "minimal C program"};
    static capsa_vm *vms[SLOPE_MACHINES];
    static struct floor_vm floors[SLOPE_MACHINES];
    capsa_builder *b = builder_for(guest);
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    double before = 0;
    for (int i = 0; i < SLOPE_MACHINES; i++) {
        vms[i] = create(b).vm;
        if (i % SLOPE_STEP) continue;
        poll(NULL, 0, LIFE_MS);
        double now = pss_bytes();
        if (i) add_ours(&s, (now - before) / SLOPE_STEP);
        before = now;
    }
    for (int i = 0; i < SLOPE_MACHINES; i++) capsa_vm_free(vms[i]);
    for (int i = 0; i < SLOPE_MACHINES; i++) {
        if (floor_create(&floors[i], kvm, (size_t)MEMORY_MIB << 20)) {
            perror("bench: the minimal program");
            exit(1);
        }
        if (i % SLOPE_STEP) continue;
        double now = pss_bytes();
        if (i) add_peer(&s, (now - before) / SLOPE_STEP);
        before = now;
    }
    for (int i = 0; i < SLOPE_MACHINES; i++) floor_close(&floors[i]);
    close(kvm);
    capsa_builder_free(b);
    print_samples(&s);
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: native GUEST NOOP\n"), 2;
    bench_create(argv[1]);
    bench_call(argv[1], argv[2]);
    bench_memory(argv[1]);
    bench_many(argv[1]);
    return 0;
}
