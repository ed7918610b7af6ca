/*
 * priv.h - what the C shim and the Go side of libcapsa share. Not installed.
 *
 * The public functions are C (builder.c, vm.c, ...). Each one checks for fork and NULL, turns typed handles into
 * numbers, calls one function that Go exports, and, when that has to wait, waits here in poll(2).
 */
#ifndef PRIV_H
#define PRIV_H

#include "capsa.h"

/* One public call on its way through the library; lives on the caller's stack. */
typedef struct priv_call {
    capsa_error **err; /* where the caller wants the error object, or NULL; only C looks at it */
    uintptr_t op;      /* set by Go with PRIV_PENDING: the operation to wait for */
    int fd;            /* set by Go with PRIV_PENDING: readable when the operation is done; Go closes it */
} priv_call;

/* Answer of Go: not done yet. Wait for call->fd, then ask goOpFinish(call->op). Never leaves the library. */
#define PRIV_PENDING 1

/* Kinds of handles: the top byte of a token. Go's table has the low ones, objects.c the high ones. */
enum {
    PRIV_KIND_BUILDER = 1,
    PRIV_KIND_VM = 2,
    PRIV_KIND_CONSOLE = 3,
    PRIV_KIND_CANCEL = 4,
    PRIV_KIND_OP = 5,
    PRIV_KIND_EXEC = 6,
    PRIV_KIND_NETWORK = 7,
    PRIV_KIND_ERROR = 0x61,
    PRIV_KIND_OUTPUT = 0x62
};

/*
 * Stores an error object in *call->err (when wanted) and returns code. text holds message, hint, component and detail,
 * each ended by a zero byte, and then the console's tail: size bytes in all. Called from Go and C.
 */
capsa_status priv_fail(priv_call *call, capsa_status code, int32_t os_errno, const char *text, size_t size);

/* Makes an output object of a copy of size bytes, missing more of which are not there, and returns its token, or 0
 * without memory. Called from Go. */
uintptr_t priv_output_new(const char *data, size_t size, uint64_t missing);

/* Copies size bytes and a terminating zero byte to memory that capsa_mem_free frees; NULL without memory. */
char *priv_text_new(const char *data, size_t size);

#endif
