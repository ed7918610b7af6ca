/* vm.c - the public functions of capsa_vm. */
#include "shim.h"

#include "_cgo_export.h"
#include <string.h>

capsa_status capsa_vm_start(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, capsa_error **err) {
    SHIM_ENTER(err);
    return shim_finish(&call, goVMStart(SHIM_TOKEN(vm), timeout_ms, SHIM_TOKEN(cancel), &call));
}

capsa_status capsa_vm_wait(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, capsa_exit_info *info,
                           capsa_error **err) {
    SHIM_ENTER(err);
    capsa_exit_info known = CAPSA_EXIT_INFO_INIT;
    if (info) {
        capsa_status s = shim_check_struct(&call, info, sizeof known, sizeof known, "capsa_exit_info");
        if (s != CAPSA_OK) return s;
        known.size = info->size;
    }
    capsa_status s = shim_finish(&call, goVMWait(SHIM_TOKEN(vm), timeout_ms, SHIM_TOKEN(cancel), &known, &call));
    if (info && known.cause != CAPSA_CAUSE_NONE) memcpy(info, &known, sizeof known);
    return s;
}

capsa_status capsa_vm_exit_json(capsa_vm *vm, char **json, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(json);
    return goVMExitJSON(SHIM_TOKEN(vm), json, &call);
}

capsa_status capsa_vm_stop(capsa_vm *vm, int64_t grace_ms, capsa_cancel *cancel, uint32_t *stage, capsa_error **err) {
    SHIM_ENTER(err);
    uint32_t unwanted = 0;
    return shim_finish(&call,
                       goVMStop(SHIM_TOKEN(vm), grace_ms, SHIM_TOKEN(cancel), stage ? stage : &unwanted, &call));
}

capsa_status capsa_vm_stop_in_stages(capsa_vm *vm, const capsa_stop_options *options, capsa_cancel *cancel,
                                     capsa_stop_outcome *outcome, capsa_error **err) {
    SHIM_ENTER(err);
    capsa_stop_options grace = CAPSA_STOP_OPTIONS_INIT;
    capsa_stop_outcome known = CAPSA_STOP_OUTCOME_INIT;
    capsa_status s;
    if (options) {
        s = shim_check_struct(&call, options, sizeof grace, sizeof grace, "capsa_stop_options");
        if (s != CAPSA_OK) return s;
        memcpy(&grace, options, sizeof grace);
    }
    if (outcome) {
        s = shim_check_struct(&call, outcome, sizeof known, sizeof known, "capsa_stop_outcome");
        if (s != CAPSA_OK) return s;
        known.size = outcome->size;
    }
    s = shim_finish(&call, goVMStopInStages(SHIM_TOKEN(vm), &grace, SHIM_TOKEN(cancel), &known, &call));
    capsa_status class = capsa_status_class(s);
    if (outcome && (s == CAPSA_OK || class == CAPSA_E_TIMEOUT || class == CAPSA_E_CANCELLED))
        memcpy(outcome, &known, sizeof known);
    return s;
}

capsa_status capsa_vm_kill(capsa_vm *vm, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMKill(SHIM_TOKEN(vm), &call);
}

capsa_status capsa_vm_pause(capsa_vm *vm, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMPause(SHIM_TOKEN(vm), &call);
}

capsa_status capsa_vm_resume(capsa_vm *vm, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMResume(SHIM_TOKEN(vm), &call);
}

capsa_status capsa_vm_set_memory_target(capsa_vm *vm, uint64_t bytes, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMSetMemoryTarget(SHIM_TOKEN(vm), bytes, &call);
}

capsa_status capsa_vm_vsock_connect(capsa_vm *vm, uint32_t port, uint32_t flags, int64_t timeout_ms,
                                    capsa_cancel *cancel, int *fd, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(fd);
    return shim_finish(&call,
                       goVMVsockConnect(SHIM_TOKEN(vm), port, flags, timeout_ms, SHIM_TOKEN(cancel), fd, &call));
}

