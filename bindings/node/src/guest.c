/* guest.c - programs and files of a guest that has the library's agent. */
#include "addon.h"

#include <stdlib.h>

/* What the calls to a guest have in common: a machine or a program, texts, numbers, bytes. */
struct guest_job {
    job base;
    capsa_vm *vm;
    capsa_exec *exec;
    int64_t timeout_ms;
    uint32_t a, b;
    char *from, *to;
    void *bytes;
    size_t len;
    /* Results. */
    char *text;
    capsa_output *output;
    capsa_exec_status status;
    capsa_exec *made;
    /* Of vmExec. */
    capsa_exec_options options;
    char **args, **env;
    uint32_t n_args, n_env;
    capsa_rlimit *rlimits;
};

static void drop_guest(job *j) {
    struct guest_job *g = (struct guest_job *)j;

    free(g->from);
    free(g->to);
    free(g->bytes);
    capsa_mem_free(g->text);
    capsa_output_free(g->output);
    capsa_exec_free(g->made);
    free_texts(g->args, g->n_args);
    free_texts(g->env, g->n_env);
    free(g->rlimits);
}

/* Begins a call on a machine or on a program, whose last two arguments are timeout and cancel token. */
static struct guest_job *begin(napi_env env, napi_callback_info info, kind k, size_t n, napi_value *args,
                               void (*run)(job *)) {
    int64_t timeout_ms;
    bool ok;

    if (!get_args(env, info, n, args)) return NULL;
    void *token = handle_get(env, args[0], k);
    if (!token || !get_i64(env, args[n - 2], "timeout", &timeout_ms)) return NULL;
    capsa_cancel *cancel = handle_get_optional(env, args[n - 1], KIND_CANCEL, &ok);
    struct guest_job *g = ok ? job_new(env, sizeof *g) : NULL;
    if (!g) return NULL;
    if (cancel) g->base.cancel = cancel;
    g->base.run = run;
    g->base.drop = drop_guest;
    g->timeout_ms = timeout_ms;
    if (k == KIND_VM)
        g->vm = token;
    else
        g->exec = token;
    return g;
}

/* Starts it, or frees it when its arguments are wrong. */
static napi_value start(napi_env env, struct guest_job *g, bool ok) {
    if (ok) return job_start_thread(env, &g->base);
    job_free(&g->base);
    return NULL;
}

/* ---- The guest itself. */

static void run_wait_ready(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    j->status = capsa_vm_wait_ready(g->vm, g->timeout_ms, j->cancel, &g->text, &j->err);
}

static napi_value text_result(napi_env env, job *j) {
    struct guest_job *g = (struct guest_job *)j;
    char *text = g->text;
    g->text = NULL;
    return take_text(env, text);
}

/* vmWaitReady(vm, timeout, cancel?) -> promise of JSON */
static napi_value wait_ready(napi_env env, napi_callback_info info) {
    napi_value args[3];
    struct guest_job *g = begin(env, info, KIND_VM, 3, args, run_wait_ready);
    if (!g) return NULL;
    g->base.result = text_result;
    return start(env, g, true);
}

/* ---- Programs. */

static void run_exec(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    j->status = capsa_vm_exec(g->vm, &g->options, g->timeout_ms, j->cancel, &g->made, &j->err);
}

static napi_value exec_result(napi_env env, job *j) {
    struct guest_job *g = (struct guest_job *)j;
    capsa_exec *made = g->made;
    g->made = NULL;
    return handle_new(env, KIND_EXEC, made);
}

/* An array of { resource, soft, hard }. */
static bool get_rlimits(napi_env env, napi_value o, struct guest_job *g) {
    napi_value list, v;
    uint32_t n;

    if (!opt_list(env, o, "rlimits", &list, &n)) return false;
    if (!n) return true;
    g->rlimits = calloc(n, sizeof *g->rlimits);
    if (!g->rlimits) return throw_napi(env), false;
    for (uint32_t i = 0; i < n; i++)
        if (napi_get_element(env, list, i, &v) != napi_ok || !opt_u32(env, v, "resource", &g->rlimits[i].resource) ||
            !opt_u64(env, v, "soft", &g->rlimits[i].soft) || !opt_u64(env, v, "hard", &g->rlimits[i].hard))
            return false;
    g->options.rlimits = g->rlimits;
    g->options.n_rlimits = n;
    return true;
}

