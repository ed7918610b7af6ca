/* isolation.c - machines in processes of their own: what is chosen, the death of either side, what is left. */
#include "abi.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void choices(void) {
    capsa_builder *b = NULL;
    char *json = NULL;

    CHECK(capsa_has("isolation"));
    OK(capsa_builder_new(&b, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_isolation(b, 3, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_isolation(b, UINT32_MAX, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, 1u << 31, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, 3, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_isolation(b, CAPSA_ISOLATION_NONE, CAPSA_ISOLATION_JAIL_OFF, &e));
    OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_NONE, 0, &e));
    OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, CAPSA_ISOLATION_JAIL_PARTIAL, &e));
    OK(capsa_builder_to_json(b, &json, &e));
    CHECK(strstr(json, "\"jail\":\"partial\""));
    capsa_mem_free(json);
    OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, 0, &e));
    OK(capsa_builder_to_json(b, &json, &e));
    CHECK(strstr(json, "\"isolation\":\"process\"") && !strstr(json, "jail"));
    capsa_mem_free(json);
    OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_DEFAULT, 0, &e));
    capsa_builder_free(b);
}

/* The daemon among the children of a process, or 0. A zombie is none. */
static pid_t daemon_of(pid_t parent) {
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    CHECK(dir);
    while (!found && (entry = readdir(dir))) {
        char path[300], name[32], state;
        int of = 0;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        if (fscanf(f, "%*d (%31[^)]) %c %d", name, &state, &of) == 3 && of == parent && state != 'Z' &&
            !strcmp(name, "capsa-vzd"))
            found = atoi(entry->d_name);
        fclose(f);
    }
    closedir(dir);
    return found;
}

static capsa_vm *jailed(const char *commands, uint32_t jail) {
    capsa_builder *b = guest_builder(commands);
    capsa_vm *vm = NULL;

    OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, jail, &e));
    OK(capsa_builder_build(b, &vm, &e));
    capsa_builder_free(b);
    OK(capsa_vm_start(vm, -1, NULL, &e));
    return vm;
}

static capsa_vm *isolated(const char *commands) { return jailed(commands, 0); }

/* What the kernel says of the machine's process. */
static int status_has(pid_t pid, const char *line) {
    char path[64], text[8192];

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    CHECK(n > 0);
    text[n] = 0;
    close(fd);
    return strstr(text, line) != NULL;
}

static void jails(void) {
    static const struct {
        uint32_t flag;
        int confined;
    } cases[] = {{0, 1}, {CAPSA_ISOLATION_JAIL_PARTIAL, 1}, {CAPSA_ISOLATION_JAIL_OFF, 0}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        capsa_vm *vm = jailed("spin", cases[i].flag);
        pid_t pid = daemon_of(getpid());
        CHECK(status_has(pid, "NoNewPrivs:\t1\n") == cases[i].confined);
        CHECK(status_has(pid, "Seccomp:\t2\n") == cases[i].confined);
        if (cases[i].confined) CHECK(status_has(pid, "CapEff:\t0000000000000000\n"));
        if (cases[i].confined) CHECK(status_has(pid, "CapPrm:\t0000000000000000\n"));
        capsa_vm_free(vm);
    }
}

/* kill -9 of the machine's process, while a call waits: an exit record, and the program lives. */
static void *wait_for_end(void *arg) {
    CHECK(capsa_vm_wait(arg, 60000, NULL, NULL, &e) == CAPSA_E_VMM_DIED);
    CHECK(strstr(capsa_error_message(e), "signal: killed"));
    capsa_error_free(e);
    e = NULL;
    return arg;
}

