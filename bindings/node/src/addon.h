/*
 * addon.h - what the files of the addon share.
 *
 * The addon is a translation of capsa.h and nothing else: each of its functions takes apart its arguments, makes one call of
 * the library and puts the result together. Whatever may wait is a job (job.c), so that no call of JavaScript blocks. The
 * API that people use is written in JavaScript, in lib/.
 *
 * Every function that can throw returns NULL, or false, with the exception pending.
 */
#ifndef ADDON_H
#define ADDON_H

#ifndef NAPI_VERSION
#define NAPI_VERSION 8
#endif
#include <node_api.h>
#include "capsa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Handles (handles.c): objects of JavaScript that own an object of the library. */

typedef enum {
    KIND_BUILDER,
    KIND_VM,
    KIND_CONSOLE,
    KIND_CANCEL,
    KIND_PACKET,
    KIND_EXEC,
    KIND_NETWORK,
    KIND_COUNT
} kind;

typedef struct addon addon;
typedef struct handle handle;
typedef struct job job;

/* The state of one environment: the main thread's, or a worker's. Only its own thread touches it. */
struct addon {
    napi_env env;
    napi_ref error_class;          /* the constructor of CapsaError */
    napi_threadsafe_function bell; /* rung by threads whose job is done */
    capsa_cancel *cancel;          /* ends the jobs that have no cancel of their own, at the environment's end */
    handle *handles;               /* every handle that has not been collected */
    job *threads;                  /* jobs that wait in a thread of their own */
};

addon *addon_of(napi_env env);

/* Makes an object that owns `token`, which is freed with it; on failure it is freed at once. */
napi_value handle_new(napi_env env, kind k, void *token);

/* The token of a handle of that kind, or NULL with an exception pending. */
void *handle_get(napi_env env, napi_value v, kind k);

/* As handle_get, but undefined and null are NULL without an exception: *ok tells. */
void *handle_get_optional(napi_env env, napi_value v, kind k, bool *ok);

/* Frees what a handle owns now. The library answers CAPSA_E_HANDLE to calls with it from then on. */
void handle_close(napi_env env, napi_value v, kind k);

/* Frees everything that an ending environment owns; its jobs have ended. */
void handles_free_all(addon *a);
void handles_cancel_all(addon *a);

/* ---- Errors (errors.c). */

/* Makes a CapsaError of a failed call and frees `err`. */
napi_value error_new(napi_env env, capsa_status status, capsa_error *err);

/* Throws it; NULL for the caller to return. */
napi_value throw_status(napi_env env, capsa_status status, capsa_error *err);

/* Throws what a failed call of Node-API left, or a general error. */
napi_value throw_napi(napi_env env);

/* Throws the error of a system call. */
napi_value throw_errno(napi_env env, const char *call, int number);

#define NAPI(call)                                                                                                    \
    do {                                                                                                              \
        if ((call) != napi_ok) return throw_napi(env);                                                                \
    } while (0)

/* Makes one call of the library, written with &err as its last argument; returns from the caller when it throws. */
#define CALL(call)                                                                                                    \
    do {                                                                                                              \
        capsa_error *err = NULL;                                                                                      \
        capsa_status status = (call);                                                                                 \
        if (status != CAPSA_OK) return throw_status(env, status, err);                                                \
    } while (0)

/* ---- Values (values.c). What a getter gives as a pointer must be freed with free(). */

#define MAX_ARGS 8

/* Takes the arguments of a call; what was not given is undefined. */
bool get_args(napi_env env, napi_callback_info info, size_t n, napi_value *args);

bool is_missing(napi_env env, napi_value v); /* undefined or null */
bool get_u32(napi_env env, napi_value v, const char *name, uint32_t *out);
bool get_u64(napi_env env, napi_value v, const char *name, uint64_t *out);
bool get_i64(napi_env env, napi_value v, const char *name, int64_t *out); /* undefined is -1: for ever */
bool get_text(napi_env env, napi_value v, const char *name, char **out);
bool get_text_optional(napi_env env, napi_value v, const char *name, char **out);      /* undefined is NULL */
bool get_bytes(napi_env env, napi_value v, const char *name, void **out, size_t *len); /* a string or a Uint8Array */