static bool get_exec(napi_env env, napi_value v, struct guest_job *g) {
    capsa_exec_options *o = &g->options;

    *o = (capsa_exec_options)CAPSA_EXEC_OPTIONS_INIT;
    if (!opt_u32(env, v, "flags", &o->flags) || !opt_texts(env, v, "args", &g->args, &g->n_args) ||
        !opt_texts(env, v, "env", &g->env, &g->n_env) || !opt_text(env, v, "dir", &g->from) ||
        !opt_text(env, v, "user", &g->to) || !opt_u16(env, v, "columns", &o->columns) ||
        !opt_u16(env, v, "rows", &o->rows) || !opt_u64(env, v, "memory", &o->memory) ||
        !opt_u64(env, v, "pids", &o->pids) || !opt_i64(env, v, "limit", &o->timeout_ms) || !get_rlimits(env, v, g))
        return false;
    o->args = (const char *const *)g->args;
    o->n_args = g->n_args;
    o->env = (const char *const *)g->env;
    o->n_env = g->n_env;
    o->dir = g->from;
    o->user = g->to;
    return true;
}

/* vmExec(vm, options, timeout, cancel?) -> promise of a program */
static napi_value exec(napi_env env, napi_callback_info info) {
    napi_value args[4];
    struct guest_job *g = begin(env, info, KIND_VM, 4, args, run_exec);
    if (!g) return NULL;
    g->base.result = exec_result;
    return start(env, g, get_exec(env, args[1], g));
}

/* execFd(exec, stream) -> descriptor */
static napi_value exec_fd(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t stream;
    int fd = -1;

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_exec *x = handle_get(env, args[0], KIND_EXEC);
    if (!x || !get_u32(env, args[1], "stream", &stream)) return NULL;
    CALL(capsa_exec_fd(x, stream, &fd, &err));
    return new_fd(env, fd);
}

static void run_exec_wait(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    g->status = (capsa_exec_status)CAPSA_EXEC_STATUS_INIT;
    j->status = capsa_exec_wait(g->exec, g->timeout_ms, j->cancel, &g->status, &j->err);
}

static napi_value status_result(napi_env env, job *j) {
    const capsa_exec_status *s = &((struct guest_job *)j)->status;
    napi_value o;

    NAPI(napi_create_object(env, &o));
    if (!put_number(env, o, "code", s->code) || !put_number(env, o, "signal", s->signal) ||
        !put_number(env, o, "flags", s->flags) || !put_ms(env, o, "userMs", s->user_ns) ||
        !put_ms(env, o, "systemMs", s->system_ns) || !put_ms(env, o, "realMs", s->real_ns) ||
        !put_number(env, o, "maxRss", (double)s->max_rss))
        return NULL;
    return o;
}

/* execWait(exec, timeout, cancel?) -> promise of { code, signal, flags, ... } */
static napi_value exec_wait(napi_env env, napi_callback_info info) {
    napi_value args[3];
    struct guest_job *g = begin(env, info, KIND_EXEC, 3, args, run_exec_wait);
    if (!g) return NULL;
    g->base.result = status_result;
    return start(env, g, true);
}

static void run_exec_signal(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    j->status = capsa_exec_signal(g->exec, (int32_t)g->a, g->b, g->timeout_ms, j->cancel, &j->err);
}

/* execSignal(exec, signal, flags, timeout, cancel?) -> promise */
static napi_value exec_signal(napi_env env, napi_callback_info info) {
    napi_value args[5];
    struct guest_job *g = begin(env, info, KIND_EXEC, 5, args, run_exec_signal);
    return g ? start(env, g, get_u32(env, args[1], "signal", &g->a) && get_u32(env, args[2], "flags", &g->b)) : NULL;
}

