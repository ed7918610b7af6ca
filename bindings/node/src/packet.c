/*
 * packet.c - unix sockets of messages (SOCK_SEQPACKET), which Node's own sockets cannot be. Nothing here waits but
 * packetWait, which has a thread for it.
 */
#include "addon.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The largest message that is received, in bytes: far more than a unix socket's buffer takes (net.core.wmem_max). */
#define MAX_MESSAGE (16 << 20)

/* The descriptor of a packet handle, which is kept as a token plus one; -1 with an exception pending. */
static int get_fd(napi_env env, napi_value v) {
    void *token = handle_get(env, v, KIND_PACKET);
    return (int)(intptr_t)token - 1;
}

/* packetOpen(fd) -> handle that owns the descriptor */
static napi_value packet_open(napi_env env, napi_callback_info info) {
    napi_value args[1];
    uint32_t fd;
    if (!get_args(env, info, 1, args) || !get_u32(env, args[0], "fd", &fd)) return NULL;
    return handle_new(env, KIND_PACKET, (void *)(intptr_t)(fd + 1));
}

static napi_value packet_close(napi_env env, napi_callback_info info) {
    napi_value args[1];
    if (get_args(env, info, 1, args)) handle_close(env, args[0], KIND_PACKET);
    return NULL;
}

/* packetShutdown(packet, how): ends waits too. A peer that is gone is no error. */
static napi_value packet_shutdown(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t how;

    if (!get_args(env, info, 2, args) || !get_u32(env, args[1], "how", &how)) return NULL;
    int fd = get_fd(env, args[0]);
    if (fd < 0) return NULL;
    if (shutdown(fd, (int)how) < 0 && errno != ENOTCONN) return throw_errno(env, "shutdown", errno);
    return NULL;
}

/* packetReceive(packet) -> bytes (none at the end), or undefined when there is nothing yet */
static napi_value packet_receive(napi_env env, napi_callback_info info) {
    napi_value args[1], bytes = NULL;
    void *data = NULL;
    char probe;

    if (!get_args(env, info, 1, args)) return NULL;
    int fd = get_fd(env, args[0]);
    if (fd < 0) return NULL;
    ssize_t n = recv(fd, &probe, sizeof probe, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return NULL;
    if (n < 0) return throw_errno(env, "recv", errno);
    if (n > MAX_MESSAGE) return throw_errno(env, "recv", EMSGSIZE);
    size_t len = (size_t)n;
    NAPI(napi_create_buffer(env, len, &data, &bytes));
    if (len && recv(fd, data, len, MSG_DONTWAIT) < 0) return throw_errno(env, "recv", errno);
    return bytes;
}

/* packetSend(packet, bytes) -> whether it was taken */
static napi_value packet_send(napi_env env, napi_callback_info info) {
    napi_value args[2], v;
    void *data;
    size_t len;

    if (!get_args(env, info, 2, args)) return NULL;
    int fd = get_fd(env, args[0]);
    if (fd < 0 || !get_bytes(env, args[1], "message", &data, &len)) return NULL;
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    int number = errno;
    free(data);
    if (n < 0 && number != EAGAIN && number != EINTR) return throw_errno(env, "send", number);
    NAPI(napi_get_boolean(env, n >= 0, &v));
    return v;
}

/* packetAccept(packet) -> descriptor, or undefined when nobody is there */
static napi_value packet_accept(napi_env env, napi_callback_info info) {
    napi_value args[1];

    if (!get_args(env, info, 1, args)) return NULL;
    int fd = get_fd(env, args[0]);
    if (fd < 0) return NULL;
    /* The listening socket may be a blocking one. */
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) <= 0) return NULL;
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0) return new_fd(env, accepted);
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return NULL;
    return throw_errno(env, "accept", errno);
}

struct wait_job {
    job base;
    struct pollfd poll;
};

static void run_wait(job *j) {
    struct pollfd *p = &((struct wait_job *)j)->poll;
    while (poll(p, 1, -1) < 0 && errno == EINTR) {
    }
}

static void stop_wait(job *j) { shutdown(((struct wait_job *)j)->poll.fd, SHUT_RDWR); }

/* packetWait(packet, forWriting) -> promise. The handle must not be closed before it has ended: packetShutdown ends it. */
static napi_value packet_wait(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t writing;

    if (!get_args(env, info, 2, args) || !get_u32(env, args[1], "forWriting", &writing)) return NULL;
    int fd = get_fd(env, args[0]);
    struct wait_job *j = fd < 0 ? NULL : job_new(env, sizeof *j);
    if (!j) return NULL;
    j->poll = (struct pollfd){.fd = fd, .events = writing ? POLLOUT : POLLIN};
    j->base.run = run_wait;
    j->base.stop = stop_wait;
    return job_start_thread(env, &j->base);
}

bool packet_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("packetOpen", packet_open),         METHOD("packetClose", packet_close),
        METHOD("packetShutdown", packet_shutdown), METHOD("packetSend", packet_send),
        METHOD("packetReceive", packet_receive),   METHOD("packetAccept", packet_accept),
        METHOD("packetWait", packet_wait),
    };
    return DEFINE(env, exports, methods);
}