capsa_status capsa_vm_vsock_listen(capsa_vm *vm, uint32_t port, uint32_t flags, int backlog, int *fd,
                                   capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(fd);
    return goVMVsockListen(SHIM_TOKEN(vm), port, flags, backlog, fd, &call);
}

capsa_status capsa_vm_vsock_unlisten(capsa_vm *vm, uint32_t port, capsa_error **err) {
    SHIM_ENTER(err);
    return goVMVsockUnlisten(SHIM_TOKEN(vm), port, &call);
}

capsa_status capsa_vm_state(capsa_vm *vm, uint32_t *state, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(state);
    return goVMState(SHIM_TOKEN(vm), state, &call);
}

capsa_status capsa_vm_stats_json(capsa_vm *vm, char **json, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(json);
    return goVMStatsJSON(SHIM_TOKEN(vm), json, &call);
}

capsa_status capsa_vm_stats(capsa_vm *vm, capsa_stats *stats, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(stats);
    capsa_stats known = CAPSA_STATS_INIT;
    capsa_status s = shim_check_struct(&call, stats, sizeof known, sizeof known, "capsa_stats");
    if (s != CAPSA_OK) return s;
    known.size = stats->size;
    s = goVMStats(SHIM_TOKEN(vm), &known, &call);
    if (s == CAPSA_OK) memcpy(stats, &known, sizeof known);
    return s;
}

capsa_status capsa_vm_device_stats(capsa_vm *vm, uint32_t device, capsa_device_stats *stats, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(stats);
    capsa_device_stats known = CAPSA_DEVICE_STATS_INIT;
    capsa_status s = shim_check_struct(&call, stats, sizeof known, sizeof known, "capsa_device_stats");
    if (s != CAPSA_OK) return s;
    known.size = stats->size;
    s = goVMDeviceStats(SHIM_TOKEN(vm), device, &known, &call);
    if (s == CAPSA_OK) memcpy(stats, &known, sizeof known);
    return s;
}

capsa_status capsa_vm_metrics(capsa_vm *vm, char **text, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(text);
    return goVMMetrics(SHIM_TOKEN(vm), text, &call);
}

capsa_status capsa_vm_boot_log(capsa_vm *vm, capsa_output **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goVMBootLog(SHIM_TOKEN(vm), &token, &call);
    if (s == CAPSA_OK) *out = (capsa_output *)token;
    return s;
}

capsa_status capsa_vm_event_fd(capsa_vm *vm, int *fd, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(fd);
    return goVMEventFD(SHIM_TOKEN(vm), fd, &call);
}

capsa_status capsa_vm_next_event(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, capsa_event *event,
                                 char **json, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(event);
    capsa_event known = CAPSA_EVENT_INIT;
    capsa_status s = shim_check_struct(&call, event, sizeof known, sizeof known, "capsa_event");
    if (s != CAPSA_OK) return s;
    known.size = event->size;
    s = shim_finish(&call, goVMNextEvent(SHIM_TOKEN(vm), timeout_ms, SHIM_TOKEN(cancel), &known, json, &call));
    if (s == CAPSA_OK) memcpy(event, &known, sizeof known);
    return s;
}

capsa_status capsa_vm_exit_fd(capsa_vm *vm, int *fd, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(fd);
    return goVMExitFD(SHIM_TOKEN(vm), fd, &call);
}

capsa_status capsa_vm_console(capsa_vm *vm, capsa_console **out, capsa_error **err) {
    SHIM_ENTER(err);
    SHIM_NEED(out);
    uintptr_t token = 0;
    capsa_status s = goVMConsole(SHIM_TOKEN(vm), &token, &call);
    if (s == CAPSA_OK) *out = (capsa_console *)token;
    return s;
}

void capsa_vm_free(capsa_vm *vm) {
    if (vm && !shim_forked) goVMFree(SHIM_TOKEN(vm));
}
