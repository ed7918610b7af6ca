/* cable.c - networks of several machines, descriptors as networks, limits, captures. */
#include "addon.h"

#include <stdlib.h>

/* ---- Networks of several machines. */

struct shared_texts {
    char *ipv4, *gateway, *ipv6, *domain;
    char **dns, **search, **names, **addresses;
    capsa_host_name *hosts;
    uint32_t n_dns, n_search, n_names, n_addresses;
};

static void free_shared_texts(struct shared_texts *t) {
    free(t->ipv4);
    free(t->gateway);
    free(t->ipv6);
    free(t->domain);
    free_texts(t->dns, t->n_dns);
    free_texts(t->search, t->n_search);
    free_texts(t->names, t->n_names);
    free_texts(t->addresses, t->n_addresses);
    free(t->hosts);
}

static bool get_shared(napi_env env, napi_value v, capsa_shared_options *o, struct shared_texts *t) {
    if (!opt_u32(env, v, "flags", &o->flags) || !opt_u32(env, v, "mtu", &o->mtu) ||
        !opt_text(env, v, "ipv4", &t->ipv4) || !opt_text(env, v, "gateway", &t->gateway) ||
        !opt_text(env, v, "ipv6", &t->ipv6) || !opt_text(env, v, "domain", &t->domain) ||
        !opt_texts(env, v, "dns", &t->dns, &t->n_dns) || !opt_texts(env, v, "search", &t->search, &t->n_search) ||
        !opt_texts(env, v, "hostNames", &t->names, &t->n_names) ||
        !opt_texts(env, v, "hostAddresses", &t->addresses, &t->n_addresses))
        return false;
    uint32_t n = t->n_names < t->n_addresses ? t->n_names : t->n_addresses;
    if (n && !(t->hosts = calloc(n, sizeof *t->hosts))) {
        throw_napi(env);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) t->hosts[i] = (capsa_host_name){t->names[i], t->addresses[i]};
    o->ipv4 = t->ipv4;
    o->gateway = t->gateway;
    o->ipv6 = t->ipv6;
    o->domain = t->domain;
    o->dns = (const char *const *)t->dns;
    o->n_dns = t->n_dns;
    o->search = (const char *const *)t->search;
    o->n_search = t->n_search;
    o->hosts = t->hosts;
    o->n_hosts = n;
    return true;
}

/* networkNew(options): flags are a number */
static napi_value network_new(napi_env env, napi_callback_info info) {
    capsa_shared_options o = CAPSA_SHARED_OPTIONS_INIT;
    struct shared_texts t = {0};
    capsa_network *network = NULL;
    capsa_error *err = NULL;
    napi_value args[1];

    if (!get_args(env, info, 1, args)) return NULL;
    bool ok = get_shared(env, args[0], &o, &t);
    capsa_status status = ok ? capsa_network_new(&o, &network, &err) : CAPSA_OK;
    free_shared_texts(&t);
    if (status) return throw_status(env, status, err);
    return ok ? handle_new(env, KIND_NETWORK, network) : NULL;
}

/* networkFree(network) */
static napi_value network_free(napi_env env, napi_callback_info info) {
    napi_value args[1];

    if (get_args(env, info, 1, args)) handle_close(env, args[0], KIND_NETWORK);
    return NULL;
}

/* ---- How a machine is attached. */

struct attach_texts {
    char *mac, *guest, *hostname;
};

static bool get_attach(napi_env env, napi_value v, capsa_attach_options *o, struct attach_texts *t) {
    if (!opt_u32(env, v, "flags", &o->flags) || !opt_u32(env, v, "framing", &o->framing) ||
        !opt_u32(env, v, "mtu", &o->mtu) || !opt_text(env, v, "mac", &t->mac) ||
        !opt_text(env, v, "guest", &t->guest) || !opt_text(env, v, "hostname", &t->hostname))
        return false;
    o->mac = t->mac;
    o->guest = t->guest;
    o->hostname = t->hostname;
    return true;
}

static void free_attach_texts(struct attach_texts *t) {
    free(t->mac);
    free(t->guest);
    free(t->hostname);
}

/* builderAttachNetwork(builder, network, options) */
static napi_value attach_network(napi_env env, napi_callback_info info) {
    capsa_attach_options o = CAPSA_ATTACH_OPTIONS_INIT;
    struct attach_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[3];

    if (!get_args(env, info, 3, args)) return NULL;
    capsa_builder *b = handle_get(env, args[0], KIND_BUILDER);
    capsa_network *network = b ? handle_get(env, args[1], KIND_NETWORK) : NULL;
    if (!network) return NULL;
    bool ok = get_attach(env, args[2], &o, &t);
    capsa_status status = ok ? capsa_builder_attach_network(b, network, &o, &err) : CAPSA_OK;
    free_attach_texts(&t);
    return status ? throw_status(env, status, err) : NULL;
}

/* builderAttachFd(builder, fd, options) */
static napi_value attach_fd(napi_env env, napi_callback_info info) {
    capsa_attach_options o = CAPSA_ATTACH_OPTIONS_INIT;
    struct attach_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[3];
    uint32_t fd;

    if (!get_args(env, info, 3, args)) return NULL;
    capsa_builder *b = handle_get(env, args[0], KIND_BUILDER);
    if (!b || !get_u32(env, args[1], "fd", &fd)) return NULL;
    bool ok = get_attach(env, args[2], &o, &t);
    capsa_status status = ok ? capsa_builder_attach_fd(b, (int)fd, &o, &err) : CAPSA_OK;
    free_attach_texts(&t);
    return status ? throw_status(env, status, err) : NULL;
}

