/* lan.c - the public functions for shared networks, descriptors as networks, limits and captures. */
#include "shim.h"

#include "_cgo_export.h"
#include <string.h>

/* More than this are a mistake: a wrong count. What is possible the Go side knows. */
#define MAX_TEXTS 1024
#define MAX_HOST_NAMES 65536

static capsa_status check_lists(priv_call *call, const capsa_shared_options *o, const char *name) {
    if (o->n_dns > MAX_TEXTS || o->n_search > MAX_TEXTS || o->n_hosts > MAX_HOST_NAMES)
        return shim_fail(call, CAPSA_E_INVALID_ARG, "%s: %zu servers, %zu domains, %zu hosts; that is too many", name,
                         o->n_dns, o->n_search, o->n_hosts);
    if ((o->n_dns && !o->dns) || (o->n_search && !o->search) || (o->n_hosts && !o->hosts))
        return shim_fail(call, CAPSA_E_INVALID_ARG, "%s: a list with a number of entries is NULL", name);
    for (size_t i = 0; i < o->n_dns; i++)
        if (!o->dns[i]) return shim_fail(call, CAPSA_E_INVALID_ARG, "%s: dns[%zu] is NULL", name, i);
    for (size_t i = 0; i < o->n_search; i++)
        if (!o->search[i]) return shim_fail(call, CAPSA_E_INVALID_ARG, "%s: search[%zu] is NULL", name, i);
    for (size_t i = 0; i < o->n_hosts; i++)
        if (!o->hosts[i].name || !o->hosts[i].address)
            return shim_fail(call, CAPSA_E_INVALID_ARG, "%s: hosts[%zu] has a NULL", name, i);
    return CAPSA_OK;
}

/* Copies a structure of the caller's over its defaults; NULL leaves them. */
#define KNOWN(type, known, given)                                                                                     \
    do {                                                                                                              \
        if (given) {                                                                                                  \
            capsa_status s_ = shim_check_struct(&call, given, sizeof known, sizeof known, #type);                     \
            if (s_ != CAPSA_OK) return s_;                                                                            \
            memcpy(&known, given, sizeof known);                                                                      \
        }                                                                                                             \
    } while (0)

capsa_status capsa_network_new(const capsa_shared_options *options, capsa_network **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    capsa_shared_options known = CAPSA_SHARED_OPTIONS_INIT;
    KNOWN(capsa_shared_options, known, options);
    capsa_status s = check_lists(&call, &known, __func__);
    if (s != CAPSA_OK) return s;
    return goNetworkNew(&known, (uintptr_t *)out, &call);
}

void capsa_network_free(capsa_network *network) {
    if (network && !shim_forked) goNetworkFree(SHIM_TOKEN(network));
}

capsa_status capsa_builder_attach_network(capsa_builder *builder, capsa_network *network,
                                          const capsa_attach_options *options, capsa_error **err) {
    SHIM_ENTER(err);
    capsa_attach_options known = CAPSA_ATTACH_OPTIONS_INIT;
    KNOWN(capsa_attach_options, known, options);
    return goBuilderAttachNetwork(SHIM_TOKEN(builder), SHIM_TOKEN(network), &known, &call);
}

capsa_status capsa_builder_attach_fd(capsa_builder *builder, int fd, const capsa_attach_options *options,
                                     capsa_error **err) {
    SHIM_ENTER(err);
    capsa_attach_options known = CAPSA_ATTACH_OPTIONS_INIT;
    KNOWN(capsa_attach_options, known, options);
    return goBuilderAttachFD(SHIM_TOKEN(builder), fd, &known, &call);
}

capsa_status capsa_builder_attach_tap(capsa_builder *builder, const char *name, const capsa_attach_options *options,
                                      capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(name);
    capsa_attach_options known = CAPSA_ATTACH_OPTIONS_INIT;
    KNOWN(capsa_attach_options, known, options);
    return goBuilderAttachTAP(SHIM_TOKEN(builder), (char *)name, &known, &call);
}

capsa_status capsa_builder_set_network_limits(capsa_builder *builder, const capsa_network_limits *limits,
                                              capsa_error **err) {
    SHIM_ENTER(err);
    capsa_network_limits known = CAPSA_NETWORK_LIMITS_INIT;
    KNOWN(capsa_network_limits, known, limits);
    return goBuilderSetNetworkLimits(SHIM_TOKEN(builder), &known, &call);
}

capsa_status capsa_builder_set_capture(capsa_builder *builder, const capsa_capture_options *options,
                                       capsa_error **err) {
    SHIM_ENTER(err);
    capsa_capture_options known = CAPSA_CAPTURE_OPTIONS_INIT;
    KNOWN(capsa_capture_options, known, options);
    return goBuilderSetCapture(SHIM_TOKEN(builder), &known, options != NULL, &call);
}

capsa_status capsa_vm_attach_fd(capsa_vm *vm, int fd, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMAttachFD(SHIM_TOKEN(vm), fd, &call);
}

capsa_status capsa_vm_set_network_limits(capsa_vm *vm, const capsa_network_limits *limits, capsa_error **err) {
    SHIM_ENTER(err);
    capsa_network_limits known = CAPSA_NETWORK_LIMITS_INIT;
    KNOWN(capsa_network_limits, known, limits);
    return goVMSetNetworkLimits(SHIM_TOKEN(vm), &known, &call);
}

capsa_status capsa_vm_set_capture(capsa_vm *vm, const capsa_capture_options *options, capsa_error **err) {
    SHIM_ENTER(err);
    capsa_capture_options known = CAPSA_CAPTURE_OPTIONS_INIT;
    KNOWN(capsa_capture_options, known, options);
    return goVMSetCapture(SHIM_TOKEN(vm), &known, options != NULL, &call);
}
