/* machine.c - words of the interpreter about descriptions and machines. */
#define _POSIX_C_SOURCE 200809L
#include "words.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const causes[] = {"none",        "guest-shutdown", "main-exited", "reboot",    "panic",
                                     "oom",         "stopped",        "killed",      "timed-out", "vmm-crash",
                                     "boot-failed", "triple-fault"};
static const char *const states[] = {"created", "starting", "running", "paused", "stopping", "stopped", "failed"};
static const char *const stages[] = {"none", "agent", "power-button", "kill"};
static const char *const events[] = {
    "",    "state", "ready",       "exited",     "exec-exited", "console-data", "port-bound", "policy-deny",
    "oom", "log",   "events-lost", "disk-error", "crash-kernel"};
#define COUNT(list) (sizeof(list) / sizeof *(list))

static capsa_vm *vm(void) { return thing("vm", VM)->handle; }

static capsa_status clear(struct answer *a) {
    drop_all();
    capsa_builder_free(builder);
    return capsa_builder_new(&builder, &a->error);
}

static capsa_status version(struct answer *a) {
    say(a, "%s", capsa_version_string());
    return CAPSA_OK;
}

static capsa_status has(struct answer *a) {
    say(a, "%s", capsa_has(text("feature")) ? "true" : "false");
    return CAPSA_OK;
}

/* One property of the description. */
static capsa_status set(struct answer *a) {
    const char *what = text("what"), *value = text("value");
    capsa_error **err = &a->error;

    if (!strcmp(what, "name")) return capsa_builder_set_name(builder, value, err);
    if (!strcmp(what, "backend")) return capsa_builder_set_backend(builder, value, err);
    if (!strcmp(what, "linux")) return capsa_builder_boot_linux(builder, value, given("initrd"), err);
    if (!strcmp(what, "arg")) return capsa_builder_cmdline_arg(builder, value, err);
    if (!strcmp(what, "cmdline")) return capsa_builder_set_cmdline(builder, value, err);
    if (!strcmp(what, "cpus")) return capsa_builder_set_cpus(builder, (uint32_t)number("value"), err);
    if (!strcmp(what, "memory_mib")) return capsa_builder_set_memory_mib(builder, (uint64_t)number("value"), err);
    if (!strcmp(what, "timeout_ms")) return capsa_builder_set_timeout(builder, number("value"), err);
    if (!strcmp(what, "isolation"))
        return capsa_builder_set_isolation(
            builder, !strcmp(value, "process") ? CAPSA_ISOLATION_PROCESS : CAPSA_ISOLATION_NONE, 0, err);
    if (!strcmp(what, "ring_size")) {
        capsa_console_options o = CAPSA_CONSOLE_OPTIONS_INIT;
        o.ring_size = (uint64_t)number("value");
        return capsa_builder_set_console(builder, &o, err);
    }
    if (!strcmp(what, "vsock")) return capsa_builder_set_vsock(builder, 1, err);
    if (!strcmp(what, "vsock_listen"))
        return capsa_builder_vsock_listen(builder, (uint32_t)number("port"), value, 0, err);
    if (!strcmp(what, "policy")) return capsa_builder_set_policy_json(builder, value, strlen(value), err);
    if (!strcmp(what, "disk")) {
        capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;
        o.format = CAPSA_DISK_FORMAT_RAW;
        return capsa_builder_add_disk(builder, value, &o, err);
    }
    if (!strcmp(what, "share")) {
        capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;
        o.flags = given("read_only") ? CAPSA_SHARE_READ_ONLY : 0;
        return capsa_builder_add_share(builder, text("tag"), value, &o, err);
    }
    if (!strcmp(what, "network")) {
        capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
        o.mode = CAPSA_NETWORK_USER;
        o.flags = CAPSA_NETWORK_HOST_ACCESS;
        o.mtu = (uint32_t)number("value");
        return capsa_builder_set_network(builder, &o, err);
    }
    if (!strcmp(what, "forward")) {
        capsa_forward_options o = CAPSA_FORWARD_OPTIONS_INIT;
        o.guest_port = (uint16_t)number("value");
        return capsa_builder_add_forward(builder, &o, err);
    }
    fprintf(stderr, "polyglot: nothing is called %s\n", what);
    exit(2);
}

