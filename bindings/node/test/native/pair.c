/* pair.c - gives the tests descriptors that JavaScript cannot make: connected and listening sockets of messages. */
#include <node_api.h>

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static napi_value numbers(napi_env env, const int *n) {
    napi_value list = NULL, v;

    if (napi_create_array_with_length(env, 2, &list) != napi_ok) return NULL;
    for (uint32_t i = 0; i < 2; i++)
        if (napi_create_int32(env, n[i], &v) != napi_ok || napi_set_element(env, list, i, v) != napi_ok) return NULL;
    return list;
}

/* pair() -> [fd, fd] */
static napi_value pair(napi_env env, napi_callback_info info) {
    int fd[2];

    (void)info;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0) return NULL;
    return numbers(env, fd);
}

/* listening(messages) -> [listening fd, fd of a client that is connected to it] */
static napi_value listening(napi_env env, napi_callback_info info) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t len = sizeof at;
    bool messages = false;
    napi_value args[1];
    size_t n = 1;
    int fd[2];

    if (napi_get_cb_info(env, info, &n, args, NULL, NULL) != napi_ok ||
        napi_get_value_bool(env, args[0], &messages) != napi_ok)
        return NULL;
    int type = (messages ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC;
    fd[0] = socket(AF_UNIX, type, 0);
    fd[1] = socket(AF_UNIX, type, 0);
    if (fd[0] < 0 || fd[1] < 0 || bind(fd[0], (struct sockaddr *)&at, sizeof(sa_family_t)) < 0 ||
        listen(fd[0], 1) < 0 || getsockname(fd[0], (struct sockaddr *)&at, &len) < 0 ||
        connect(fd[1], (struct sockaddr *)&at, len) < 0)
        return NULL;
    return numbers(env, fd);
}

NAPI_MODULE_INIT() {
    napi_property_descriptor methods[] = {{"pair", NULL, pair, NULL, NULL, NULL, napi_enumerable, NULL},
                                          {"listening", NULL, listening, NULL, NULL, NULL, napi_enumerable, NULL}};
    return napi_define_properties(env, exports, 2, methods) == napi_ok ? exports : NULL;
}
