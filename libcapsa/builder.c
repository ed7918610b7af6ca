/* builder.c - the public functions of capsa_builder. */
#include "shim.h"

#include "_cgo_export.h"
#include <string.h>

/* More directories than this are a mistake: a wrong count. */
#define MAX_BACKING_DIRS 1024
#define MAX_ID_RANGES 340

capsa_status capsa_builder_new(capsa_builder **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goBuilderNew(&token, &call);
    if (s == CAPSA_OK) *out = (capsa_builder *)token;
    return s;
}

capsa_status capsa_builder_clone(capsa_builder *builder, capsa_builder **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goBuilderClone(SHIM_TOKEN(builder), &token, &call);
    if (s == CAPSA_OK) *out = (capsa_builder *)token;
    return s;
}

void capsa_builder_free(capsa_builder *builder) {
    if (builder && !shim_forked) goBuilderFree(SHIM_TOKEN(builder));
}

capsa_status capsa_builder_set_name(capsa_builder *builder, const char *name, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(name);
    return goBuilderSetName(SHIM_TOKEN(builder), (char *)name, strlen(name), &call);
}

capsa_status capsa_builder_set_backend(capsa_builder *builder, const char *name, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(name);
    return goBuilderSetBackend(SHIM_TOKEN(builder), (char *)name, strlen(name), &call);
}

capsa_status capsa_builder_boot_linux(capsa_builder *builder, const char *kernel_path, const char *initrd_path,
                                      capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(kernel_path);
    return goBuilderBootLinux(SHIM_TOKEN(builder), (char *)kernel_path, strlen(kernel_path), (char *)initrd_path,
                              initrd_path ? strlen(initrd_path) : 0, &call);
}

capsa_status capsa_builder_cmdline_arg(capsa_builder *builder, const char *arg, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(arg);
    return goBuilderCmdlineArg(SHIM_TOKEN(builder), (char *)arg, strlen(arg), &call);
}

capsa_status capsa_builder_set_cmdline(capsa_builder *builder, const char *cmdline, capsa_error **err) {
    SHIM_ENTER(err);
    return goBuilderSetCmdline(SHIM_TOKEN(builder), (char *)cmdline, cmdline ? strlen(cmdline) : 0, &call);
}

capsa_status capsa_builder_set_cpus(capsa_builder *builder, uint32_t cpus, capsa_error **err) {
    SHIM_ENTER(err);
    return goBuilderSetCPUs(SHIM_TOKEN(builder), cpus, &call);
}

capsa_status capsa_builder_set_memory_mib(capsa_builder *builder, uint64_t mib, capsa_error **err) {
    SHIM_ENTER(err);
    return goBuilderSetMemoryMiB(SHIM_TOKEN(builder), mib, &call);
}

capsa_status capsa_builder_set_timeout(capsa_builder *builder, int64_t timeout_ms, capsa_error **err) {
    SHIM_ENTER(err);
    return goBuilderSetTimeout(SHIM_TOKEN(builder), timeout_ms, &call);
}

capsa_status capsa_builder_set_console(capsa_builder *builder, const capsa_console_options *options,
                                       capsa_error **err) {
    SHIM_ENTER(err);
    capsa_console_options known = CAPSA_CONSOLE_OPTIONS_INIT;
    if (options) {
        capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_console_options");
        if (s != CAPSA_OK) return s;
        memcpy(&known, options, sizeof known);
    }
    return goBuilderSetConsole(SHIM_TOKEN(builder), &known, &call);
}

capsa_status capsa_builder_add_disk(capsa_builder *builder, const char *path, const capsa_disk_options *options,
                                    capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    capsa_disk_options known = CAPSA_DISK_OPTIONS_INIT;
    if (options) {
        capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_disk_options");
        if (s != CAPSA_OK) return s;
        memcpy(&known, options, sizeof known);
    }
    if (known.n_backing_dirs) SHIM_NEED(known.backing_dirs);
    if (known.n_backing_dirs > MAX_BACKING_DIRS)
        return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: %zu backing directories; at most %d are taken", __func__,
                         known.n_backing_dirs, MAX_BACKING_DIRS);
    for (size_t i = 0; i < known.n_backing_dirs; i++) SHIM_NEED(known.backing_dirs[i]);
    return goBuilderAddDisk(SHIM_TOKEN(builder), (char *)path, &known, &call);
}

capsa_status capsa_builder_add_share(capsa_builder *builder, const char *tag, const char *path,
                                     const capsa_share_options *options, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(tag);
    SHIM_NEED(path);
    capsa_share_options known = CAPSA_SHARE_OPTIONS_INIT;
    if (options) {
        capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_share_options");
        if (s != CAPSA_OK) return s;
        memcpy(&known, options, sizeof known);
    }
    if (known.n_uids) SHIM_NEED(known.uids);
    if (known.n_gids) SHIM_NEED(known.gids);
    if (known.n_uids > MAX_ID_RANGES || known.n_gids > MAX_ID_RANGES)
        return shim_fail(&call, CAPSA_E_INVALID_ARG, "%s: %zu and %zu ranges of ids; at most %d each are taken",
                         __func__, known.n_uids, known.n_gids, MAX_ID_RANGES);
    return goBuilderAddShare(SHIM_TOKEN(builder), (char *)tag, (char *)path, &known, &call);
}

capsa_status capsa_builder_set_balloon(capsa_builder *builder, const capsa_balloon_options *options,
                                       capsa_error **err) {
    SHIM_ENTER(err);
    capsa_balloon_options known = CAPSA_BALLOON_OPTIONS_INIT;
    if (options) {
        capsa_status s = shim_check_struct(&call, options, sizeof known, sizeof known, "capsa_balloon_options");
        if (s != CAPSA_OK) return s;
        memcpy(&known, options, sizeof known);
    }
    return goBuilderSetBalloon(SHIM_TOKEN(builder), known.flags, &call);
}

capsa_status capsa_builder_set_isolation(capsa_builder *builder, uint32_t isolation, uint32_t flags,
                                         capsa_error **err) {
    SHIM_ENTER(err);
    return goBuilderSetIsolation(SHIM_TOKEN(builder), isolation, flags, &call);
}

capsa_status capsa_builder_set_vsock(capsa_builder *builder, int on, capsa_error **err) {
    SHIM_ENTER(err);
    return goBuilderSetVsock(SHIM_TOKEN(builder), on, &call);
}

capsa_status capsa_builder_vsock_listen(capsa_builder *builder, uint32_t port, const char *path, uint32_t flags,
                                        capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    return goBuilderVsockListen(SHIM_TOKEN(builder), port, (char *)path, flags, &call);
}

capsa_status capsa_builder_vsock_connect(capsa_builder *builder, uint32_t port, const char *path, uint32_t flags,
                                         capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(path);
    return goBuilderVsockConnect(SHIM_TOKEN(builder), port, (char *)path, flags, &call);
}

capsa_status capsa_builder_to_json(capsa_builder *builder, char **json, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(json);
    return goBuilderToJSON(SHIM_TOKEN(builder), json, &call);
}

capsa_status capsa_builder_from_json(const char *json, size_t len, capsa_builder **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(json);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goBuilderFromJSON((char *)json, len, &token, &call);
    if (s == CAPSA_OK) *out = (capsa_builder *)token;
    return s;
}

capsa_status capsa_builder_build(capsa_builder *builder, capsa_vm **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goBuilderBuild(SHIM_TOKEN(builder), &token, &call);
    if (s == CAPSA_OK) *out = (capsa_vm *)token;
    return s;
}