static void daemon_dies(void) {
    capsa_vm *vm = isolated("spin");
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    pthread_t waiter;
    void *result = NULL;
    char *json = NULL;
    pid_t pid = daemon_of(getpid());

    CHECK(pid > 0);
    CHECK(pthread_create(&waiter, NULL, wait_for_end, vm) == 0);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(pthread_join(waiter, &result) == 0 && result == vm);
    CHECK(capsa_vm_wait(vm, 0, NULL, &info, &e) == CAPSA_E_VMM_DIED);
    CHECK(info.cause == CAPSA_CAUSE_VMM_CRASH && *capsa_error_hint(e));
    capsa_error_free(e);
    e = NULL;
    CHECK(state_of(vm) == CAPSA_STATE_FAILED);
    FAILS(CAPSA_E_STATE, capsa_vm_pause(vm, &e));
    OK(capsa_vm_stats_json(vm, &json, &e));
    capsa_mem_free(json);
    capsa_vm_free(vm);
    CHECK(daemon_of(getpid()) == 0 && waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD); /* it is reaped */
    capsa_vm_free(isolated("off"));
}

/* A program that is killed takes the process of its machine along. */
static int embed(void *arg) {
    char *self = arg;
    execl(self, self, "embed", (char *)NULL);
    return 9;
}

static void embedder_dies(char *self) {
    int status = 0, p[2];
    pid_t child, machine = 0;

    CHECK(pipe(p) == 0);
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (!child) {
        dup2(p[1], 1);
        _exit(embed(self));
    }
    close(p[1]);
    CHECK(read(p[0], &machine, sizeof machine) == sizeof machine && machine > 0);
    int fd = (int)syscall(SYS_pidfd_open, machine, 0);
    CHECK(fd >= 0 && kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    struct pollfd gone = {fd, POLLIN, 0};
    CHECK(poll(&gone, 1, 60000) == 1);
    close(fd);
    close(p[0]);
}

/* A variable that names nothing usable is an error, not a reason to look elsewhere. */
static int bad_variable(void *arg) {
    char *self = arg;
    setenv("CAPSA_VZD_PATH", "/nonexistent/capsa-vzd", 1);
    execl(self, self, "unavailable", (char *)NULL);
    return 9;
}

static void unavailable(void) {
    capsa_builder *b = guest_builder("off");
    capsa_vm *vm = NULL;

    OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, 0, &e));
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_UNAVAILABLE);
    CHECK(strstr(capsa_error_message(e), "CAPSA_VZD_PATH") &&
          strstr(capsa_error_message(e), "/nonexistent/capsa-vzd"));
    CHECK(*capsa_error_hint(e) && !vm);
    capsa_error_free(e);
    e = NULL;
    OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_NONE, 0, &e));
    OK(capsa_builder_build(b, &vm, &e));
    capsa_vm_free(vm);
    capsa_builder_free(b);
}

static int count_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    CHECK(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

/* Many machines one after the other leave no descriptor and no child. */
static void cycles(void) {
    capsa_vm_free(isolated("spin"));
    int before = count_fds();
    for (int i = 0; i < 25; i++) {
        capsa_vm *vm = isolated("spin");
        capsa_console *c = NULL;
        OK(capsa_vm_console(vm, &c, &e));
        if (i % 2) kill(daemon_of(getpid()), SIGKILL);
        /* Into sockets whose other end goes: an error at most, never SIGPIPE. */
        for (int k = 0; k < 20; k++) {
            (void)!capsa_console_write(c, 0, NULL, "typed\n", 6, NULL, NULL);
            (void)!capsa_console_resize(c, 80, 24, NULL);
        }
        capsa_console_free(c);
        capsa_vm_free(vm);
    }
    CHECK(count_fds() <= before);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "unavailable")) {
        unavailable();
        return 0;
    }
    if (argc > 1) {
        isolated("spin");
        pid_t pid = daemon_of(getpid());
        CHECK(write(1, &pid, sizeof pid) == sizeof pid);
        for (;;) pause();
    }
    signal(SIGPIPE, SIG_DFL);
    choices();
    need_kvm();
    jails();
    daemon_dies();
    embedder_dies(argv[0]);
    CHECK(in_child(bad_variable, argv[0]) == 0);
    cycles();
    return 0;
}
