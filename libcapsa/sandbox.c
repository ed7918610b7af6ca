/* sandbox.c - the public functions of sandboxes, of programs and of files in a guest. */
#include "shim.h"

#include "_cgo_export.h"
#include <string.h>

/* The most that a call takes; package capsa's own limits are in bytes. */
#define MAX_STRINGS 65536
#define MAX_RLIMITS 32

capsa_status capsa_builder_new_sandbox(capsa_builder **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goBuilderNewSandbox(&token, &call);
    if (s == CAPSA_OK) *out = (capsa_builder *)token;
    return s;
}

capsa_status capsa_builder_set_root_dir(capsa_builder *builder, const char *path, uint32_t overlay,
                                        capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    return goBuilderSetRootDir(SHIM_TOKEN(builder), (char *)path, overlay, &call);
}

capsa_status capsa_builder_set_root_disk(capsa_builder *builder, const char *path, const capsa_disk_options *options,
                                         uint32_t overlay, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    capsa_disk_options known = CAPSA_DISK_OPTIONS_INIT;
    known.format = CAPSA_DISK_FORMAT_RAW;
    if (options) {
        capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_disk_options");
        if (s != CAPSA_OK) return s;
        memcpy(&known, options, sizeof known);
    }
    if (known.n_backing_dirs) SHIM_NEED(known.backing_dirs);
    if (known.n_backing_dirs > MAX_STRINGS)
        return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: %zu backing directories", __func__, known.n_backing_dirs);
    for (size_t i = 0; i < known.n_backing_dirs; i++) SHIM_NEED(known.backing_dirs[i]);
    return goBuilderSetRootDisk(SHIM_TOKEN(builder), (char *)path, &known, overlay, &call);
}

capsa_status capsa_builder_mount(capsa_builder *builder, const char *path, const char *target,
                                 const capsa_share_options *options, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    SHIM_NEED(target);
    capsa_share_options known = CAPSA_SHARE_OPTIONS_INIT;
    if (options) {
        capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_share_options");
        if (s != CAPSA_OK) return s;
        memcpy(&known, options, sizeof known);
    }
    if (known.n_uids) SHIM_NEED(known.uids);
    if (known.n_gids) SHIM_NEED(known.gids);
    if (known.n_uids > MAX_STRINGS || known.n_gids > MAX_STRINGS)
        return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: %zu and %zu ranges of ids", __func__, known.n_uids,
                         known.n_gids);
    return goBuilderMount(SHIM_TOKEN(builder), (char *)path, (char *)target, &known, &call);
}

capsa_status capsa_builder_set_guest_json(capsa_builder *builder, const char *json, size_t len, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(json);
    return goBuilderSetGuestJSON(SHIM_TOKEN(builder), (char *)json, len, &call);
}

capsa_status capsa_vm_wait_ready(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, char **info,
                                 capsa_error **err) {
    SHIM_ENTER(err);
    return shim_finish(&call, goVMWaitReady(SHIM_TOKEN(vm), timeout_ms, SHIM_TOKEN(cancel), info, &call));
}

/* Checks an array of texts. */
static capsa_status check_strings(priv_call *call, const char *const *list, size_t n, const char *name) {
    if (n > MAX_STRINGS)
        return shim_fail(call, CAPSA_E_INVALID_ARG, "%s: %zu; at most %d are taken", name, n, MAX_STRINGS);
    if (n && !list) return shim_fail(call, CAPSA_E_INVALID_ARG, "%s is NULL", name);
    for (size_t i = 0; i < n; i++)
        if (!list[i]) return shim_fail(call, CAPSA_E_INVALID_ARG, "%s[%zu] is NULL", name, i);
    return CAPSA_OK;
}

capsa_status capsa_vm_exec(capsa_vm *vm, const capsa_exec_options *options, int64_t timeout_ms, capsa_cancel *cancel,
                           capsa_exec **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(options);
    SHIM_NEED(out);
    capsa_exec_options known = CAPSA_EXEC_OPTIONS_INIT;
    capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_exec_options");
    if (s != CAPSA_OK) return s;
    memcpy(&known, options, sizeof known);
    s = check_strings(&call, known.args, known.n_args, "args");
    if (s == CAPSA_OK) s = check_strings(&call, known.env, known.n_env, "env");
    if (s != CAPSA_OK) return s;
    if (known.n_rlimits) SHIM_NEED(known.rlimits);
    if (known.n_rlimits > MAX_RLIMITS)
        return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: %zu resource limits; at most %d are taken", __func__,
                         known.n_rlimits, MAX_RLIMITS);
    uintptr_t token = 0;
    s = shim_finish(&call, goVMExec(SHIM_TOKEN(vm), &known, timeout_ms, SHIM_TOKEN(cancel), &token, &call));
    if (s == CAPSA_OK) *out = (capsa_exec *)token;
    return s;
}

