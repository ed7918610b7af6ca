/* shim.h - helpers of the C shim alone. */
#ifndef SHIM_H
#define SHIM_H

#include "priv.h"

/* Nonzero in a child of fork(). */
extern int shim_forked;

/* priv_fail for a plain message made in C. */
capsa_status shim_fail(priv_call *call, capsa_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fails with CAPSA_E_FORKED; needs neither memory nor locks. */
capsa_status shim_fail_forked(capsa_error **err);

/* Waits for a pending operation and returns its result; passes any other status on. */
capsa_status shim_finish(priv_call *call, capsa_status status);

/*
 * Checks a structure of the caller whose first field is its size: at least `least` bytes (the structure as it was when
 * it was introduced), and zero beyond the `known` bytes of this version.
 */
capsa_status shim_check_struct(priv_call *call, const void *p, size_t least, size_t known, const char *name);

/* Begins every call that can fail: declares `call`, clears *err, refuses forked children. */
#define SHIM_ENTER(err_)                                                                                              \
    priv_call call = {(err_), 0, -1};                                                                                 \
    if (err_) *(err_) = NULL;                                                                                         \
    if (__builtin_expect(shim_forked, 0)) return shim_fail_forked(err_)

/* Requires a pointer argument. */
#define SHIM_NEED(p)                                                                                                  \
    do {                                                                                                              \
        if (!(p)) return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: %s is NULL", __func__, #p);                       \
    } while (0)

/* A typed handle as the number it is. */
#define SHIM_TOKEN(handle) ((uintptr_t)(handle))

_Static_assert(sizeof(void *) == 8, "handles are 64-bit tokens");

#endif