static capsa_status json(struct answer *a) {
    char *made = NULL;
    capsa_status status = capsa_builder_to_json(builder, &made, &a->error);
    if (status == CAPSA_OK) say_text(a, made);
    return status;
}

static capsa_status from_json(struct answer *a) {
    capsa_builder *made = NULL;
    capsa_status status = capsa_builder_from_json(text("json"), strlen(text("json")), &made, &a->error);
    if (status != CAPSA_OK) return status;
    capsa_builder_free(builder);
    builder = made;
    return CAPSA_OK;
}

static capsa_status build(struct answer *a) {
    capsa_vm *made = NULL;
    capsa_status status = capsa_builder_build(builder, &made, &a->error);
    if (status == CAPSA_OK) make("vm", VM)->handle = made;
    return status;
}

static capsa_status start(struct answer *a) { return capsa_vm_start(vm(), -1, NULL, &a->error); }
static capsa_status kill_now(struct answer *a) { return capsa_vm_kill(vm(), &a->error); }
static capsa_status pause_it(struct answer *a) { return capsa_vm_pause(vm(), &a->error); }
static capsa_status resume(struct answer *a) { return capsa_vm_resume(vm(), &a->error); }

static capsa_status close_it(struct answer *a) {
    (void)a;
    drop(thing("of", NOTHING));
    return CAPSA_OK;
}

static capsa_status state(struct answer *a) {
    uint32_t is = 0;
    capsa_status status = capsa_vm_state(vm(), &is, &a->error);
    if (status == CAPSA_OK) say(a, "%s", states[is]);
    return status;
}

/* As many calls as are asked for. */
static capsa_status calls(struct answer *a) {
    capsa_vm *of = vm();
    uint32_t is = 0;
    capsa_status status = CAPSA_OK;
    for (int64_t n = number("count"); n > 0 && status == CAPSA_OK; n--) status = capsa_vm_state(of, &is, &a->error);
    return status;
}

static capsa_status wait_for(capsa_vm *of, capsa_cancel *cancel, int64_t ms, struct answer *a) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_status status = capsa_vm_wait(of, ms, cancel, &info, &a->error);
    if (status == CAPSA_OK) say(a, "%s %d %d", causes[info.cause], info.code, info.signal);
    return status;
}

static capsa_status wait_end(struct answer *a) { return wait_for(vm(), NULL, number("ms"), a); }

static capsa_status stop(struct answer *a) {
    uint32_t stage = 0;
    capsa_status status = capsa_vm_stop(vm(), number("ms"), NULL, &stage, &a->error);
    if (status == CAPSA_OK) say(a, "%s", stages[stage]);
    return status;
}

/* A wait, or a life, on a thread of its own. */
struct job {
    pthread_t thread;
    capsa_vm *vm;
    capsa_cancel *cancel;
    int64_t ms;
    struct answer answer;
    capsa_status status;
};

static void *waits(void *p) {
    struct job *job = p;
    job->status = wait_for(job->vm, job->cancel, -1, &job->answer);
    return NULL;
}

static capsa_status cancelled(struct answer *a) {
    struct job job = {.vm = vm()};
    capsa_status status = capsa_cancel_new(&job.cancel, &a->error);

    if (status != CAPSA_OK) return status;
    pthread_create(&job.thread, NULL, waits, &job);
    status = capsa_cancel_trigger(job.cancel, &a->error);
    pthread_join(job.thread, NULL);
    capsa_cancel_free(job.cancel);
    if (status != CAPSA_OK) return status;
    *a = job.answer;
    return job.status;
}

static void *lives(void *p) {
    struct job *job = p;
    job->status = capsa_builder_build(builder, &job->vm, &job->answer.error);
    if (job->status == CAPSA_OK) job->status = capsa_vm_start(job->vm, -1, NULL, &job->answer.error);
    if (job->status == CAPSA_OK) job->status = wait_for(job->vm, NULL, job->ms, &job->answer);
    capsa_vm_free(job->vm);
    return NULL;
}