/* builderAttachTap(builder, name, options) */
static napi_value attach_tap(napi_env env, napi_callback_info info) {
    capsa_attach_options o = CAPSA_ATTACH_OPTIONS_INIT;
    struct attach_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[3];
    char *name = NULL;

    if (!get_args(env, info, 3, args)) return NULL;
    capsa_builder *b = handle_get(env, args[0], KIND_BUILDER);
    if (!b || !get_text(env, args[1], "name", &name)) return NULL;
    bool ok = get_attach(env, args[2], &o, &t);
    capsa_status status = ok ? capsa_builder_attach_tap(b, name, &o, &err) : CAPSA_OK;
    free_attach_texts(&t);
    free(name);
    return status ? throw_status(env, status, err) : NULL;
}

/* vmAttachFd(vm, fd) */
static napi_value vm_attach_fd(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t fd;

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm || !get_u32(env, args[1], "fd", &fd)) return NULL;
    CALL(capsa_vm_attach_fd(vm, (int)fd, &err));
    return NULL;
}

/* ---- Limits. */

static bool get_limits(napi_env env, napi_value v, capsa_network_limits *l) {
    return opt_u64(env, v, "fromGuestBytes", &l->from_guest_bytes) &&
           opt_u64(env, v, "fromGuestBytesBurst", &l->from_guest_bytes_burst) &&
           opt_u64(env, v, "fromGuestPackets", &l->from_guest_packets) &&
           opt_u64(env, v, "fromGuestPacketsBurst", &l->from_guest_packets_burst) &&
           opt_u64(env, v, "toGuestBytes", &l->to_guest_bytes) &&
           opt_u64(env, v, "toGuestBytesBurst", &l->to_guest_bytes_burst) &&
           opt_u64(env, v, "toGuestPackets", &l->to_guest_packets) &&
           opt_u64(env, v, "toGuestPacketsBurst", &l->to_guest_packets_burst) &&
           opt_u64(env, v, "connections", &l->connections) &&
           opt_u64(env, v, "connectionsBurst", &l->connections_burst);
}

/* builderSetNetworkLimits(builder, limits) */
static napi_value builder_set_limits(napi_env env, napi_callback_info info) {
    capsa_network_limits l = CAPSA_NETWORK_LIMITS_INIT;
    napi_value args[2];

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_builder *b = handle_get(env, args[0], KIND_BUILDER);
    if (!b || !get_limits(env, args[1], &l)) return NULL;
    CALL(capsa_builder_set_network_limits(b, &l, &err));
    return NULL;
}

/* vmSetNetworkLimits(vm, limits) */
static napi_value vm_set_limits(napi_env env, napi_callback_info info) {
    capsa_network_limits l = CAPSA_NETWORK_LIMITS_INIT;
    napi_value args[2];

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm || !get_limits(env, args[1], &l)) return NULL;
    CALL(capsa_vm_set_network_limits(vm, &l, &err));
    return NULL;
}

/* ---- Captures. */

/* The options; *given is false for undefined. */
static bool get_capture(napi_env env, napi_value v, capsa_capture_options *o, char **path, bool *given) {
    uint32_t fd = UINT32_MAX;

    *given = !is_missing(env, v);
    if (!*given) return true;
    if (!opt_text(env, v, "path", path) || !opt_u32(env, v, "fd", &fd) || !opt_u32(env, v, "snapLen", &o->snap_len) ||
        !opt_u64(env, v, "maxSize", &o->max_size))
        return false;
    o->path = *path;
    o->fd = fd == UINT32_MAX ? -1 : (int32_t)fd;
    return true;
}

/* builderSetCapture(builder, { path, fd, snapLen, maxSize }?) */
static napi_value builder_set_capture(napi_env env, napi_callback_info info) {
    capsa_capture_options o = CAPSA_CAPTURE_OPTIONS_INIT;
    capsa_error *err = NULL;
    napi_value args[2];
    char *path = NULL;
    bool given;

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_builder *b = handle_get(env, args[0], KIND_BUILDER);
    if (!b) return NULL;
    bool ok = get_capture(env, args[1], &o, &path, &given);
    capsa_status status = ok ? capsa_builder_set_capture(b, given ? &o : NULL, &err) : CAPSA_OK;
    free(path);
    return status ? throw_status(env, status, err) : NULL;
}

/* vmSetCapture(vm, as above) */
static napi_value vm_set_capture(napi_env env, napi_callback_info info) {
    capsa_capture_options o = CAPSA_CAPTURE_OPTIONS_INIT;
    capsa_error *err = NULL;
    napi_value args[2];
    char *path = NULL;
    bool given;

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm) return NULL;
    bool ok = get_capture(env, args[1], &o, &path, &given);
    capsa_status status = ok ? capsa_vm_set_capture(vm, given ? &o : NULL, &err) : CAPSA_OK;
    free(path);
    return status ? throw_status(env, status, err) : NULL;
}

bool cable_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("networkNew", network_new),
        METHOD("networkFree", network_free),
        METHOD("builderAttachNetwork", attach_network),
        METHOD("builderAttachFd", attach_fd),
        METHOD("builderAttachTap", attach_tap),
        METHOD("vmAttachFd", vm_attach_fd),
        METHOD("builderSetNetworkLimits", builder_set_limits),
        METHOD("vmSetNetworkLimits", vm_set_limits),
        METHOD("builderSetCapture", builder_set_capture),
        METHOD("vmSetCapture", vm_set_capture),
    };
    return DEFINE(env, exports, methods);
}
