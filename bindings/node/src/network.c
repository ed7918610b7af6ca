/* network.c - a machine's network: its options, its policy, the ports of the guest that the host reaches. */
#include "addon.h"

#include <stdlib.h>

static void *get_first(napi_env env, napi_callback_info info, kind k, size_t n, napi_value *args) {
    return get_args(env, info, n, args) ? handle_get(env, args[0], k) : NULL;
}

/* ---- The network of a machine to be built. */

/* The texts of the options, which capsa_network_options points to. */
struct network_texts {
    char *mac, *ipv4, *guest, *gateway, *ipv6, *hostname;
    char **dns, **search;
    char **names, **addresses; /* of hosts */
    capsa_host_name *hosts;
    uint32_t n_dns, n_search, n_names, n_addresses;
};

static void free_network_texts(struct network_texts *t) {
    char *texts[] = {t->mac, t->ipv4, t->guest, t->gateway, t->ipv6, t->hostname};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
    free_texts(t->dns, t->n_dns);
    free_texts(t->search, t->n_search);
    free_texts(t->names, t->n_names);
    free_texts(t->addresses, t->n_addresses);
    free(t->hosts);
}

/* The lists hostNames and hostAddresses, which are of one length, as one array. */
static bool get_hosts(napi_env env, napi_value v, capsa_network_options *o, struct network_texts *t) {
    if (!opt_texts(env, v, "hostNames", &t->names, &t->n_names) ||
        !opt_texts(env, v, "hostAddresses", &t->addresses, &t->n_addresses))
        return false;
    uint32_t n = t->n_names < t->n_addresses ? t->n_names : t->n_addresses;
    if (!n) return true;
    t->hosts = calloc(n, sizeof *t->hosts);
    if (!t->hosts) {
        throw_napi(env);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) t->hosts[i] = (capsa_host_name){t->names[i], t->addresses[i]};
    o->hosts = t->hosts;
    o->n_hosts = n;
    return true;
}

static bool get_network(napi_env env, napi_value v, capsa_network_options *o, struct network_texts *t) {
    if (!opt_u32(env, v, "mode", &o->mode) || !opt_u32(env, v, "flags", &o->flags) ||
        !opt_u32(env, v, "mtu", &o->mtu) || !opt_text(env, v, "mac", &t->mac) || !opt_text(env, v, "ipv4", &t->ipv4) ||
        !opt_text(env, v, "guest", &t->guest) || !opt_text(env, v, "gateway", &t->gateway) ||
        !opt_text(env, v, "ipv6", &t->ipv6) || !opt_text(env, v, "hostname", &t->hostname) ||
        !opt_texts(env, v, "dns", &t->dns, &t->n_dns) || !opt_texts(env, v, "search", &t->search, &t->n_search) ||
        !get_hosts(env, v, o, t))
        return false;
    o->mac = t->mac;
    o->ipv4 = t->ipv4;
    o->guest = t->guest;
    o->gateway = t->gateway;
    o->ipv6 = t->ipv6;
    o->hostname = t->hostname;
    o->dns = (const char *const *)t->dns;
    o->n_dns = t->n_dns;
    o->search = (const char *const *)t->search;
    o->n_search = t->n_search;
    return true;
}

/* setNetwork(builder, options?): mode and flags are numbers; without options there is no network */
static napi_value set_network(napi_env env, napi_callback_info info) {
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    struct network_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[2];

    capsa_builder *b = get_first(env, info, KIND_BUILDER, 2, args);
    if (!b) return NULL;
    bool given = !is_missing(env, args[1]), ok = !given || get_network(env, args[1], &o, &t);
    capsa_status status = ok ? capsa_builder_set_network(b, given ? &o : NULL, &err) : CAPSA_OK;
    free_network_texts(&t);
    return status ? throw_status(env, status, err) : NULL;
}

/* ---- Policies. */

/* The text of a policy; undefined is NULL. */
static bool get_policy(napi_env env, napi_value v, void **json, size_t *len) {
    *json = NULL;
    *len = 0;
    return is_missing(env, v) || get_bytes(env, v, "policy", json, len);
}

/* builderSetPolicy(builder, json?) */
static napi_value builder_set_policy(napi_env env, napi_callback_info info) {
    capsa_error *err = NULL;
    napi_value args[2];
    void *json;
    size_t len;

    capsa_builder *b = get_first(env, info, KIND_BUILDER, 2, args);
    if (!b || !get_policy(env, args[1], &json, &len)) return NULL;
    capsa_status status = capsa_builder_set_policy_json(b, json, len, &err);
    free(json);
    return status ? throw_status(env, status, err) : NULL;
}

