/* devices.c - a machine to be built: its console, disks, shared directories, balloon, process and sockets. */
#include "addon.h"

#include <stdlib.h>

static capsa_builder *get_builder(napi_env env, napi_callback_info info, size_t n, napi_value *args) {
    return get_args(env, info, n, args) ? handle_get(env, args[0], KIND_BUILDER) : NULL;
}

/* setConsole(builder, { columns, rows, ringSize }) */
static napi_value set_console(napi_env env, napi_callback_info info) {
    capsa_console_options o = CAPSA_CONSOLE_OPTIONS_INIT;
    napi_value args[2];

    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b) return NULL;
    if (is_missing(env, args[1])) {
        CALL(capsa_builder_set_console(b, NULL, &err));
        return NULL;
    }
    if (!opt_u16(env, args[1], "columns", &o.columns) || !opt_u16(env, args[1], "rows", &o.rows) ||
        !opt_u64(env, args[1], "ringSize", &o.ring_size))
        return NULL;
    CALL(capsa_builder_set_console(b, &o, &err));
    return NULL;
}

/* ---- Disks. */

/* The texts of a disk's options, which capsa_disk_options points to. */
struct disk_texts {
    char *path, *overlay, *scratch_dir, *serial;
    char **backing_dirs;
    uint32_t n_backing_dirs;
};

static void free_disk_texts(struct disk_texts *t) {
    free_texts(t->backing_dirs, t->n_backing_dirs);
    free(t->path);
    free(t->overlay);
    free(t->scratch_dir);
    free(t->serial);
}

static bool get_disk(napi_env env, napi_value v, capsa_disk_options *o, struct disk_texts *t) {
    if (!opt_u32(env, v, "flags", &o->flags) || !opt_u32(env, v, "format", &o->format) ||
        !opt_u32(env, v, "queues", &o->queues) || !opt_text(env, v, "overlay", &t->overlay) ||
        !opt_text(env, v, "scratchDir", &t->scratch_dir) || !opt_text(env, v, "serial", &t->serial) ||
        !opt_texts(env, v, "backingDirs", &t->backing_dirs, &t->n_backing_dirs) ||
        !opt_u64(env, v, "iops", &o->iops) || !opt_u64(env, v, "iopsBurst", &o->iops_burst) ||
        !opt_u64(env, v, "bytesPerSec", &o->bytes_per_sec) || !opt_u64(env, v, "bytesBurst", &o->bytes_burst))
        return false;
    o->overlay = t->overlay;
    o->scratch_dir = t->scratch_dir;
    o->serial = t->serial;
    o->backing_dirs = (const char *const *)t->backing_dirs;
    o->n_backing_dirs = t->n_backing_dirs;
    return true;
}

/* addDisk(builder, path, options): flags and format are numbers */
static napi_value add_disk(napi_env env, napi_callback_info info) {
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;
    struct disk_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[3];

    capsa_builder *b = get_builder(env, info, 3, args);
    if (!b) return NULL;
    bool ok = get_text(env, args[1], "path", &t.path) && get_disk(env, args[2], &o, &t);
    capsa_status status = ok ? capsa_builder_add_disk(b, t.path, &o, &err) : CAPSA_OK;
    free_disk_texts(&t);
    return status ? throw_status(env, status, err) : NULL;
}

/* setRootDisk(builder, path, options, overlay) */
static napi_value set_root_disk(napi_env env, napi_callback_info info) {
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;
    struct disk_texts t = {0};
    capsa_error *err = NULL;
    napi_value args[4];
    uint32_t overlay;

    capsa_builder *b = get_builder(env, info, 4, args);
    if (!b) return NULL;
    bool ok = get_text(env, args[1], "path", &t.path) && get_disk(env, args[2], &o, &t) &&
              get_u32(env, args[3], "overlay", &overlay);
    capsa_status status = ok ? capsa_builder_set_root_disk(b, t.path, &o, overlay, &err) : CAPSA_OK;
    free_disk_texts(&t);
    return status ? throw_status(env, status, err) : NULL;
}

/* setRootDir(builder, path, overlay) */
static napi_value set_root_dir(napi_env env, napi_callback_info info) {
    capsa_error *err = NULL;
    napi_value args[3];
    uint32_t overlay;
    char *path;

    capsa_builder *b = get_builder(env, info, 3, args);
    if (!b || !get_u32(env, args[2], "overlay", &overlay) || !get_text(env, args[1], "path", &path)) return NULL;
    capsa_status status = capsa_builder_set_root_dir(b, path, overlay, &err);
    free(path);
    return status ? throw_status(env, status, err) : NULL;
}

/* ---- Shared directories. */

static bool get_range(napi_env env, napi_value v, capsa_id_range *range) {
    napi_valuetype type;

    if (napi_typeof(env, v, &type) != napi_ok || type != napi_object) {
        napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "a range of ids must be { guest, host, count }");
        return false;
    }
    return opt_u32(env, v, "guest", &range->guest) && opt_u32(env, v, "host", &range->host) &&
           opt_u32(env, v, "count", &range->count);
}

/* An array of { guest, host, count }. */
static bool get_ranges(napi_env env, napi_value o, const char *name, capsa_id_range **ranges, size_t *n) {
    napi_value list, v;
    uint32_t len;

    if (!opt_list(env, o, name, &list, &len)) return false;
    if (!len) return true;
    *ranges = calloc(len, sizeof **ranges);
    if (!*ranges) {
        throw_napi(env);
        return false;
    }
    *n = len;
    for (uint32_t i = 0; i < len; i++)
        if (napi_get_element(env, list, i, &v) != napi_ok || !get_range(env, v, &(*ranges)[i])) return false;
    return true;
}

