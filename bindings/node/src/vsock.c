/* vsock.c - sockets between guest and host: descriptors of unix sockets. */
#include "addon.h"

#include <unistd.h>

struct connect_job {
    job base;
    capsa_vm *vm;
    uint32_t port, flags;
    int64_t timeout_ms;
    int fd; /* plus one: 0 is none */
};

static void run_connect(job *j) {
    struct connect_job *c = (struct connect_job *)j;
    int fd = -1;
    j->status = capsa_vm_vsock_connect(c->vm, c->port, c->flags, c->timeout_ms, j->cancel, &fd, &j->err);
    c->fd = fd + 1;
}

static napi_value connect_result(napi_env env, job *j) {
    struct connect_job *c = (struct connect_job *)j;
    int fd = c->fd - 1;
    c->fd = 0;
    return new_fd(env, fd);
}

static void drop_connect(job *j) {
    if (((struct connect_job *)j)->fd) close(((struct connect_job *)j)->fd - 1);
}

/* vmVsockConnect(vm, port, flags, timeout, cancel?) -> promise of a descriptor */
static napi_value vsock_connect(napi_env env, napi_callback_info info) {
    napi_value args[5];
    uint32_t port, flags;
    int64_t timeout_ms;
    bool ok;

    if (!get_args(env, info, 5, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm || !get_u32(env, args[1], "port", &port) || !get_u32(env, args[2], "flags", &flags) ||
        !get_i64(env, args[3], "timeout", &timeout_ms))
        return NULL;
    capsa_cancel *cancel = handle_get_optional(env, args[4], KIND_CANCEL, &ok);
    struct connect_job *j = ok ? job_new(env, sizeof *j) : NULL;
    if (!j) return NULL;
    if (cancel) j->base.cancel = cancel;
    j->base.run = run_connect;
    j->base.result = connect_result;
    j->base.drop = drop_connect;
    j->vm = vm;
    j->port = port;
    j->flags = flags;
    j->timeout_ms = timeout_ms;
    return job_start_thread(env, &j->base);
}

/* vmVsockListen(vm, port, flags, backlog) -> descriptor of a listening socket */
static napi_value vsock_listen(napi_env env, napi_callback_info info) {
    uint32_t port, flags, backlog;
    napi_value args[4];
    int fd = -1;

    if (!get_args(env, info, 4, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm || !get_u32(env, args[1], "port", &port) || !get_u32(env, args[2], "flags", &flags) ||
        !get_u32(env, args[3], "backlog", &backlog))
        return NULL;
    CALL(capsa_vm_vsock_listen(vm, port, flags, backlog > INT32_MAX ? INT32_MAX : (int)backlog, &fd, &err));
    return new_fd(env, fd);
}

/* vmVsockUnlisten(vm, port) */
static napi_value vsock_unlisten(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t port;

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm || !get_u32(env, args[1], "port", &port)) return NULL;
    CALL(capsa_vm_vsock_unlisten(vm, port, &err));
    return NULL;
}

bool vsock_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("vmVsockConnect", vsock_connect),
        METHOD("vmVsockListen", vsock_listen),
        METHOD("vmVsockUnlisten", vsock_unlisten),
    };
    return DEFINE(env, exports, methods);
}
