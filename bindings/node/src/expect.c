/* expect.c - conversations on a console: waiting for patterns, and running commands. */
#include "addon.h"

#include <stdlib.h>

struct talk_job {
    job base;
    capsa_console *console;
    int64_t timeout_ms;
    capsa_output *output;

    capsa_pattern *patterns; /* of expect */
    uint32_t n_patterns;
    capsa_match match;

    char *command; /* of run */
    int32_t exit_status;
};

static void drop_talk(job *j) {
    struct talk_job *t = (struct talk_job *)j;

    for (uint32_t i = 0; t->patterns && i < t->n_patterns; i++) free((void *)t->patterns[i].data);
    free(t->patterns);
    free(t->command);
    capsa_output_free(t->output);
}

/* A job of fn(console, what, timeout, cancel?). */
static struct talk_job *new_job(napi_env env, const napi_value *args) {
    bool ok = true;
    capsa_console *console = handle_get(env, args[0], KIND_CONSOLE);
    struct talk_job *j = console ? job_new(env, sizeof *j) : NULL;

    if (!j) return NULL;
    j->console = console;
    j->base.drop = drop_talk;
    if (get_i64(env, args[2], "timeout", &j->timeout_ms)) {
        capsa_cancel *cancel = handle_get_optional(env, args[3], KIND_CANCEL, &ok);
        if (cancel) j->base.cancel = cancel;
        if (ok) return j;
    }
    job_free(&j->base);
    return NULL;
}

/* The output with the numbers of the match, or the status, added. */
static napi_value take_job_output(napi_env env, struct talk_job *t) {
    capsa_output *output = t->output;
    t->output = NULL;
    return take_output(env, output);
}

/* ---- expect */

static void run_expect(job *j) {
    struct talk_job *t = (struct talk_job *)j;
    j->status = capsa_console_expect(t->console, t->timeout_ms, j->cancel, t->patterns, t->n_patterns, &t->match,
                                     &t->output, &j->err);
}

static napi_value expect_result(napi_env env, job *j) {
    struct talk_job *t = (struct talk_job *)j;
    napi_value o = take_job_output(env, t);

    if (!o) return NULL;
    if (!put_number(env, o, "pattern", t->match.pattern) || !put_number(env, o, "start", (double)t->match.start) ||
        !put_number(env, o, "length", (double)t->match.len))
        return throw_napi(env);
    return o;
}

static bool get_pattern(napi_env env, napi_value v, capsa_pattern *p) {
    void *data = NULL;
    bool ok = opt_u32(env, v, "kind", &p->kind) && napi_get_named_property(env, v, "data", &v) == napi_ok &&
              get_bytes(env, v, "pattern", &data, &p->len);
    p->data = data;
    return ok;
}

static bool get_patterns(napi_env env, napi_value list, struct talk_job *t) {
    napi_value v;

    if (napi_get_array_length(env, list, &t->n_patterns) != napi_ok ||
        !(t->patterns = calloc(t->n_patterns ? t->n_patterns : 1, sizeof *t->patterns))) {
        throw_napi(env);
        return false;
    }
    for (uint32_t i = 0; i < t->n_patterns; i++) {
        t->patterns[i] = (capsa_pattern)CAPSA_PATTERN_INIT;
        if (napi_get_element(env, list, i, &v) != napi_ok || !get_pattern(env, v, &t->patterns[i])) return false;
    }
    return true;
}

/* consoleExpect(console, [{ kind, data }], timeout, cancel?) -> promise of { pattern, start, length, bytes, missing } */
static napi_value expect(napi_env env, napi_callback_info info) {
    napi_value args[4];

    if (!get_args(env, info, 4, args)) return NULL;
    struct talk_job *j = new_job(env, args);
    if (!j) return NULL;
    j->match = (capsa_match)CAPSA_MATCH_INIT;
    j->base.run = run_expect;
    j->base.result = expect_result;
    if (!get_patterns(env, args[1], j)) {
        job_free(&j->base);
        return NULL;
    }
    return job_start_thread(env, &j->base);
}

/* ---- run */

static void run_command(job *j) {
    struct talk_job *t = (struct talk_job *)j;
    j->status =
        capsa_console_run(t->console, t->timeout_ms, j->cancel, t->command, &t->exit_status, &t->output, &j->err);
}

static napi_value command_result(napi_env env, job *j) {
    struct talk_job *t = (struct talk_job *)j;
    napi_value o = take_job_output(env, t);

    if (!o) return NULL;
    return put_number(env, o, "status", t->exit_status) ? o : throw_napi(env);
}

/* consoleRun(console, command, timeout, cancel?) -> promise of { status, bytes, missing } */
static napi_value run(napi_env env, napi_callback_info info) {
    napi_value args[4];

    if (!get_args(env, info, 4, args)) return NULL;
    struct talk_job *j = new_job(env, args);
    if (!j) return NULL;
    j->base.run = run_command;
    j->base.result = command_result;
    if (!get_text(env, args[1], "command", &j->command)) {
        job_free(&j->base);
        return NULL;
    }
    return job_start_thread(env, &j->base);
}

bool expect_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {METHOD("consoleExpect", expect), METHOD("consoleRun", run)};
    return DEFINE(env, exports, methods);
}