static void run_exec_resize(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    j->status = capsa_exec_resize(g->exec, (uint16_t)g->a, (uint16_t)g->b, g->timeout_ms, j->cancel, &j->err);
}

/* execResize(exec, columns, rows, timeout, cancel?) -> promise */
static napi_value exec_resize(napi_env env, napi_callback_info info) {
    napi_value args[5];
    struct guest_job *g = begin(env, info, KIND_EXEC, 5, args, run_exec_resize);
    if (!g) return NULL;
    bool ok = get_u32(env, args[1], "columns", &g->a) && get_u32(env, args[2], "rows", &g->b);
    if (ok && (g->a > UINT16_MAX || g->b > UINT16_MAX)) {
        napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "columns and rows are at most 65535");
        ok = false;
    }
    return start(env, g, ok);
}

/* execFree(exec) */
static napi_value exec_free(napi_env env, napi_callback_info info) {
    napi_value args[1];
    if (get_args(env, info, 1, args)) handle_close(env, args[0], KIND_EXEC);
    return NULL;
}

/* ---- Files. */

static void run_copy(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    j->status =
        (g->a ? capsa_vm_copy_in : capsa_vm_copy_out)(g->vm, g->from, g->to, g->b, g->timeout_ms, j->cancel, &j->err);
}

/* vmCopy(vm, in, from, to, flags, timeout, cancel?) -> promise; `in` is 1 or 0 */
static napi_value copy(napi_env env, napi_callback_info info) {
    napi_value args[7];
    struct guest_job *g = begin(env, info, KIND_VM, 7, args, run_copy);
    if (!g) return NULL;
    return start(env, g,
                 get_u32(env, args[1], "in", &g->a) && get_text(env, args[2], "from", &g->from) &&
                     get_text(env, args[3], "to", &g->to) && get_u32(env, args[4], "flags", &g->b));
}

static void run_file_read(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    j->status = capsa_vm_file_read(g->vm, g->from, g->timeout_ms, j->cancel, &g->output, &j->err);
}

static napi_value output_result(napi_env env, job *j) {
    struct guest_job *g = (struct guest_job *)j;
    capsa_output *output = g->output;
    g->output = NULL;
    return take_output(env, output);
}

/* vmFileRead(vm, path, timeout, cancel?) -> promise of { bytes, missing } */
static napi_value file_read(napi_env env, napi_callback_info info) {
    napi_value args[4];
    struct guest_job *g = begin(env, info, KIND_VM, 4, args, run_file_read);
    if (!g) return NULL;
    g->base.result = output_result;
    return start(env, g, get_text(env, args[1], "path", &g->from));
}

static void run_file_write(job *j) {
    struct guest_job *g = (struct guest_job *)j;
    j->status = capsa_vm_file_write(g->vm, g->from, g->bytes, g->len, g->a, g->timeout_ms, j->cancel, &j->err);
}

/* vmFileWrite(vm, path, data, mode, timeout, cancel?) -> promise */
static napi_value file_write(napi_env env, napi_callback_info info) {
    napi_value args[6];
    struct guest_job *g = begin(env, info, KIND_VM, 6, args, run_file_write);
    if (!g) return NULL;
    return start(env, g,
                 get_text(env, args[1], "path", &g->from) && get_bytes(env, args[2], "data", &g->bytes, &g->len) &&
                     get_u32(env, args[3], "mode", &g->a));
}

bool guest_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("vmWaitReady", wait_ready), METHOD("vmExec", exec),
        METHOD("execFd", exec_fd),         METHOD("execWait", exec_wait),
        METHOD("execSignal", exec_signal), METHOD("execResize", exec_resize),
        METHOD("execFree", exec_free),     METHOD("vmCopy", copy),
        METHOD("vmFileRead", file_read),   METHOD("vmFileWrite", file_write),
    };
    return DEFINE(env, exports, methods);
}
