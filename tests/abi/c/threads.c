/* threads.c - many threads on one handle, frees under their feet, cancelling, and a hundred thousand builders. */
#include "abi.h"

#define THREADS 64

static void together(void *(*fn)(void *), void *arg) {
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, fn, arg) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        CHECK(pthread_join(threads[i], &failed) == 0 && !failed);
    }
}

static void *use_builder(void *arg) {
    capsa_builder *shared = arg;

    for (int i = 0; i < 50; i++) {
        capsa_builder *own = NULL;
        char *json = NULL;
        OK(capsa_builder_set_cpus(shared, 1 + (uint32_t)i % 4, &e));
        OK(capsa_builder_clone(shared, &own, &e));
        OK(capsa_builder_to_json(own, &json, &e));
        CHECK(strstr(json, "\"cpus\":"));
        capsa_mem_free(json);
        FAILS(CAPSA_E_HANDLE, capsa_vm_kill((capsa_vm *)own, &e));
        capsa_builder_free(own);
    }
    return NULL;
}

static void *free_builder(void *arg) {
    capsa_builder_free(arg);
    capsa_status s = capsa_builder_set_cpus(arg, 1, &e);
    CHECK(s == CAPSA_E_HANDLE);
    capsa_error_free(e);
    return NULL;
}

static void builders(void) {
    capsa_builder *b = NULL, *c = NULL;

    OK(capsa_builder_new(&b, &e));
    together(use_builder, b);
    together(free_builder, b);
    for (int i = 0; i < 100000; i++) {
        OK(capsa_builder_new(&b, &e));
        if (i % 1000 == 0) OK(capsa_builder_clone(b, &c, &e)); /* some are never freed */
        capsa_builder_free(b);
    }
}

/* Waiting calls of every kind; each reports how it ended. */
struct waiter {
    capsa_vm *vm;
    capsa_console *console;
    capsa_cancel *cancel;
    int which;
    pthread_barrier_t *barrier;
    capsa_status status;
};

static void *wait_somehow(void *arg) {
    struct waiter *w = arg;
    capsa_pattern never[] = {CAPSA_LITERAL("never printed")};
    capsa_event event = CAPSA_EVENT_INIT;
    char buf[16];
    size_t n;

    pthread_barrier_wait(w->barrier);
    switch (w->which % 4) {
    case 0:
        w->status = capsa_vm_wait(w->vm, -1, w->cancel, NULL, NULL);
        break;
    case 1:
        w->status = capsa_console_read(w->console, -1, w->cancel, buf, sizeof buf, &n, NULL);
        break;
    case 2:
        w->status = capsa_console_expect(w->console, 3600000, w->cancel, never, 1, NULL, NULL, NULL);
        break;
    default:
        do w->status = capsa_vm_next_event(w->vm, -1, w->cancel, &event, NULL, NULL);
        while (w->status == CAPSA_OK);
    }
    return NULL;
}

/* Starts 16 waits, ends them with `end`, and checks how they ended. */
static void end_waits(void (*end)(struct waiter *), int use_cancel, capsa_status want) {
    struct waiter w[16];
    pthread_t threads[16];
    pthread_barrier_t barrier;
    capsa_cancel *cancel = NULL;
    capsa_console *console = NULL;
    capsa_vm *vm = start_guest("spin");

    OK(capsa_vm_console(vm, &console, &e));
    if (use_cancel) OK(capsa_cancel_new(&cancel, &e));
    pthread_barrier_init(&barrier, NULL, 17);
    for (int i = 0; i < 16; i++) {
        w[i] = (struct waiter){vm, console, cancel, i, &barrier, 99};
        CHECK(pthread_create(&threads[i], NULL, wait_somehow, &w[i]) == 0);
    }
    pthread_barrier_wait(&barrier);
    end(&w[0]);
    for (int i = 0; i < 16; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        /* A wait that came late finds its handle gone. */
        if (w[i].status != want && !(want == CAPSA_E_CLOSED && w[i].status == CAPSA_E_HANDLE)) {
            fprintf(stderr, "wait %d ended with %s, not %s\n", i, capsa_status_name(w[i].status),
                    capsa_status_name(want));
            exit(1);
        }
    }
    pthread_barrier_destroy(&barrier);
    capsa_cancel_free(cancel);
    capsa_console_free(console);
    capsa_vm_free(vm);
}

static void by_free(struct waiter *w) {
    capsa_console_free(w->console);
    capsa_vm_free(w->vm);
}

static void by_cancel(struct waiter *w) { OK(capsa_cancel_trigger(w->cancel, &e)); }

/* 64 threads start, kill, wait for and ask one machine. */
static void *use_vm(void *arg) {
    capsa_vm *vm = arg;
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;

    capsa_status s = capsa_vm_start(vm, -1, NULL, NULL);
    CHECK(s == CAPSA_OK || s == CAPSA_E_STATE);
    (void)state_of(vm);
    capsa_vm_pause(vm, NULL);
    capsa_vm_resume(vm, NULL);
    OK(capsa_vm_kill(vm, &e));
    OK(capsa_vm_wait(vm, -1, NULL, &info, &e));
    CHECK(info.cause == CAPSA_CAUSE_KILLED);
    return NULL;
}

static void triggered_before(void) {
    capsa_vm *vm = start_guest("spin");
    capsa_cancel *cancel = NULL;

    OK(capsa_cancel_new(&cancel, &e));
    OK(capsa_cancel_trigger(cancel, &e));
    FAILS(CAPSA_E_CANCELLED, capsa_vm_wait(vm, -1, cancel, NULL, &e));
    FAILS(CAPSA_E_CANCELLED, capsa_vm_stop(vm, -1, cancel, NULL, &e));
    CHECK(state_of(vm) == CAPSA_STATE_RUNNING);
    capsa_cancel_free(cancel);
    FAILS(CAPSA_E_HANDLE, capsa_vm_wait(vm, -1, cancel, NULL, &e));
    capsa_vm_free(vm);
}

int main(void) {
    builders();
    need_kvm();
    end_waits(by_free, 0, CAPSA_E_CLOSED);
    end_waits(by_cancel, 1, CAPSA_E_CANCELLED);
    triggered_before();
    capsa_vm *vm = build_guest("spin");
    together(use_vm, vm);
    capsa_vm_free(vm);
    return 0;
}
