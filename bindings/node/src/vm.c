/* vm.c - a machine: what of it is there at once. life.c has what takes time. */
#include "addon.h"

#include <stdlib.h>

static capsa_vm *get_vm(napi_env env, napi_callback_info info, size_t n, napi_value *args) {
    return get_args(env, info, n, args) ? handle_get(env, args[0], KIND_VM) : NULL;
}

static napi_value state(napi_env env, napi_callback_info info) {
    napi_value args[1];
    uint32_t n = 0;
    capsa_vm *vm = get_vm(env, info, 1, args);
    if (!vm) return NULL;
    CALL(capsa_vm_state(vm, &n, &err));
    return new_number(env, n);
}

/* vmExitError(vm) -> { error? }: the CapsaError of a guest that never came up. Throws CAPSA_E_TIMEOUT before the end. */
static napi_value exit_error(napi_env env, napi_callback_info info) {
    capsa_exit_info exit = CAPSA_EXIT_INFO_INIT;
    capsa_error *err = NULL;
    napi_value args[1], o;

    capsa_vm *vm = get_vm(env, info, 1, args);
    if (!vm) return NULL;
    capsa_status status = capsa_vm_wait(vm, 0, NULL, &exit, &err);
    if (status && exit.cause == CAPSA_CAUSE_NONE) return throw_status(env, status, err);
    NAPI(napi_create_object(env, &o));
    if (status && !put(env, o, "error", error_new(env, status, err))) return throw_napi(env);
    return o;
}

typedef capsa_status text_getter(capsa_vm *, char **, capsa_error **);

static napi_value get_vm_text(napi_env env, napi_callback_info info, text_getter *get) {
    napi_value args[1];
    char *text = NULL;
    capsa_vm *vm = get_vm(env, info, 1, args);
    if (!vm) return NULL;
    CALL(get(vm, &text, &err));
    return take_text(env, text);
}

static napi_value exit_json(napi_env env, napi_callback_info info) {
    return get_vm_text(env, info, capsa_vm_exit_json);
}
static napi_value stats_json(napi_env env, napi_callback_info info) {
    return get_vm_text(env, info, capsa_vm_stats_json);
}
static napi_value metrics(napi_env env, napi_callback_info info) { return get_vm_text(env, info, capsa_vm_metrics); }

static napi_value boot_log(napi_env env, napi_callback_info info) {
    napi_value args[1];
    capsa_output *out = NULL;
    capsa_vm *vm = get_vm(env, info, 1, args);
    if (!vm) return NULL;
    CALL(capsa_vm_boot_log(vm, &out, &err));
    return take_output(env, out);
}

static napi_value set_memory_target(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint64_t bytes;
    capsa_vm *vm = get_vm(env, info, 2, args);
    if (!vm || !get_u64(env, args[1], "bytes", &bytes)) return NULL;
    CALL(capsa_vm_set_memory_target(vm, bytes, &err));
    return NULL;
}

/* ---- Descriptors, which belong to the caller. */

typedef capsa_status fd_getter(capsa_vm *, int *, capsa_error **);

static napi_value get_vm_fd(napi_env env, napi_callback_info info, fd_getter *get) {
    napi_value args[1];
    int fd = -1;
    capsa_vm *vm = get_vm(env, info, 1, args);
    if (!vm) return NULL;
    CALL(get(vm, &fd, &err));
    return new_fd(env, fd);
}

static napi_value exit_fd(napi_env env, napi_callback_info info) { return get_vm_fd(env, info, capsa_vm_exit_fd); }
static napi_value event_fd(napi_env env, napi_callback_info info) { return get_vm_fd(env, info, capsa_vm_event_fd); }

/* vmNextEvent(vm) -> { type, timeMs, value, json }; undefined: there is none now; null: there will be none */
static napi_value next_event(napi_env env, napi_callback_info info) {
    capsa_event event = CAPSA_EVENT_INIT;
    capsa_error *err = NULL;
    napi_value args[1], o = NULL;
    char *json = NULL;

    capsa_vm *vm = get_vm(env, info, 1, args);
    if (!vm) return NULL;
    capsa_status status = capsa_vm_next_event(vm, 0, NULL, &event, &json, &err);
    capsa_status class = capsa_status_class(status);
    if (class == CAPSA_E_TIMEOUT || class == CAPSA_E_CLOSED) {
        capsa_error_free(err);
        if (class == CAPSA_E_CLOSED) NAPI(napi_get_null(env, &o));
        return o;
    }
    if (status) return throw_status(env, status, err);
    napi_value text = take_text(env, json);
    NAPI(napi_create_object(env, &o));
    if (!put_number(env, o, "type", event.type) || !put_ms(env, o, "timeMs", event.time_ns) ||
        !put_number(env, o, "value", (double)event.value) || !put(env, o, "json", text))
        return throw_napi(env);
    return o;
}

/* vmConsole(vm) -> handle */
static napi_value console(napi_env env, napi_callback_info info) {
    napi_value args[1];
    capsa_console *out = NULL;
    capsa_vm *vm = get_vm(env, info, 1, args);
    if (!vm) return NULL;
    CALL(capsa_vm_console(vm, &out, &err));
    return handle_new(env, KIND_CONSOLE, out);
}

bool vm_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("vmState", state),
        METHOD("vmExitError", exit_error),
        METHOD("vmExitJson", exit_json),
        METHOD("vmStatsJson", stats_json),
        METHOD("vmMetrics", metrics),
        METHOD("vmBootLog", boot_log),
        METHOD("vmSetMemoryTarget", set_memory_target),
        METHOD("vmExitFd", exit_fd),
        METHOD("vmEventFd", event_fd),
        METHOD("vmNextEvent", next_event),
        METHOD("vmConsole", console),
    };
    return DEFINE(env, exports, methods);
}
