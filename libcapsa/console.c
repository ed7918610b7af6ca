/* console.c - the public functions of capsa_console. */
#include "shim.h"

#include "_cgo_export.h"
#include <string.h>

/* The most patterns that one capsa_console_expect takes. */
#define MAX_PATTERNS 64

capsa_status capsa_console_fd(capsa_console *console, int *fd, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(fd);
    return goConsoleFD(SHIM_TOKEN(console), fd, &call);
}

capsa_status capsa_console_read(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel, void *buf,
                                size_t cap, size_t *len, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(buf);
    SHIM_NEED(len);
    if (!cap) return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: cap is 0", __func__);
    return shim_finish(&call,
                       goConsoleRead(SHIM_TOKEN(console), timeout_ms, SHIM_TOKEN(cancel), buf, cap, len, &call));
}

capsa_status capsa_console_write(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel, const void *data,
                                 size_t len, size_t *written, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(written);
    if (len) SHIM_NEED(data);
    if (len > PTRDIFF_MAX) return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: len %zu is no length", __func__, len);
    return shim_finish(
        &call, goConsoleWrite(SHIM_TOKEN(console), timeout_ms, SHIM_TOKEN(cancel), (void *)data, len, written, &call));
}

/* Copies the caller's patterns, whose elements may be longer than the ones known here, into a plain array. */
static capsa_status copy_patterns(priv_call *call, capsa_pattern *known, const capsa_pattern *patterns, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *p = (const char *)patterns + i * patterns->size;
        capsa_status s = shim_check_struct(call, p, sizeof *known, sizeof *known, "capsa_pattern");
        if (s != CAPSA_OK) return s;
        memcpy(&known[i], p, sizeof *known);
        if (known[i].size != patterns->size)
            return shim_fail(call, CAPSA_E_INVALID_ARG, "pattern %zu has size %u, the first one %u", i, known[i].size,
                             patterns->size);
        if (!known[i].data || !known[i].len || known[i].len > PTRDIFF_MAX)
            return shim_fail(call, CAPSA_E_INVALID_ARG, "pattern %zu is empty", i);
    }
    return CAPSA_OK;
}

capsa_status capsa_console_expect(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel,
                                  const capsa_pattern *patterns, size_t n, capsa_match *match, capsa_output **output,
                                  capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(patterns);
    if (!n || n > MAX_PATTERNS)
        return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: %zu patterns; 1 to %d are possible", __func__, n,
                         MAX_PATTERNS);
    capsa_pattern known[MAX_PATTERNS];
    capsa_match found = CAPSA_MATCH_INIT;
    capsa_status s = copy_patterns(&call, known, patterns, n);
    if (s == CAPSA_OK && match) s = shim_check_struct(&call, match, sizeof found, sizeof found, "capsa_match");
    if (s != CAPSA_OK) return s;
    if (match) found.size = match->size;
    uintptr_t token = 0;
    s = shim_finish(&call, goConsoleExpect(SHIM_TOKEN(console), timeout_ms, SHIM_TOKEN(cancel), known, n, &found,
                                           output ? &token : NULL, &call));
    if (s != CAPSA_OK) return s;
    if (match) memcpy(match, &found, sizeof found);
    if (output) *output = (capsa_output *)token;
    return s;
}

capsa_status capsa_console_run(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel, const char *command,
                               int32_t *exit_status, capsa_output **output, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(command);
    SHIM_NEED(exit_status);
    uintptr_t token = 0;
    capsa_status s =
        shim_finish(&call, goConsoleRun(SHIM_TOKEN(console), timeout_ms, SHIM_TOKEN(cancel), (char *)command,
                                        strlen(command), exit_status, output ? &token : NULL, &call));
    if (s == CAPSA_OK && output) *output = (capsa_output *)token;
    return s;
}

capsa_status capsa_console_interrupt(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel,
                                     capsa_error **err) {
    SHIM_ENTER(err);
    return shim_finish(&call, goConsoleInterrupt(SHIM_TOKEN(console), timeout_ms, SHIM_TOKEN(cancel), &call));
}

capsa_status capsa_console_eof(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel, capsa_error **err) {
    SHIM_ENTER(err);
    return shim_finish(&call, goConsoleEOF(SHIM_TOKEN(console), timeout_ms, SHIM_TOKEN(cancel), &call));
}

capsa_status capsa_console_resize(capsa_console *console, uint16_t columns, uint16_t rows, capsa_error **err) {
    SHIM_ENTER(err);
    return goConsoleResize(SHIM_TOKEN(console), columns, rows, &call);
}

capsa_status capsa_console_lost(capsa_console *console, uint64_t *bytes, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(bytes);
    return goConsoleLost(SHIM_TOKEN(console), bytes, &call);
}

void capsa_console_free(capsa_console *console) {
    if (console && !shim_forked) goConsoleFree(SHIM_TOKEN(console));
}
