/* stats.c - counters of machines and devices as objects. Times become milliseconds. */
#include "addon.h"

#include <string.h>

/* A field of a structure and its name in JavaScript. */
struct field {
    const char *name;
    size_t offset;
    enum { U32, U64, NS } type;
};

static bool put_fields(napi_env env, napi_value o, const void *from, const struct field *fields, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *at = (const char *)from + fields[i].offset;
        uint64_t wide = 0;
        uint32_t narrow = 0;

        if (fields[i].type == U32)
            memcpy(&narrow, at, sizeof narrow);
        else
            memcpy(&wide, at, sizeof wide);
        bool ok = fields[i].type == NS ? put_ms(env, o, fields[i].name, wide)
                                       : put_number(env, o, fields[i].name, (double)wide + narrow);
        if (!ok) return false;
    }
    return true;
}

#define F(structure, member, name, type)                                                                              \
    { name, offsetof(structure, member), type }

static const struct field of_machine[] = {
    F(capsa_stats, state, "state", U32),
    F(capsa_stats, cpus, "cpus", U32),
    F(capsa_stats, devices, "devices", U32),
    F(capsa_stats, memory_bytes, "memoryBytes", U64),
    F(capsa_stats, exits, "exits", U64),
    F(capsa_stats, exits_io, "exitsIo", U64),
    F(capsa_stats, exits_mmio, "exitsMmio", U64),
    F(capsa_stats, exits_other, "exitsOther", U64),
    F(capsa_stats, oom_kills, "oomKills", U64),
    F(capsa_stats, events_lost, "eventsLost", U64),
    F(capsa_stats, created_ns, "createdMs", NS),
    F(capsa_stats, started_ns, "startedMs", NS),
    F(capsa_stats, first_instruction_ns, "firstInstructionMs", NS),
    F(capsa_stats, first_exit_ns, "firstExitMs", NS),
    F(capsa_stats, drivers_up_ns, "driversUpMs", NS),
    F(capsa_stats, console_open_ns, "consoleOpenMs", NS),
    F(capsa_stats, ended_ns, "endedMs", NS),
    F(capsa_stats, resident_bytes, "residentBytes", U64),
    F(capsa_stats, target_bytes, "targetBytes", U64),
    F(capsa_stats, current_bytes, "currentBytes", U64),
    F(capsa_stats, inflated_bytes, "inflatedBytes", U64),
    F(capsa_stats, deflated_bytes, "deflatedBytes", U64),
    F(capsa_stats, reported_bytes, "reportedBytes", U64),
    F(capsa_stats, guest_free_bytes, "guestFreeBytes", U64),
    F(capsa_stats, guest_available_bytes, "guestAvailableBytes", U64),
    F(capsa_stats, guest_said_ns, "guestSaidMs", NS),
    F(capsa_stats, balloon, "balloon", U32),
};

static const struct field of_device[] = {
    F(capsa_device_stats, virtio_id, "virtioId", U32),    F(capsa_device_stats, kicks, "kicks", U64),
    F(capsa_device_stats, interrupts, "interrupts", U64), F(capsa_device_stats, requests, "requests", U64),
    F(capsa_device_stats, bytes_in, "bytesIn", U64),      F(capsa_device_stats, bytes_out, "bytesOut", U64),
    F(capsa_device_stats, errors, "errors", U64),         F(capsa_device_stats, faults, "faults", U64),
    F(capsa_device_stats, resets, "resets", U64),         F(capsa_device_stats, reads, "reads", U64),
    F(capsa_device_stats, writes, "writes", U64),         F(capsa_device_stats, flushes, "flushes", U64),
    F(capsa_device_stats, discards, "discards", U64),     F(capsa_device_stats, write_zeroes, "writeZeroes", U64),
    F(capsa_device_stats, refused, "refused", U64),       F(capsa_device_stats, stalls, "stalls", U64),
    F(capsa_device_stats, throttled, "throttled", U64),
};

/* vmStats(vm) */
static napi_value stats(napi_env env, napi_callback_info info) {
    capsa_stats s = CAPSA_STATS_INIT;
    napi_value args[1], o;

    if (!get_args(env, info, 1, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm) return NULL;
    CALL(capsa_vm_stats(vm, &s, &err));
    NAPI(napi_create_object(env, &o));
    if (!put_fields(env, o, &s, of_machine, sizeof of_machine / sizeof *of_machine)) return throw_napi(env);
    return o;
}

/* vmDeviceStats(vm, index) */
static napi_value device_stats(napi_env env, napi_callback_info info) {
    capsa_device_stats s = CAPSA_DEVICE_STATS_INIT;
    napi_value args[2], o;
    uint32_t index;

    if (!get_args(env, info, 2, args)) return NULL;
    capsa_vm *vm = handle_get(env, args[0], KIND_VM);
    if (!vm || !get_u32(env, args[1], "device", &index)) return NULL;
    CALL(capsa_vm_device_stats(vm, index, &s, &err));
    s.name[sizeof s.name - 1] = 0;
    NAPI(napi_create_object(env, &o));
    if (!put(env, o, "name", new_text(env, s.name)) ||
        !put_fields(env, o, &s, of_device, sizeof of_device / sizeof *of_device))
        return throw_napi(env);
    return o;
}

bool stats_init(napi_env env, napi_value exports) {
    static const napi_property_descriptor methods[] = {METHOD("vmStats", stats),
                                                       METHOD("vmDeviceStats", device_stats)};
    return DEFINE(env, exports, methods);
}
