/* library.c - version, features, doctor, status names. */
#include "shim.h"

#include "_cgo_export.h"
#include <stdlib.h>
#include <string.h>

uint32_t capsa_version(void) { return CAPSA_VERSION_MAJOR << 16 | CAPSA_VERSION_MINOR << 8 | CAPSA_VERSION_PATCH; }

const char *capsa_version_string(void) { return CAPSA_VERSION_STRING; }

uint32_t capsa_abi_version(void) { return CAPSA_ABI_VERSION; }

int capsa_has(const char *feature) {
    if (!feature || shim_forked) return 0;
    return goHas((char *)feature, strlen(feature));
}

capsa_status capsa_doctor(char **json, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(json);
    return goDoctor(json, &call);
}

capsa_status capsa_metrics(char **text, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(text);
    return goMetrics(text, &call);
}

void capsa_mem_free(void *p) { free(p); }

capsa_status capsa_status_class(capsa_status status) {
    if (status >= 0) return status;
    return -(capsa_status)(-(int64_t)status & 0xff);
}

const char *capsa_status_name(capsa_status status) {
    /* Index: the class, negated. */
    static const char *const names[] = {
        "CAPSA_OK",        "CAPSA_E_INVALID_ARG", "CAPSA_E_HANDLE",      "CAPSA_E_STATE",
        "CAPSA_E_CONFIG",  "CAPSA_E_UNSUPPORTED", "CAPSA_E_UNAVAILABLE", "CAPSA_E_NOT_FOUND",
        "CAPSA_E_EXISTS",  "CAPSA_E_PERMISSION",  "CAPSA_E_NO_MEMORY",   "CAPSA_E_LIMIT",
        "CAPSA_E_TIMEOUT", "CAPSA_E_CANCELLED",   "CAPSA_E_CLOSED",      "CAPSA_E_IO",
        "CAPSA_E_BOOT",    "CAPSA_E_GUEST",       "CAPSA_E_PROTOCOL",    "CAPSA_E_VMM_DIED",
        "CAPSA_E_FORKED",  "CAPSA_E_INTERNAL"};
    _Static_assert(sizeof names / sizeof names[0] == -CAPSA_E_INTERNAL + 1, "a name for each class");

    if (status == CAPSA_E_INTERRUPTED) return "CAPSA_E_INTERRUPTED";
    if (status == CAPSA_OK) return names[0];
    int64_t class = -(int64_t)capsa_status_class(status);
    if (class <= 0 || class > -CAPSA_E_INTERNAL) return "CAPSA_E_UNKNOWN";
    return names[class];
}

capsa_status capsa_cancel_new(capsa_cancel **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goCancelNew(&token, &call);
    if (s == CAPSA_OK) *out = (capsa_cancel *)token;
    return s;
}

capsa_status capsa_cancel_trigger(capsa_cancel *cancel, capsa_error **err) {
    SHIM_ENTER(err);
    return goCancelTrigger(SHIM_TOKEN(cancel), &call);
}

void capsa_cancel_free(capsa_cancel *cancel) {
    if (cancel && !shim_forked) goCancelFree(SHIM_TOKEN(cancel));
}