/* vmSetPolicy(vm, json?) */
static napi_value vm_set_policy(napi_env env, napi_callback_info info) {
    capsa_error *err = NULL;
    napi_value args[2];
    void *json;
    size_t len;

    capsa_vm *vm = get_first(env, info, KIND_VM, 2, args);
    if (!vm || !get_policy(env, args[1], &json, &len)) return NULL;
    capsa_status status = capsa_vm_set_policy_json(vm, json, len, &err);
    free(json);
    return status ? throw_status(env, status, err) : NULL;
}

/* ---- Forwarded ports. */

/* The texts of a forward's options. */
struct forward_texts {
    char *host, *path;
};

static bool get_forward(napi_env env, napi_value v, capsa_forward_options *o, struct forward_texts *t) {
    if (!opt_u32(env, v, "protocol", &o->protocol) || !opt_text(env, v, "host", &t->host) ||
        !opt_text(env, v, "path", &t->path) || !opt_u16(env, v, "hostPort", &o->host_port) ||
        !opt_u16(env, v, "guestPort", &o->guest_port))
        return false;
    o->host = t->host;
    o->path = t->path;
    return true;
}

static void free_forward_texts(struct forward_texts *t) {
    free(t->host);
    free(t->path);
}

/* builderAddForward(builder, { guestPort, hostPort, host, path, protocol }): the protocol is a number */
static napi_value builder_add_forward(napi_env env, napi_callback_info info) {
    capsa_forward_options o = CAPSA_FORWARD_OPTIONS_INIT;
    struct forward_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[2];

    capsa_builder *b = get_first(env, info, KIND_BUILDER, 2, args);
    if (!b) return NULL;
    capsa_status status = get_forward(env, args[1], &o, &t) ? capsa_builder_add_forward(b, &o, &err) : CAPSA_OK;
    free_forward_texts(&t);
    return status ? throw_status(env, status, err) : NULL;
}

/* { id, protocol, host, hostPort, guestPort } */
static napi_value new_forward(napi_env env, const capsa_forward_info *forward) {
    napi_value o;

    NAPI(napi_create_object(env, &o));
    if (!put_number(env, o, "id", forward->id) || !put_number(env, o, "protocol", forward->protocol) ||
        !put(env, o, "host", new_text(env, forward->host)) || !put_number(env, o, "hostPort", forward->host_port) ||
        !put_number(env, o, "guestPort", forward->guest_port))
        return throw_napi(env);
    return o;
}

/* vmAddForward(vm, as above) -> the forward as it is */
static napi_value vm_add_forward(napi_env env, napi_callback_info info) {
    capsa_forward_options o = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info forward = CAPSA_FORWARD_INFO_INIT;
    struct forward_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[2];

    capsa_vm *vm = get_first(env, info, KIND_VM, 2, args);
    if (!vm) return NULL;
    bool ok = get_forward(env, args[1], &o, &t);
    capsa_status status = ok ? capsa_vm_add_forward(vm, &o, &forward, &err) : CAPSA_OK;
    free_forward_texts(&t);
    if (status) return throw_status(env, status, err);
    return ok ? new_forward(env, &forward) : NULL;
}

/* vmRemoveForward(vm, id) */
static napi_value vm_remove_forward(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t id;

    capsa_vm *vm = get_first(env, info, KIND_VM, 2, args);
    if (!vm || !get_u32(env, args[1], "id", &id)) return NULL;
    CALL(capsa_vm_remove_forward(vm, id, &err));
    return NULL;
}

/* vmForwardsJson(vm) */
static napi_value vm_forwards(napi_env env, napi_callback_info info) {
    napi_value args[1];
    char *json = NULL;

    capsa_vm *vm = get_first(env, info, KIND_VM, 1, args);
    if (!vm) return NULL;
    CALL(capsa_vm_forwards_json(vm, &json, &err));
    return take_text(env, json);
}

/* vmSetLink(vm, 0 or 1) */
static napi_value vm_set_link(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t up;

    capsa_vm *vm = get_first(env, info, KIND_VM, 2, args);
    if (!vm || !get_u32(env, args[1], "up", &up)) return NULL;
    CALL(capsa_vm_set_link(vm, up != 0, &err));
    return NULL;
}

bool network_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("builderSetNetwork", set_network),
        METHOD("builderSetPolicy", builder_set_policy),
        METHOD("builderAddForward", builder_add_forward),
        METHOD("vmAddForward", vm_add_forward),
        METHOD("vmRemoveForward", vm_remove_forward),
        METHOD("vmForwardsJson", vm_forwards),
        METHOD("vmSetPolicy", vm_set_policy),
        METHOD("vmSetLink", vm_set_link),
    };
    return DEFINE(env, exports, methods);
}
