/* shim.c - fork guard, waiting and argument checks: what every public function shares. */
#define _GNU_SOURCE
#include "shim.h"

#include "_cgo_export.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The largest size a structure of the ABI may claim, in bytes; what is larger was not initialised. */
#define MAX_STRUCT_SIZE 4096

int shim_forked;

/* In a forked child the Go runtime has lost its threads: whatever needs one of them hangs. */
static void in_child(void) { shim_forked = 1; }

__attribute__((constructor)) static void watch_fork(void) { pthread_atfork(NULL, NULL, in_child); }

capsa_status shim_fail(priv_call *call, capsa_status code, const char *format, ...) {
    char text[512];
    va_list args;

    if (!call->err) return code;
    memset(text, 0, sizeof text);
    va_start(args, format);
    int n = vsnprintf(text, sizeof text - 4, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : strlen(text);
    return priv_fail(call, code, 0, text, len + 4); /* message, and the ends of hint, component and detail */
}

/*
 * Waits with the signals of the program, but without SIGURG: the Go runtime sends that to its own threads, of which this
 * one was one a moment ago, and a stray one is no reason to interrupt the caller.
 */
static int wait_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
#ifdef __linux__
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    sigaddset(&mask, SIGURG);
    return ppoll(&p, 1, NULL, &mask);
#else
    return poll(&p, 1, -1);
#endif
}

capsa_status shim_finish(priv_call *call, capsa_status status) {
    if (status != PRIV_PENDING) return status;
    int interrupted = wait_readable(call->fd) < 0 && errno == EINTR;
    return goOpFinish(call->op, interrupted, call);
}

capsa_status shim_check_struct(priv_call *call, const void *p, size_t least, size_t known, const char *name) {
    uint32_t size;

    memcpy(&size, p, sizeof size);
    if (size < least || size > MAX_STRUCT_SIZE)
        return shim_fail(call, CAPSA_E_INVALID_ARG,
                         "%s.size is %u, which is not a size of this structure: set it with its _INIT macro", name,
                         size);
    for (size_t i = known; i < size; i++)
        if (((const unsigned char *)p)[i])
            return shim_fail(call, CAPSA_E_INVALID_ARG, "%s has a field at byte %zu that version %s does not know",
                             name, i, CAPSA_VERSION_STRING);
    return CAPSA_OK;
}
