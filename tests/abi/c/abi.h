/*
 * abi.h - what the C tests of the ABI share. A test is a program: 0 success, 1 failure, 77 not possible here.
 *
 *   OK(call)           the call, written with &e as its last argument, succeeds and leaves e NULL
 *   FAILS(class, call) it fails with that class and makes an error object with a message, which is freed
 *   CHECK(x)           x holds
 */
#ifndef ABI_H
#define ABI_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "capsa.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Thread_local capsa_error *e __attribute__((unused));

static inline void die(const char *file, int line, const char *what, const char *why) {
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, why);
    exit(1);
}

#define CHECK(x) ((x) ? (void)0 : die(__FILE__, __LINE__, #x, "does not hold"))

static inline void expect_ok(capsa_status s, const char *file, int line, const char *what) {
    if (s != CAPSA_OK) {
        char why[1024];
        snprintf(why, sizeof why, "%s: %s", capsa_status_name(s), capsa_error_message(e));
        die(file, line, what, why);
    }
    if (e) die(file, line, what, "success with an error object");
}
#define OK(call) expect_ok((call), __FILE__, __LINE__, #call)

static inline void expect_failure(capsa_status class, capsa_status s, const char *file, int line, const char *what) {
    char why[1024];
    if (capsa_status_class(s) != class) {
        snprintf(why, sizeof why, "%s (%s), not %s", capsa_status_name(s), capsa_error_message(e),
                 capsa_status_name(class));
        die(file, line, what, why);
    }
    if (!e || capsa_error_code(e) != s || !*capsa_error_message(e)) die(file, line, what, "no proper error object");
    capsa_error_free(e);
    e = NULL;
}
#define FAILS(class, call) expect_failure((class), (call), __FILE__, __LINE__, #call)

/* Whether CAPSA_REQUIRE names a thing that must not be missing. */
static inline int required(const char *thing) {
    const char *list = getenv("CAPSA_REQUIRE");
    return list && strstr(list, thing);
}

/* Leaves the test when this host cannot run machines. */
static inline void need_kvm(void) {
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return;
    }
    fprintf(stderr, "no KVM: /dev/kvm: %s\n", strerror(errno));
    exit(required("kvm") ? 1 : 77);
}

/* A builder for the bare guest (guest/guest.c), which does what its command line says. Its machines run in processes of
 * their own when CAPSA_TEST_ISOLATION is set. */
static inline capsa_builder *guest_builder(const char *commands) {
    const char *path = getenv("CAPSA_TEST_GUEST");
    capsa_builder *b = NULL;
    CHECK(path);
    OK(capsa_builder_new(&b, &e));
    OK(capsa_builder_boot_linux(b, path, NULL, &e));
    OK(capsa_builder_set_cmdline(b, commands, &e));
    OK(capsa_builder_set_memory_mib(b, 32, &e));
    if (getenv("CAPSA_TEST_ISOLATION")) OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, 0, &e));
    return b;
}

static inline capsa_vm *build_guest(const char *commands) {
    capsa_builder *b = guest_builder(commands);
    capsa_vm *vm = NULL;
    OK(capsa_builder_build(b, &vm, &e));
    capsa_builder_free(b);
    return vm;
}

static inline capsa_vm *start_guest(const char *commands) {
    capsa_vm *vm = build_guest(commands);
    OK(capsa_vm_start(vm, -1, NULL, &e));
    return vm;
}

static inline uint32_t state_of(capsa_vm *vm) {
    uint32_t state = 99;
    OK(capsa_vm_state(vm, &state, &e));
    return state;
}

/* Runs fn in a forked child and returns its exit status (128 + signal when it was killed). */
static inline int in_child(int (*fn)(void *), void *arg) {
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) _exit(fn(arg));
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