capsa_status capsa_exec_fd(capsa_exec *exec, uint32_t stream, int *fd, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(fd);
    return goExecFD(SHIM_TOKEN(exec), stream, fd, &call);
}

capsa_status capsa_exec_wait(capsa_exec *exec, int64_t timeout_ms, capsa_cancel *cancel, capsa_exec_status *status,
                             capsa_error **err) {
    SHIM_ENTER(err);
    capsa_exec_status known = CAPSA_EXEC_STATUS_INIT;
    if (status) {
        capsa_status s = shim_check_struct(&call, status, sizeof known, sizeof known, "capsa_exec_status");
        if (s != CAPSA_OK) return s;
        known.size = status->size;
    }
    capsa_status s = shim_finish(&call, goExecWait(SHIM_TOKEN(exec), timeout_ms, SHIM_TOKEN(cancel), &known, &call));
    if (status && s == CAPSA_OK) memcpy(status, &known, sizeof known);
    return s;
}

capsa_status capsa_exec_signal(capsa_exec *exec, int32_t signal, uint32_t flags, int64_t timeout_ms,
                               capsa_cancel *cancel, capsa_error **err) {
    SHIM_ENTER(err);
    return shim_finish(&call, goExecSignal(SHIM_TOKEN(exec), signal, flags, timeout_ms, SHIM_TOKEN(cancel), &call));
}

capsa_status capsa_exec_resize(capsa_exec *exec, uint16_t columns, uint16_t rows, int64_t timeout_ms,
                               capsa_cancel *cancel, capsa_error **err) {
    SHIM_ENTER(err);
    return shim_finish(&call, goExecResize(SHIM_TOKEN(exec), columns, rows, timeout_ms, SHIM_TOKEN(cancel), &call));
}

void capsa_exec_free(capsa_exec *exec) {
    if (exec && !shim_forked) goExecFree(SHIM_TOKEN(exec));
}

static capsa_status copy(capsa_vm *vm, const char *from, const char *to, uint32_t flags, int in, int64_t timeout_ms,
                         capsa_cancel *cancel, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(from);
    SHIM_NEED(to);
    return shim_finish(
        &call, goVMCopy(SHIM_TOKEN(vm), (char *)from, (char *)to, flags, in, timeout_ms, SHIM_TOKEN(cancel), &call));
}

capsa_status capsa_vm_copy_in(capsa_vm *vm, const char *from, const char *to, uint32_t flags, int64_t timeout_ms,
                              capsa_cancel *cancel, capsa_error **err) {
    return copy(vm, from, to, flags, 1, timeout_ms, cancel, err);
}

capsa_status capsa_vm_copy_out(capsa_vm *vm, const char *from, const char *to, uint32_t flags, int64_t timeout_ms,
                               capsa_cancel *cancel, capsa_error **err) {
    return copy(vm, from, to, flags, 0, timeout_ms, cancel, err);
}

capsa_status capsa_vm_file_read(capsa_vm *vm, const char *path, int64_t timeout_ms, capsa_cancel *cancel,
                                capsa_output **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s =
        shim_finish(&call, goVMFileRead(SHIM_TOKEN(vm), (char *)path, timeout_ms, SHIM_TOKEN(cancel), &token, &call));
    if (s == CAPSA_OK) *out = (capsa_output *)token;
    return s;
}

capsa_status capsa_vm_file_write(capsa_vm *vm, const char *path, const void *data, size_t len, uint32_t mode,
                                 int64_t timeout_ms, capsa_cancel *cancel, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    if (len) SHIM_NEED(data);
    if (len > PTRDIFF_MAX) return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: len %zu is no length", __func__, len);
    return shim_finish(&call, goVMFileWrite(SHIM_TOKEN(vm), (char *)path, (void *)data, len, mode, timeout_ms,
                                            SHIM_TOKEN(cancel), &call));
}
