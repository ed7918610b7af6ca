/* descriptors.c - exit, event and console descriptors, events, and that nothing stays open. */
#include "abi.h"

#include <dirent.h>
#include <sys/socket.h>

static int open_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    CHECK(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static int readable(int fd, int timeout_ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

/* The promises of the header about every descriptor. */
static void check_kind(int fd) {
    int type = 0;
    socklen_t len = sizeof type;

    CHECK(fd > 2);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM);
}

static void exit_fd(void) {
    capsa_vm *vm = build_guest("print:x echo off");
    int before = -1, during = -1, after = -1;
    char byte;

    OK(capsa_vm_exit_fd(vm, &before, &e));
    OK(capsa_vm_start(vm, -1, NULL, &e));
    OK(capsa_vm_exit_fd(vm, &during, &e));
    CHECK(before != during);
    check_kind(before);
    CHECK(!readable(before, 0) && !readable(during, 0));

    /* A forked sibling that holds copies does not keep the end away. */
    pid_t pid = fork();
    if (!pid) {
        pause();
        _exit(0);
    }
    OK(capsa_vm_kill(vm, &e));
    CHECK(readable(before, 30000) && readable(during, 30000));
    CHECK(read(before, &byte, 1) == 0 && read(before, &byte, 1) == 0);
    OK(capsa_vm_exit_fd(vm, &after, &e));
    CHECK(readable(after, 30000) && read(after, &byte, 1) == 0);
    capsa_vm_free(vm);
    CHECK(readable(before, 0) && read(before, &byte, 1) == 0);
    CHECK(close(before) == 0 && close(during) == 0 && close(after) == 0);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
}

static void console_fd(void) {
    capsa_vm *vm = build_guest("print:ready echo print:bye off");
    capsa_console *c = NULL;
    char buf[4096];
    size_t used = 0;
    int fd = -1, typed = 0;

    OK(capsa_vm_console(vm, &c, &e));
    OK(capsa_console_fd(c, &fd, &e));
    capsa_console_free(c);
    check_kind(fd);
    OK(capsa_vm_start(vm, -1, NULL, &e));
    for (;;) {
        CHECK(readable(fd, 30000));
        ssize_t n = read(fd, buf + used, sizeof buf - used - 1);
        CHECK(n >= 0);
        if (n == 0) break;
        used += (size_t)n;
        buf[used] = 0;
        if (!typed && strstr(buf, "ready\n")) typed = write(fd, "ping\4", 5) == 5;
    }
    CHECK(strstr(buf, "pingbye\n"));
    OK(capsa_vm_wait(vm, 30000, NULL, NULL, &e));
    close(fd);
    capsa_vm_free(vm);
}

static void events(void) {
    capsa_vm *vm = build_guest("print:x off");
    capsa_event event = CAPSA_EVENT_INIT;
    int fd = -1, running = 0, console = 0;
    char *json = NULL;

    OK(capsa_vm_event_fd(vm, &fd, &e));
    check_kind(fd);
    OK(capsa_vm_start(vm, -1, NULL, &e));
    do {
        CHECK(readable(fd, 30000));
        OK(capsa_vm_next_event(vm, 30000, NULL, &event, &json, &e));
        CHECK(json[0] == '{' && event.time_ns > 0);
        capsa_mem_free(json);
        if (event.type == CAPSA_EVENT_STATE && event.value == CAPSA_STATE_RUNNING) running = 1;
        if (event.type == CAPSA_EVENT_CONSOLE_DATA) console = 1;
    } while (event.type != CAPSA_EVENT_EXITED);
    CHECK(running && console && event.value == CAPSA_CAUSE_GUEST_SHUTDOWN);
    FAILS(CAPSA_E_CLOSED, capsa_vm_next_event(vm, -1, NULL, &event, NULL, &e));
    CHECK(readable(fd, 30000));
    close(fd);
    capsa_vm_free(vm);

    vm = build_guest("spin");
    while (capsa_vm_next_event(vm, 0, NULL, &event, NULL, NULL) == CAPSA_OK) continue;
    FAILS(CAPSA_E_TIMEOUT, capsa_vm_next_event(vm, 0, NULL, &event, NULL, &e));
    FAILS(CAPSA_E_TIMEOUT, capsa_vm_next_event(vm, 20, NULL, &event, NULL, &e));
    capsa_vm_free(vm);
}

int main(void) {
    need_kvm();
    capsa_vm_free(build_guest("off")); /* the Go runtime opens what it keeps */
    exit_fd();
    int before = open_fds();
    for (int i = 0; i < 3; i++) {
        exit_fd();
        console_fd();
        events();
    }
    CHECK(open_fds() == before);
    return 0;
}
