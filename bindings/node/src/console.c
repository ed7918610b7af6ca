/* console.c - a console's reads and writes; expect.c has its conversations. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

struct io_job {
    job base;
    capsa_console *console;
    int64_t timeout_ms;
    char *data;  /* to write, or read */
    size_t cap;  /* its size */
    size_t done; /* how much was read, or has been written */
};

static void drop_data(job *j) { free(((struct io_job *)j)->data); }

/* Takes the last two arguments of every call that waits: timeout and cancel. */
static bool set_wait(napi_env env, napi_value timeout, napi_value cancel_value, struct io_job *j) {
    bool ok;

    if (!get_i64(env, timeout, "timeout", &j->timeout_ms)) return false;
    capsa_cancel *cancel = handle_get_optional(env, cancel_value, KIND_CANCEL, &ok);
    if (cancel) j->base.cancel = cancel;
    return ok;
}

/* Makes the call without waiting, which mostly is enough, and in a thread when it is not. */
static napi_value start_io(napi_env env, struct io_job *j) {
    int64_t timeout_ms = j->timeout_ms;

    j->timeout_ms = 0;
    j->base.run(&j->base);
    j->timeout_ms = timeout_ms;
    bool again = capsa_status_class(j->base.status) == CAPSA_E_TIMEOUT && timeout_ms != 0;
    if (!again) return job_finish_now(env, &j->base);
    capsa_error_free(j->base.err);
    j->base.err = NULL;
    return job_start_thread(env, &j->base);
}

static struct io_job *new_job(napi_env env, napi_value console_value, void (*run)(job *)) {
    capsa_console *console = handle_get(env, console_value, KIND_CONSOLE);
    struct io_job *j = console ? job_new(env, sizeof *j) : NULL;

    if (!j) return NULL;
    j->console = console;
    j->base.run = run;
    j->base.drop = drop_data;
    return j;
}

static void run_read(job *j) {
    struct io_job *r = (struct io_job *)j;
    j->status = capsa_console_read(r->console, r->timeout_ms, j->cancel, r->data, r->cap, &r->done, &j->err);
}

static napi_value read_result(napi_env env, job *j) {
    struct io_job *r = (struct io_job *)j;
    napi_value bytes = NULL;
    NAPI(napi_create_buffer_copy(env, r->done, r->data, NULL, &bytes));
    return bytes;
}

/* consoleRead(console, size, timeout, cancel?) -> promise of bytes: none at the end */
static napi_value read_console(napi_env env, napi_callback_info info) {
    napi_value args[4];
    uint32_t size = 0;

    if (!get_args(env, info, 4, args) || !get_u32(env, args[1], "size", &size)) return NULL;
    struct io_job *j = new_job(env, args[0], run_read);
    if (!j) return NULL;
    j->base.result = read_result;
    j->cap = size;
    j->data = malloc(j->cap + 1);
    if (!j->data) throw_napi(env);
    if (!j->data || !set_wait(env, args[2], args[3], j)) {
        job_free(&j->base);
        return NULL;
    }
    return start_io(env, j);
}

/* Goes on after a part was taken until all is. */
static void run_write(job *j) {
    struct io_job *w = (struct io_job *)j;
    size_t n;

    do {
        n = 0;
        j->status = capsa_console_write(w->console, w->timeout_ms, j->cancel, w->data + w->done, w->cap - w->done, &n,
                                        &j->err);
        w->done += n;
    } while (!j->status && w->done < w->cap);
}

/* consoleWrite(console, data, timeout, cancel?) -> promise */
static napi_value write_console(napi_env env, napi_callback_info info) {
    napi_value args[4];
    void *data = NULL;

    if (!get_args(env, info, 4, args)) return NULL;
    struct io_job *j = new_job(env, args[0], run_write);
    if (!j) return NULL;
    if (!get_bytes(env, args[1], "data", &data, &j->cap) || !set_wait(env, args[2], args[3], j)) {
        free(data);
        job_free(&j->base);
        return NULL;
    }
    j->data = data;
    return start_io(env, j);
}

/* ---- Keys: fn(console, timeout, cancel?). */

static void run_interrupt(job *j) {
    j->status =
        capsa_console_interrupt(((struct io_job *)j)->console, ((struct io_job *)j)->timeout_ms, j->cancel, &j->err);
}

static void run_eof(job *j) {
    j->status = capsa_console_eof(((struct io_job *)j)->console, ((struct io_job *)j)->timeout_ms, j->cancel, &j->err);
}

static napi_value start_key(napi_env env, napi_callback_info info, void (*run)(job *)) {
    napi_value args[3];

    if (!get_args(env, info, 3, args)) return NULL;
    struct io_job *j = new_job(env, args[0], run);
    if (!j) return NULL;
    if (!set_wait(env, args[1], args[2], j)) {
        job_free(&j->base);
        return NULL;
    }
    return start_io(env, j);
}

static napi_value interrupt(napi_env env, napi_callback_info info) { return start_key(env, info, run_interrupt); }
static napi_value eof(napi_env env, napi_callback_info info) { return start_key(env, info, run_eof); }

/* ---- What is there at once. */

static napi_value console_fd(napi_env env, napi_callback_info info) {
    napi_value args[1];
    int fd = -1;

    if (!get_args(env, info, 1, args)) return NULL;
    capsa_console *console = handle_get(env, args[0], KIND_CONSOLE);
    if (!console) return NULL;
    CALL(capsa_console_fd(console, &fd, &err));
    return new_fd(env, fd);
}

/* consoleResize(console, columns, rows) */
static napi_value resize(napi_env env, napi_callback_info info) {
    napi_value args[3];
    uint32_t columns, rows;

    if (!get_args(env, info, 3, args)) return NULL;
    capsa_console *console = handle_get(env, args[0], KIND_CONSOLE);
    if (!console || !get_u32(env, args[1], "columns", &columns) || !get_u32(env, args[2], "rows", &rows)) return NULL;
    if (columns > UINT16_MAX || rows > UINT16_MAX) {
        napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "columns and rows must be at most 65535");
        return NULL;
    }
    CALL(capsa_console_resize(console, (uint16_t)columns, (uint16_t)rows, &err));
    return NULL;
}

static napi_value lost(napi_env env, napi_callback_info info) {
    napi_value args[1];
    uint64_t bytes = 0;

    if (!get_args(env, info, 1, args)) return NULL;
    capsa_console *console = handle_get(env, args[0], KIND_CONSOLE);
    if (!console) return NULL;
    CALL(capsa_console_lost(console, &bytes, &err));
    return new_number(env, (double)bytes);
}

static napi_value free_console(napi_env env, napi_callback_info info) {
    napi_value args[1];
    if (get_args(env, info, 1, args)) handle_close(env, args[0], KIND_CONSOLE);
    return NULL;
}

bool console_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("consoleRead", read_console),   METHOD("consoleWrite", write_console), METHOD("consoleEof", eof),
        METHOD("consoleInterrupt", interrupt), METHOD("consoleFd", console_fd),       METHOD("consoleResize", resize),
        METHOD("consoleLost", lost),           METHOD("consoleFree", free_console),
    };
    return DEFINE(env, exports, methods);
}
