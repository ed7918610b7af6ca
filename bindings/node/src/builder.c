/* builder.c - the description of a machine; devices.c has its disks, shares and the like. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

static napi_value builder_new(napi_env env, napi_callback_info info) {
    capsa_builder *b = NULL;
    (void)info;
    CALL(capsa_builder_new(&b, &err));
    return handle_new(env, KIND_BUILDER, b);
}

static napi_value builder_new_sandbox(napi_env env, napi_callback_info info) {
    capsa_builder *b = NULL;
    (void)info;
    CALL(capsa_builder_new_sandbox(&b, &err));
    return handle_new(env, KIND_BUILDER, b);
}

/* The arguments of a function whose first one is a builder; NULL when it throws. */
static capsa_builder *get_builder(napi_env env, napi_callback_info info, size_t n, napi_value *args) {
    return get_args(env, info, n, args) ? handle_get(env, args[0], KIND_BUILDER) : NULL;
}

static napi_value builder_clone(napi_env env, napi_callback_info info) {
    napi_value args[1];
    capsa_builder *b = get_builder(env, info, 1, args), *out = NULL;
    if (!b) return NULL;
    CALL(capsa_builder_clone(b, &out, &err));
    return handle_new(env, KIND_BUILDER, out);
}

static napi_value builder_free(napi_env env, napi_callback_info info) {
    napi_value args[1];
    if (get_args(env, info, 1, args)) handle_close(env, args[0], KIND_BUILDER);
    return NULL;
}

/* ---- Setters of one text. */

typedef capsa_status text_setter(capsa_builder *, const char *, capsa_error **);

static napi_value set_text(napi_env env, napi_callback_info info, text_setter *set, const char *name, bool optional) {
    napi_value args[2];
    char *text;
    capsa_error *err = NULL;

    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b || !(optional ? get_text_optional : get_text)(env, args[1], name, &text)) return NULL;
    capsa_status status = set(b, text, &err);
    free(text);
    return status ? throw_status(env, status, err) : NULL;
}

static napi_value set_name(napi_env env, napi_callback_info info) {
    return set_text(env, info, capsa_builder_set_name, "name", false);
}

static napi_value set_backend(napi_env env, napi_callback_info info) {
    return set_text(env, info, capsa_builder_set_backend, "backend", false);
}

static napi_value cmdline_arg(napi_env env, napi_callback_info info) {
    return set_text(env, info, capsa_builder_cmdline_arg, "arg", false);
}

static napi_value set_cmdline(napi_env env, napi_callback_info info) {
    return set_text(env, info, capsa_builder_set_cmdline, "cmdline", true);
}

/* bootLinux(builder, kernel, initrd?) */
static napi_value boot_linux(napi_env env, napi_callback_info info) {
    napi_value args[3];
    char *kernel = NULL, *initrd = NULL;
    capsa_error *err = NULL;

    capsa_builder *b = get_builder(env, info, 3, args);
    if (!b || !get_text(env, args[1], "kernel", &kernel)) return NULL;
    if (!get_text_optional(env, args[2], "initrd", &initrd)) {
        free(kernel);
        return NULL;
    }
    capsa_status status = capsa_builder_boot_linux(b, kernel, initrd, &err);
    free(kernel);
    free(initrd);
    return status ? throw_status(env, status, err) : NULL;
}

/* ---- Setters of one number. */

static napi_value set_cpus(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t cpus;
    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b || !get_u32(env, args[1], "cpus", &cpus)) return NULL;
    CALL(capsa_builder_set_cpus(b, cpus, &err));
    return NULL;
}

static napi_value set_memory_mib(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint64_t mib;
    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b || !get_u64(env, args[1], "memory", &mib)) return NULL;
    CALL(capsa_builder_set_memory_mib(b, mib, &err));
    return NULL;
}

static napi_value set_timeout(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint64_t ms;
    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b || !get_u64(env, args[1], "timeout", &ms)) return NULL;
    CALL(capsa_builder_set_timeout(b, (int64_t)ms, &err));
    return NULL;
}

/* ---- JSON. */

static napi_value to_json(napi_env env, napi_callback_info info) {
    napi_value args[1];
    char *json = NULL;
    capsa_builder *b = get_builder(env, info, 1, args);
    if (!b) return NULL;
    CALL(capsa_builder_to_json(b, &json, &err));
    return take_text(env, json);
}

static napi_value from_json(napi_env env, napi_callback_info info) {
    napi_value args[1];
    capsa_builder *b = NULL;
    capsa_error *err = NULL;
    void *json;
    size_t len;

    if (!get_args(env, info, 1, args) || !get_bytes(env, args[0], "json", &json, &len)) return NULL;
    capsa_status status = capsa_builder_from_json(json, len, &b, &err);
    free(json);
    return status ? throw_status(env, status, err) : handle_new(env, KIND_BUILDER, b);
}

/* setGuestJson(builder, text) */
static napi_value set_guest_json(napi_env env, napi_callback_info info) {
    napi_value args[2];
    capsa_error *err = NULL;
    void *json;
    size_t len;

    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b || !get_bytes(env, args[1], "json", &json, &len)) return NULL;
    capsa_status status = capsa_builder_set_guest_json(b, json, len, &err);
    free(json);
    return status ? throw_status(env, status, err) : NULL;
}

/* ---- Build: it reads files. */

struct build_job {
    job base;
    capsa_builder *builder; /* a copy: the caller may change the original meanwhile */
    capsa_vm *vm;
};

static void run_build(job *j) {
    struct build_job *b = (struct build_job *)j;
    j->status = capsa_builder_build(b->builder, &b->vm, &j->err);
}

static void drop_build(job *j) {
    capsa_builder_free(((struct build_job *)j)->builder);
    capsa_vm_free(((struct build_job *)j)->vm);
}

static napi_value build_result(napi_env env, job *j) {
    capsa_vm *vm = ((struct build_job *)j)->vm;
    ((struct build_job *)j)->vm = NULL;
    return handle_new(env, KIND_VM, vm);
}

/* build(builder) -> promise of a machine */
static napi_value build(napi_env env, napi_callback_info info) {
    napi_value args[1];
    capsa_builder *b = get_builder(env, info, 1, args), *copy = NULL;
    if (!b) return NULL;
    CALL(capsa_builder_clone(b, &copy, &err));
    struct build_job *j = job_new(env, sizeof *j);
    if (!j) {
        capsa_builder_free(copy);
        return NULL;
    }
    j->builder = copy;
    j->base.run = run_build;
    j->base.result = build_result;
    j->base.drop = drop_build;
    return job_start(env, &j->base);
}

bool builder_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("builderNew", builder_new),
        METHOD("builderClone", builder_clone),
        METHOD("builderFree", builder_free),
        METHOD("builderSetName", set_name),
        METHOD("builderSetBackend", set_backend),
        METHOD("builderBootLinux", boot_linux),
        METHOD("builderCmdlineArg", cmdline_arg),
        METHOD("builderSetCmdline", set_cmdline),
        METHOD("builderSetCpus", set_cpus),
        METHOD("builderSetMemoryMib", set_memory_mib),
        METHOD("builderSetTimeout", set_timeout),
        METHOD("builderToJson", to_json),
        METHOD("builderFromJson", from_json),
        METHOD("builderBuild", build),
        METHOD("builderNewSandbox", builder_new_sandbox),
        METHOD("builderSetGuestJson", set_guest_json),
    };
    return DEFINE(env, exports, methods);
}
