/* library.c - the library itself: versions, features, the doctor, and cancel tokens. */
#include "addon.h"

#include <stdlib.h>

static napi_value version(napi_env env, napi_callback_info info) {
    (void)info;
    return new_text(env, capsa_version_string());
}

/* abiVersions() -> [the library's, the one this addon was compiled for] */
static napi_value abi_versions(napi_env env, napi_callback_info info) {
    napi_value pair;

    (void)info;
    NAPI(napi_create_array_with_length(env, 2, &pair));
    NAPI(napi_set_element(env, pair, 0, new_number(env, capsa_abi_version())));
    NAPI(napi_set_element(env, pair, 1, new_number(env, CAPSA_ABI_VERSION)));
    return pair;
}

/* has(feature) -> boolean */
static napi_value has(napi_env env, napi_callback_info info) {
    napi_value args[1], v;
    char *feature;

    if (!get_args(env, info, 1, args) || !get_text(env, args[0], "feature", &feature)) return NULL;
    int known = capsa_has(feature);
    free(feature);
    NAPI(napi_get_boolean(env, known != 0, &v));
    return v;
}

struct text_job {
    job base;
    char *text;
};

static void drop_text(job *j) { capsa_mem_free(((struct text_job *)j)->text); }

static napi_value text_result(napi_env env, job *j) {
    char *text = ((struct text_job *)j)->text;
    ((struct text_job *)j)->text = NULL;
    return take_text(env, text);
}

static napi_value start_text(napi_env env, void (*run)(job *)) {
    struct text_job *j = job_new(env, sizeof *j);

    if (!j) return NULL;
    j->base.run = run;
    j->base.result = text_result;
    j->base.drop = drop_text;
    return job_start(env, &j->base);
}

static void run_doctor(job *j) { j->status = capsa_doctor(&((struct text_job *)j)->text, &j->err); }

/* doctor() -> promise of JSON */
static napi_value doctor(napi_env env, napi_callback_info info) {
    (void)info;
    return start_text(env, run_doctor);
}

static void run_metrics(job *j) { j->status = capsa_metrics(&((struct text_job *)j)->text, &j->err); }

/* metrics() -> promise of Prometheus text */
static napi_value metrics(napi_env env, napi_callback_info info) {
    (void)info;
    return start_text(env, run_metrics);
}

/* cancelNew() -> handle */
static napi_value cancel_new(napi_env env, napi_callback_info info) {
    capsa_cancel *cancel = NULL;
    (void)info;
    CALL(capsa_cancel_new(&cancel, &err));
    return handle_new(env, KIND_CANCEL, cancel);
}

static napi_value cancel_trigger(napi_env env, napi_callback_info info) {
    napi_value args[1];
    if (!get_args(env, info, 1, args)) return NULL;
    capsa_cancel *cancel = handle_get(env, args[0], KIND_CANCEL);
    if (!cancel) return NULL;
    CALL(capsa_cancel_trigger(cancel, &err));
    return NULL;
}

static napi_value cancel_free(napi_env env, napi_callback_info info) {
    napi_value args[1];
    if (get_args(env, info, 1, args)) handle_close(env, args[0], KIND_CANCEL);
    return NULL;
}

bool library_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("version", version),
        METHOD("abiVersions", abi_versions),
        METHOD("has", has),
        METHOD("doctor", doctor),
        METHOD("metrics", metrics),
        METHOD("cancelNew", cancel_new),
        METHOD("cancelTrigger", cancel_trigger),
        METHOD("cancelFree", cancel_free),
    };
    return DEFINE(env, exports, methods);
}