/* Machines of one description at once. */
static capsa_status many(struct answer *a) {
    struct job jobs[16] = {{0}};
    size_t n = (size_t)number("count"), len = 0;
    char ends[16 * 32] = "";
    capsa_status status = CAPSA_OK;

    for (size_t i = 0; i < n && i < COUNT(jobs); i++) {
        jobs[i].ms = number("ms");
        pthread_create(&jobs[i].thread, NULL, lives, &jobs[i]);
    }
    for (size_t i = 0; i < n && i < COUNT(jobs); i++) {
        pthread_join(jobs[i].thread, NULL);
        if (jobs[i].status == CAPSA_OK) {
            len += (size_t)snprintf(ends + len, sizeof ends - len, "%s%s", i ? " " : "", jobs[i].answer.text);
        } else {
            status = jobs[i].status;
            capsa_error_free(a->error);
            a->error = jobs[i].answer.error;
        }
        free(jobs[i].answer.text);
    }
    say(a, "%s", ends);
    return status;
}

/* Machines are made and dropped, one after the other. */
static capsa_status churn(struct answer *a) {
    capsa_status status = CAPSA_OK;

    for (int64_t n = number("count"); n > 0 && status == CAPSA_OK; n--) {
        capsa_vm *made = NULL;
        status = capsa_builder_build(builder, &made, &a->error);
        if (status == CAPSA_OK && given("started")) status = capsa_vm_start(made, -1, NULL, &a->error);
        capsa_vm_free(made);
    }
    return status;
}

static capsa_status boot_log(struct answer *a) {
    capsa_output *output = NULL;
    capsa_status status = capsa_vm_boot_log(vm(), &output, &a->error);
    if (status == CAPSA_OK) say_output(a, "", output, 0);
    return status;
}

static capsa_status stats(struct answer *a) {
    capsa_stats s = CAPSA_STATS_INIT;
    capsa_status status = capsa_vm_stats(vm(), &s, &a->error);
    if (status == CAPSA_OK) say(a, "%u %u", s.cpus, (unsigned)(s.memory_bytes >> 20));
    return status;
}

/* The library keeps events for whoever takes them first. */
static capsa_status watch(struct answer *a) {
    (void)a;
    make("as", EVENTS)->handle = vm();
    return CAPSA_OK;
}

static int by_name(const void *x, const void *y) { return strcmp(*(char *const *)x, *(char *const *)y); }

/* The kinds of all events, to the end of the machine. */
static capsa_status events_of(struct answer *a) {
    const char *seen[COUNT(events)];
    size_t n = 0, len = 0;
    char all[256] = "";

    for (;;) {
        capsa_event event = CAPSA_EVENT_INIT;
        capsa_status status = capsa_vm_next_event(thing("of", EVENTS)->handle, -1, NULL, &event, NULL, &a->error);
        if (status == CAPSA_E_CLOSED) break;
        if (status != CAPSA_OK) return status;
        size_t i = 0;
        while (i < n && seen[i] != events[event.type]) i++;
        if (i == n) seen[n++] = events[event.type];
    }
    capsa_error_free(a->error);
    a->error = NULL;
    qsort(seen, n, sizeof *seen, by_name);
    for (size_t i = 0; i < n; i++) len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", i ? " " : "", seen[i]);
    say(a, "%s", all);
    return CAPSA_OK;
}

static capsa_status policy(struct answer *a) {
    const char *rules = given("json");
    return capsa_vm_set_policy_json(vm(), rules, rules ? strlen(rules) : 0, &a->error);
}

static capsa_status link_up(struct answer *a) { return capsa_vm_set_link(vm(), (int)number("up"), &a->error); }

const struct word machine_words[] = {
    {"clear", clear},
    {"version", version},
    {"has", has},
    {"set", set},
    {"json", json},
    {"build", build},
    {"from_json", from_json},
    {"start", start},
    {"kill", kill_now},
    {"pause", pause_it},
    {"resume", resume},
    {"close", close_it},
    {"state", state},
    {"wait", wait_end},
    {"stop", stop},
    {"many", many},
    {"states", calls},
    {"churn", churn},
    {"cancelled", cancelled},
    {"stats", stats},
    {"boot_log", boot_log},
    {"events", events_of},
    {"policy", policy},
    {"watch", watch},
    {"link", link_up},
    {NULL, NULL},
};
