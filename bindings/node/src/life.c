/* life.c - a machine's life: calls that wait for it. */
#include "addon.h"

struct life_job {
    job base;
    capsa_vm *vm;
    int64_t timeout_ms;
    uint32_t stage;
    capsa_stop_options options;
    capsa_stop_outcome outcome;
};

/* A job on the machine that is the call's first argument. */
static struct life_job *new_job(napi_env env, napi_value vm_value, void (*run)(job *)) {
    capsa_vm *vm = handle_get(env, vm_value, KIND_VM);
    struct life_job *j = vm ? job_new(env, sizeof *j) : NULL;

    if (!j) return NULL;
    j->vm = vm;
    j->base.run = run;
    return j;
}

/* The cancel token of a call, if it has one. */
static bool set_cancel(napi_env env, napi_value v, job *j) {
    bool ok;
    capsa_cancel *cancel = handle_get_optional(env, v, KIND_CANCEL, &ok);
    if (cancel) j->cancel = cancel;
    return ok;
}

/* ---- Calls that end soon by themselves: fn(vm). */

static napi_value start_short(napi_env env, napi_callback_info info, void (*run)(job *)) {
    napi_value args[1];
    if (!get_args(env, info, 1, args)) return NULL;
    struct life_job *j = new_job(env, args[0], run);
    return j ? job_start(env, &j->base) : NULL;
}

static capsa_vm *vm_of(job *j) { return ((struct life_job *)j)->vm; }

static void run_kill(job *j) { j->status = capsa_vm_kill(vm_of(j), &j->err); }
static void run_pause(job *j) { j->status = capsa_vm_pause(vm_of(j), &j->err); }
static void run_resume(job *j) { j->status = capsa_vm_resume(vm_of(j), &j->err); }
static void run_free(job *j) { capsa_vm_free(vm_of(j)); }

static napi_value kill_vm(napi_env env, napi_callback_info info) { return start_short(env, info, run_kill); }
static napi_value pause_vm(napi_env env, napi_callback_info info) { return start_short(env, info, run_pause); }
static napi_value resume_vm(napi_env env, napi_callback_info info) { return start_short(env, info, run_resume); }
static napi_value free_vm(napi_env env, napi_callback_info info) { return start_short(env, info, run_free); }

/* ---- Calls that wait: fn(vm, timeout, cancel?). */

static napi_value start_waiting(napi_env env, napi_callback_info info, void (*run)(job *),
                                napi_value (*result)(napi_env, job *)) {
    napi_value args[3];

    if (!get_args(env, info, 3, args)) return NULL;
    struct life_job *j = new_job(env, args[0], run);
    if (!j) return NULL;
    j->base.result = result;
    if (!get_i64(env, args[1], "timeout", &j->timeout_ms) || !set_cancel(env, args[2], &j->base)) {
        job_free(&j->base);
        return NULL;
    }
    return job_start_thread(env, &j->base);
}

static void run_start(job *j) {
    j->status = capsa_vm_start(vm_of(j), ((struct life_job *)j)->timeout_ms, j->cancel, &j->err);
}

static napi_value start_vm(napi_env env, napi_callback_info info) { return start_waiting(env, info, run_start, NULL); }

static void run_stop(job *j) {
    struct life_job *l = (struct life_job *)j;
    j->status = capsa_vm_stop(l->vm, l->timeout_ms, j->cancel, &l->stage, &j->err);
}

static napi_value stage_result(napi_env env, job *j) { return new_number(env, ((struct life_job *)j)->stage); }

/* vmStop(vm, grace, cancel?) -> promise of the stage */
static napi_value stop_vm(napi_env env, napi_callback_info info) {
    return start_waiting(env, info, run_stop, stage_result);
}

static void run_stages(job *j) {
    struct life_job *l = (struct life_job *)j;
    j->status = capsa_vm_stop_in_stages(l->vm, &l->options, j->cancel, &l->outcome, &j->err);
}

static napi_value outcome_result(napi_env env, job *j) {
    const capsa_stop_outcome *outcome = &((struct life_job *)j)->outcome;
    napi_value o;

    NAPI(napi_create_object(env, &o));
    if (!put_number(env, o, "stage", outcome->stage) || !put_ms(env, o, "agentMs", outcome->agent_ns) ||
        !put_ms(env, o, "powerButtonMs", outcome->power_button_ns) || !put_ms(env, o, "killMs", outcome->kill_ns))
        return throw_napi(env);
    return o;
}

/* vmStopInStages(vm, { agent, powerButton, kill }, cancel?) -> promise of { stage, agentMs, powerButtonMs, killMs } */
static napi_value stop_in_stages(napi_env env, napi_callback_info info) {
    napi_value args[3];

    if (!get_args(env, info, 3, args)) return NULL;
    struct life_job *j = new_job(env, args[0], run_stages);
    if (!j) return NULL;
    j->options = (capsa_stop_options)CAPSA_STOP_OPTIONS_INIT;
    j->outcome = (capsa_stop_outcome)CAPSA_STOP_OUTCOME_INIT;
    j->base.result = outcome_result;
    if (!opt_i64(env, args[1], "agent", &j->options.agent_ms) ||
        !opt_i64(env, args[1], "powerButton", &j->options.power_button_ms) ||
        !opt_i64(env, args[1], "kill", &j->options.kill_ms) || !set_cancel(env, args[2], &j->base)) {
        job_free(&j->base);
        return NULL;
    }
    return job_start_thread(env, &j->base);
}

bool life_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("vmStart", start_vm), METHOD("vmStop", stop_vm),   METHOD("vmStopInStages", stop_in_stages),
        METHOD("vmKill", kill_vm),   METHOD("vmPause", pause_vm), METHOD("vmResume", resume_vm),
        METHOD("vmFree", free_vm),
    };
    return DEFINE(env, exports, methods);
}