/* The same for a property of an object; *out stays as it is when the property is missing. */
bool opt_u32(napi_env env, napi_value o, const char *name, uint32_t *out);
bool opt_u16(napi_env env, napi_value o, const char *name, uint16_t *out);
bool opt_u64(napi_env env, napi_value o, const char *name, uint64_t *out);
bool opt_i64(napi_env env, napi_value o, const char *name, int64_t *out);
bool opt_text(napi_env env, napi_value o, const char *name, char **out);
bool opt_list(napi_env env, napi_value o, const char *name, napi_value *list, uint32_t *len);

/* An array of strings. What is there when it fails must be freed as well. */
bool opt_texts(napi_env env, napi_value o, const char *name, char ***texts, uint32_t *n);
void free_texts(char **texts, uint32_t n);

napi_value new_undefined(napi_env env);
napi_value new_number(napi_env env, double n);
napi_value new_text(napi_env env, const char *text);
napi_value new_fd(napi_env env, int fd);

/* Makes a string of a text of the library's, and frees it. */
napi_value take_text(napi_env env, char *text);

/* Makes { bytes, missing } of an output, and frees it. */
napi_value take_output(napi_env env, capsa_output *output);

bool put(napi_env env, napi_value o, const char *name, napi_value v);
bool put_number(napi_env env, napi_value o, const char *name, double n);
bool put_ms(napi_env env, napi_value o, const char *name, uint64_t ns); /* nanoseconds become milliseconds */

/* ---- Jobs (job.c): calls that may wait, each with a promise. */

/* Begins a struct that has the arguments and results of one kind of call. */
struct job {
    capsa_status status;
    capsa_error *err;
    capsa_cancel *cancel;

    void (*run)(job *j);                        /* makes the call; on another thread, without JavaScript */
    napi_value (*result)(napi_env env, job *j); /* what the promise becomes; NULL: undefined */
    void (*drop)(job *j);                       /* frees arguments, and results that `result` has not taken; or NULL */
    void (*stop)(job *j);                       /* ends run, when no capsa_cancel can; or NULL */

    /* Of job.c. */
    addon *owner;
    napi_deferred deferred;
    napi_async_work work;
    uintptr_t thread;
    job *next, **link;
};

/* Allocates a job, zeroed; NULL with an exception pending. */
void *job_new(napi_env env, size_t size);

/* Frees a job that was not started. */
void job_free(job *j);

/* Runs a job that ends by itself soon on libuv's pool of threads. Gives its promise. */
napi_value job_start(napi_env env, job *j);

/* Runs a job that may wait for ever in a thread of its own: the pool has four, which it would use up. */
napi_value job_start_thread(napi_env env, job *j);

/* Gives the promise of a job that has run already. */
napi_value job_finish_now(napi_env env, job *j);

bool jobs_open(addon *a);
void jobs_end_all(addon *a);

/* ---- The objects. Each adds its functions to the addon's exports. */

bool library_init(napi_env env, napi_value exports);
bool builder_init(napi_env env, napi_value exports);
bool devices_init(napi_env env, napi_value exports);
bool vm_init(napi_env env, napi_value exports);
bool life_init(napi_env env, napi_value exports);
bool stats_init(napi_env env, napi_value exports);
bool network_init(napi_env env, napi_value exports);
bool cable_init(napi_env env, napi_value exports);
bool vsock_init(napi_env env, napi_value exports);
bool guest_init(napi_env env, napi_value exports);
bool console_init(napi_env env, napi_value exports);
bool expect_init(napi_env env, napi_value exports);
bool packet_init(napi_env env, napi_value exports);

#define METHOD(name, fn)                                                                                              \
    { name, NULL, fn, NULL, NULL, NULL, napi_enumerable, NULL }
#define DEFINE(env, exports, list)                                                                                    \
    (napi_define_properties(env, exports, sizeof(list) / sizeof *(list), list) == napi_ok)

#endif