static bool get_share(napi_env env, napi_value v, capsa_share_options *o, capsa_id_range **uids,
                      capsa_id_range **gids) {
    if (!opt_u32(env, v, "flags", &o->flags) || !opt_u32(env, v, "cache", &o->cache) ||
        !opt_u32(env, v, "owner", &o->owner) || !opt_u32(env, v, "xattr", &o->xattr) ||
        !opt_u32(env, v, "queues", &o->queues) || !opt_u32(env, v, "guestUid", &o->guest_uid) ||
        !opt_u32(env, v, "guestGid", &o->guest_gid) || !opt_u32(env, v, "hostUid", &o->host_uid) ||
        !opt_u32(env, v, "hostGid", &o->host_gid) || !opt_u32(env, v, "maxFiles", &o->max_files) ||
        !opt_u32(env, v, "maxInodes", &o->max_inodes) || !get_ranges(env, v, "uids", uids, &o->n_uids) ||
        !get_ranges(env, v, "gids", gids, &o->n_gids))
        return false;
    o->uids = *uids;
    o->gids = *gids;
    return true;
}

typedef capsa_status share_adder(capsa_builder *, const char *, const char *, const capsa_share_options *,
                                 capsa_error **);

/* A function of two texts and a share's options: flags, cache, owner and xattr are numbers. */
static napi_value with_share(napi_env env, napi_callback_info info, share_adder *add, const char *first,
                             const char *second) {
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;
    capsa_id_range *uids = NULL, *gids = NULL;
    char *a = NULL, *z = NULL;
    capsa_error *err = NULL;
    napi_value args[4];

    capsa_builder *b = get_builder(env, info, 4, args);
    if (!b) return NULL;
    bool ok = get_text(env, args[1], first, &a) && get_text(env, args[2], second, &z) &&
              get_share(env, args[3], &o, &uids, &gids);
    capsa_status status = ok ? add(b, a, z, &o, &err) : CAPSA_OK;
    free(uids);
    free(gids);
    free(a);
    free(z);
    return status ? throw_status(env, status, err) : NULL;
}

/* addShare(builder, tag, path, options) */
static napi_value add_share(napi_env env, napi_callback_info info) {
    return with_share(env, info, capsa_builder_add_share, "tag", "path");
}

/* mount(builder, path, target, options) */
static napi_value mount(napi_env env, napi_callback_info info) {
    return with_share(env, info, capsa_builder_mount, "path", "target");
}

/* ---- Balloon, process and sockets. */

/* setBalloon(builder, flags) */
static napi_value set_balloon(napi_env env, napi_callback_info info) {
    capsa_balloon_options o = CAPSA_BALLOON_OPTIONS_INIT;
    napi_value args[2];

    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b || !get_u32(env, args[1], "flags", &o.flags)) return NULL;
    CALL(capsa_builder_set_balloon(b, &o, &err));
    return NULL;
}

/* setIsolation(builder, isolation, flags) */
static napi_value set_isolation(napi_env env, napi_callback_info info) {
    uint32_t isolation, flags;
    napi_value args[3];

    capsa_builder *b = get_builder(env, info, 3, args);
    if (!b || !get_u32(env, args[1], "isolation", &isolation) || !get_u32(env, args[2], "flags", &flags)) return NULL;
    CALL(capsa_builder_set_isolation(b, isolation, flags, &err));
    return NULL;
}

/* setVsock(builder, 0 or 1) */
static napi_value set_vsock(napi_env env, napi_callback_info info) {
    napi_value args[2];
    uint32_t on;

    capsa_builder *b = get_builder(env, info, 2, args);
    if (!b || !get_u32(env, args[1], "on", &on)) return NULL;
    CALL(capsa_builder_set_vsock(b, on != 0, &err));
    return NULL;
}

typedef capsa_status port_binder(capsa_builder *, uint32_t, const char *, uint32_t, capsa_error **);

static napi_value bind_port(napi_env env, napi_callback_info info, port_binder *bind) {
    capsa_error *err = NULL;
    uint32_t port, flags;
    napi_value args[4];
    char *path;

    capsa_builder *b = get_builder(env, info, 4, args);
    if (!b || !get_u32(env, args[1], "port", &port) || !get_u32(env, args[3], "flags", &flags) ||
        !get_text(env, args[2], "path", &path))
        return NULL;
    capsa_status status = bind(b, port, path, flags, &err);
    free(path);
    return status ? throw_status(env, status, err) : NULL;
}

/* vsockListen(builder, port, path, flags), and vsockConnect */
static napi_value vsock_listen(napi_env env, napi_callback_info info) {
    return bind_port(env, info, capsa_builder_vsock_listen);
}

static napi_value vsock_connect(napi_env env, napi_callback_info info) {
    return bind_port(env, info, capsa_builder_vsock_connect);
}

bool devices_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {
        METHOD("builderSetConsole", set_console),
        METHOD("builderAddDisk", add_disk),
        METHOD("builderAddShare", add_share),
        METHOD("builderSetBalloon", set_balloon),
        METHOD("builderSetIsolation", set_isolation),
        METHOD("builderSetVsock", set_vsock),
        METHOD("builderVsockListen", vsock_listen),
        METHOD("builderVsockConnect", vsock_connect),
        METHOD("builderSetRootDisk", set_root_disk),
        METHOD("builderSetRootDir", set_root_dir),
        METHOD("builderMount", mount),
    };
    return DEFINE(env, exports, methods);
}
