/* network.c - the public functions for a machine's network. */
#include "shim.h"

#include "_cgo_export.h"
#include <string.h>

/* More than this are a mistake: a wrong count. What is possible the Go side knows. */
#define MAX_TEXTS 1024
#define MAX_HOST_NAMES 65536

/* Checks the lists of the options. */
static capsa_status check_lists(priv_call *call, const capsa_network_options *o, const char *name) {
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

capsa_status capsa_builder_set_network(capsa_builder *builder, const capsa_network_options *options,
                                       capsa_error **err) {
    SHIM_ENTER(err);
    capsa_network_options known = CAPSA_NETWORK_OPTIONS_INIT;
    if (options) {
        capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_network_options");
        if (s != CAPSA_OK) return s;
        memcpy(&known, options, sizeof known);
    }
    capsa_status s = check_lists(&call, &known, __func__);
    if (s != CAPSA_OK) return s;
    return goBuilderSetNetwork(SHIM_TOKEN(builder), &known, &call);
}

capsa_status capsa_builder_set_policy_json(capsa_builder *builder, const char *json, size_t len, capsa_error **err) {
    SHIM_ENTER(err);
    return goBuilderSetPolicyJSON(SHIM_TOKEN(builder), (char *)json, json ? len : 0, &call);
}

capsa_status capsa_builder_add_forward(capsa_builder *builder, const capsa_forward_options *options,
                                       capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(options);
    capsa_forward_options known = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_forward_options");
    if (s != CAPSA_OK) return s;
    memcpy(&known, options, sizeof known);
    return goBuilderAddForward(SHIM_TOKEN(builder), &known, &call);
}

capsa_status capsa_vm_add_forward(capsa_vm *vm, const capsa_forward_options *options, capsa_forward_info *info,
                                  capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(options);
    capsa_forward_options known = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info open = CAPSA_FORWARD_INFO_INIT;
    capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_forward_options");
    if (s != CAPSA_OK) return s;
    memcpy(&known, options, sizeof known);
    if (info) {
        s = shim_check_struct(&call, info, sizeof open, sizeof open, "capsa_forward_info");
        if (s != CAPSA_OK) return s;
        open.size = info->size;
    }
    s = goVMAddForward(SHIM_TOKEN(vm), &known, &open, &call);
    if (info && s == CAPSA_OK) memcpy(info, &open, sizeof open);
    return s;
}

capsa_status capsa_vm_remove_forward(capsa_vm *vm, uint32_t id, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMRemoveForward(SHIM_TOKEN(vm), id, &call);
}

capsa_status capsa_vm_forwards_json(capsa_vm *vm, char **json, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(json);
    return goVMForwardsJSON(SHIM_TOKEN(vm), json, &call);
}

capsa_status capsa_vm_set_policy_json(capsa_vm *vm, const char *json, size_t len, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMSetPolicyJSON(SHIM_TOKEN(vm), (char *)json, json ? len : 0, &call);
}

capsa_status capsa_vm_set_link(capsa_vm *vm, int up, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMSetLink(SHIM_TOKEN(vm), up, &call);
}
