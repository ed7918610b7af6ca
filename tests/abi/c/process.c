/* process.c - the process around the library: fork, exec, signals, stacks, limits, exit. */
#include "abi.h"

#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>

extern char **environ;
static capsa_builder *builder;
static capsa_vm *vm; /* NULL without KVM */
static int kvm;

/* ---- fork */

static int forked_child(void *arg) {
    capsa_error *old = arg;
    capsa_builder *b = NULL;
    capsa_cancel *c = NULL;
    char *json = NULL;

    if (strcmp(capsa_error_message(old), "") == 0) return 2; /* errors stay readable */
    capsa_error_free(old);
    for (int i = 0; i < 1000; i++) {
        FAILS(CAPSA_E_FORKED, capsa_builder_new(&b, &e));
        FAILS(CAPSA_E_FORKED, capsa_builder_set_cpus(builder, 1, &e));
        FAILS(CAPSA_E_FORKED, capsa_builder_build(builder, &vm, &e));
        FAILS(CAPSA_E_FORKED, capsa_cancel_new(&c, &e));
        FAILS(CAPSA_E_FORKED, capsa_doctor(&json, &e));
        FAILS(CAPSA_E_FORKED, capsa_vm_kill(vm, &e));
        FAILS(CAPSA_E_FORKED, capsa_vm_wait(vm, -1, NULL, NULL, &e));
    }
    if (capsa_has("console") || capsa_version() == 0) return 3;
    capsa_vm_free(vm);
    capsa_builder_free(builder);
    return b || c || json ? 4 : 0;
}

static int exit_normally(void *arg) {
    (void)arg;
    exit(0);
}

static void forks(void) {
    CHECK(capsa_builder_set_cpus(NULL, 1, &e) == CAPSA_E_HANDLE);
    capsa_error *old = e;
    e = NULL;
    CHECK(in_child(forked_child, old) == 0);
    CHECK(in_child(exit_normally, NULL) == 0);
    CHECK(*capsa_error_message(old)); /* the child's free was the child's */
    capsa_error_free(old);
    OK(capsa_builder_set_cpus(builder, 1, &e));
    if (vm) CHECK(state_of(vm) == CAPSA_STATE_RUNNING);
}

/* A program started by the process inherits no descriptor of the library. */
static void spawns(void) {
    char *argv[] = {"sh", "-c",
                    "for f in /proc/self/fd/*; do n=${f##*/}; case $(readlink $f) in *kvm*|*memfd*|socket*|*eventfd*) "
                    "[ $n -gt 2 ] && exit 9;; esac; done; exit 0",
                    NULL};
    pid_t pid;
    int status = 0;

    CHECK(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    pid = vfork();
    if (!pid) {
        execv("/bin/true", (char *[]){"true", NULL});
        _exit(9);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 0);
}

/* ---- signals */

static volatile sig_atomic_t signals_seen;
static void count_signal(int s) {
    (void)s;
    signals_seen++;
}

static void handle(int s, void (*fn)(int)) {
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = fn;
    a.sa_flags = SA_ONSTACK; /* as the header asks */
    CHECK(sigaction(s, &a, NULL) == 0);
}

struct target {
    pthread_t thread;
    pid_t tid;
    atomic_int interrupted;
};

/* Signals the waiting thread whenever it sleeps, until a wait was interrupted: it may sleep elsewhere first. */
static void *interrupt_it(void *arg) {
    struct target *t = arg;
    char path[64], state;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)t->tid);
    while (!atomic_load(&t->interrupted)) {
        FILE *f = fopen(path, "r");
        CHECK(f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1);
        fclose(f);
        if (state == 'S') pthread_kill(t->thread, SIGUSR1);
        sched_yield();
    }
    return NULL;
}

static void interrupted(void) {
    struct target t = {pthread_self(), (pid_t)syscall(SYS_gettid), 0};
    pthread_t helper;

    if (!vm) return;
    handle(SIGUSR1, count_signal);
    signals_seen = 0;
    CHECK(pthread_create(&helper, NULL, interrupt_it, &t) == 0);
    capsa_status s = capsa_vm_wait(vm, -1, NULL, NULL, &e);
    atomic_store(&t.interrupted, 1);
    CHECK(pthread_join(helper, NULL) == 0);
    CHECK(s == CAPSA_E_INTERRUPTED && signals_seen > 0);
    capsa_error_free(e);
    e = NULL;
    FAILS(CAPSA_E_TIMEOUT, capsa_vm_wait(vm, 1, NULL, NULL, &e));
}

