/* addon.c - the beginning and the end of the addon in one environment: the main thread, or a worker. */
#include "addon.h"

#include <stdlib.h>

addon *addon_of(napi_env env) {
    void *a = NULL;
    return napi_get_instance_data(env, &a) == napi_ok ? a : NULL;
}

/*
 * The environment ends: a worker was terminated, or the process exits. Waits are ended, machines killed. Finalizers and
 * the calls of the bell come later, and find nothing left to do.
 */
static void cleanup(void *data) {
    addon *a = data;

    capsa_cancel_trigger(a->cancel, NULL);
    handles_cancel_all(a);
    jobs_end_all(a);
    handles_free_all(a);
    capsa_cancel_free(a->cancel);
    a->cancel = NULL;
}

static void finalize(napi_env env, void *data, void *hint) {
    addon *a = data;

    (void)hint;
    if (a->error_class) napi_delete_reference(env, a->error_class);
    free(a);
}

/* setErrorClass(constructor): what failed calls throw. */
static napi_value set_error_class(napi_env env, napi_callback_info info) {
    addon *a = addon_of(env);
    napi_value args[1];

    if (!get_args(env, info, 1, args)) return NULL;
    if (a->error_class) NAPI(napi_delete_reference(env, a->error_class));
    NAPI(napi_create_reference(env, args[0], 1, &a->error_class));
    return NULL;
}

NAPI_MODULE_INIT() {
    static const napi_property_descriptor methods[] = {METHOD("setErrorClass", set_error_class)};
    addon *a = calloc(1, sizeof *a);

    if (!a) {
        napi_throw_error(env, NULL, "out of memory");
        return NULL;
    }
    a->env = env;
    if (napi_set_instance_data(env, a, finalize, NULL) != napi_ok) {
        free(a);
        return throw_napi(env);
    }
    CALL(capsa_cancel_new(&a->cancel, &err));
    /* Hooks run in reverse order: the cleanup finds the bell still there. */
    if (!jobs_open(a)) return throw_napi(env);
    NAPI(napi_add_env_cleanup_hook(env, cleanup, a));
    if (!DEFINE(env, exports, methods) || !library_init(env, exports) || !builder_init(env, exports) ||
        !devices_init(env, exports) || !vm_init(env, exports) || !life_init(env, exports) ||
        !stats_init(env, exports) || !network_init(env, exports) || !cable_init(env, exports) ||
        !vsock_init(env, exports) || !guest_init(env, exports) || !console_init(env, exports) ||
        !expect_init(env, exports) || !packet_init(env, exports))
        return throw_napi(env);
    return exports;
}