/* The runtime's own signal does not end a wait, whatever the program does with it. */
static void urgent(void) {
    handle(SIGURG, count_signal);
    for (int i = 0; i < 20; i++) {
        if (vm) FAILS(CAPSA_E_TIMEOUT, capsa_vm_wait(vm, 2, NULL, NULL, &e));
        OK(capsa_builder_set_cpus(builder, 1, &e));
    }
}

static void sigpipe(void) {
    int p[2];

    handle(SIGPIPE, count_signal);
    signals_seen = 0;
    CHECK(pipe(p) == 0);
    close(p[0]);
    CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE && signals_seen == 1);
    close(p[1]);
    signal(SIGPIPE, SIG_IGN);
    if (vm) {
        capsa_console *c = NULL;
        int fd = -1;
        OK(capsa_vm_console(vm, &c, &e));
        OK(capsa_console_fd(c, &fd, &e));
        close(fd);
        capsa_console_free(c);
    }
}

/* ---- threads of odd kinds */

static void *small_work(void *arg) {
    sigset_t all;
    stack_t none = {.ss_flags = SS_DISABLE};

    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    sigaltstack(&none, NULL);
    for (int i = 0; i < 20; i++) {
        capsa_builder *b = NULL;
        char *json = NULL;
        OK(capsa_builder_new(&b, &e));
        OK(capsa_builder_to_json(b, &json, &e));
        capsa_mem_free(json);
        if (vm) FAILS(CAPSA_E_TIMEOUT, capsa_vm_wait(vm, 1, NULL, NULL, &e));
        capsa_builder_free(b);
    }
    return NULL;
}

static void small_stacks(void) {
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    CHECK(pthread_attr_setstacksize(&attr, 64 * 1024) == 0);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&thread, &attr, small_work, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    pthread_attr_destroy(&attr);
}

/* Calls from a stack that the thread library knows nothing of, as coroutines and some FFIs make them. */
static ucontext_t back, there;
static void coroutine(void) {
    for (int i = 0; i < 10000; i++) OK(capsa_builder_set_cpus(builder, 1, &e));
}

static void foreign_stack(void) {
    size_t size = 256 * 1024;
    char *stack = malloc(size);

    CHECK(stack && getcontext(&there) == 0);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = size;
    there.uc_link = &back;
    makecontext(&there, coroutine, 0);
    CHECK(swapcontext(&back, &there) == 0);
    free(stack);
}

/* ---- limits */

static int few_files(void *arg) {
    char *self = arg;
    execl(self, self, "few-files", (char *)NULL);
    return 9;
}

/* Without free descriptors: typed errors, and all is well again when there are some. */
static void without_files(void) {
    struct rlimit limit, none;
    capsa_vm *other = NULL;
    int fd = -1;

    vm = start_guest("spin");
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    none = limit;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    FAILS(CAPSA_E_LIMIT, capsa_vm_exit_fd(vm, &fd, &e));
    FAILS(CAPSA_E_LIMIT, capsa_vm_wait(vm, 1000, NULL, NULL, &e));
    builder = NULL;
    OK(capsa_builder_new(&builder, &e));
    OK(capsa_builder_boot_linux(builder, getenv("CAPSA_TEST_GUEST"), NULL, &e));
    FAILS(CAPSA_E_LIMIT, capsa_builder_build(builder, &other, &e));
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    OK(capsa_vm_kill(vm, &e));
    OK(capsa_builder_build(builder, &other, &e));
    capsa_vm_free(other);
    capsa_vm_free(vm);
}

/* ---- the end of the process */

static void at_exit(void) {
    capsa_builder *b = NULL;

    OK(capsa_builder_set_cpus(builder, 1, &e));
    OK(capsa_builder_new(&b, &e));
    if (vm) OK(capsa_vm_kill(vm, &e));
    capsa_vm_free(vm);
}

__attribute__((destructor)) static void at_unload(void) {
    capsa_builder *b = NULL;
    if (builder) (void)!capsa_builder_new(&b, NULL);
}

int main(int argc, char **argv) {
    kvm = access("/dev/kvm", R_OK | W_OK) == 0;
    if (argc > 1) {
        without_files();
        return 0;
    }
    OK(capsa_builder_new(&builder, &e));
    if (kvm) vm = start_guest("spin");
    forks();
    spawns();
    interrupted();
    urgent();
    sigpipe();
    small_stacks();
    foreign_stack();
    if (kvm) CHECK(in_child(few_files, argv[0]) == 0);
    atexit(at_exit);
    if (!kvm) need_kvm();
    return 0; /* with a machine running */
}
