/*
 * objects.c - error objects and outputs: immutable bytes that live in C, so that they can be read and freed after
 * fork() and without entering Go. Their handles are tokens like all others, looked up in a table here.
 */
#include "shim.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What an object holds. */
struct object {
    capsa_status code;
    int32_t os_errno;
    const char *message, *hint, *component, *detail; /* errors; point into text */
    const char *data;                                /* output, or the console's tail; points into text */
    size_t len;                                      /* of data */
    uint64_t missing;                                /* outputs */
    char text[];
};

/* A place in the table. A free one keeps the generation that its next object gets. */
struct slot {
    struct object *object;
    uint32_t generation;
    uint32_t next_free; /* index + 1 of the next free slot, 0: none */
    uint8_t kind;
};

#define MAX_SLOTS 0xfffff0u /* indices have 24 bits; the highest are the static objects' */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slots;  /* guarded by mutex, as all below */
static uint32_t used, room; /* slots in use or free, slots allocated */
static uint32_t first_free; /* index + 1, 0: none */

/* Two errors that exist without memory and locks. */
static const struct object forked_error = {
    .code = CAPSA_E_FORKED,
    .message = "libcapsa cannot be used in a child of fork()",
    .hint = "use fork and exec, posix_spawn, or multiprocessing's spawn or forkserver",
    .component = "",
    .detail = "{}",
    .data = "",
    .len = 0};
static const struct object memory_error = {.code = CAPSA_E_NO_MEMORY,
                                           .message = "out of memory",
                                           .hint = "",
                                           .component = "",
                                           .detail = "{}",
                                           .data = "",
                                           .len = 0};
#define FORKED_INDEX 0xffffffu
#define MEMORY_INDEX 0xfffffeu

static uintptr_t make_token(uint32_t kind, uint32_t generation, uint32_t index) {
    return (uintptr_t)kind << 56 | (uintptr_t)generation << 24 | (index + 1);
}

/* A fork takes the table in a whole state into the child, which may go on reading and freeing. */
static void before_fork(void) { pthread_mutex_lock(&mutex); }
static void after_fork(void) { pthread_mutex_unlock(&mutex); }

__attribute__((constructor)) static void watch_fork(void) { pthread_atfork(before_fork, after_fork, after_fork); }

/* First generation of a slot. It differs between two copies of the library in one process, so that one does not take
 * the handles of the other. */
static uint32_t seed(void) { return (uint32_t)((uintptr_t)&mutex >> 4) | 1; }

/* Gives the object a token, or frees it and returns 0. */
static uintptr_t insert(uint8_t kind, struct object *object) {
    uintptr_t token = 0;

    pthread_mutex_lock(&mutex);
    if (!first_free && used == room && room < MAX_SLOTS) {
        uint32_t want = room ? room * 2 : 16;
        if (want > MAX_SLOTS) want = MAX_SLOTS;
        struct slot *grown = realloc(slots, want * sizeof *slots);
        if (grown) {
            slots = grown;
            room = want;
        }
    }
    uint32_t index = UINT32_MAX;
    if (first_free) {
        index = first_free - 1;
        first_free = slots[index].next_free;
    } else if (used < room) {
        index = used++;
        slots[index].generation = seed();
    }
    if (index != UINT32_MAX) {
        slots[index].object = object;
        slots[index].kind = kind;
        token = make_token(kind, slots[index].generation, index);
    }
    pthread_mutex_unlock(&mutex);
    if (!token) free(object);
    return token;
}

/* The slot of a live token, or NULL. Call with the mutex held. */
static struct slot *find(uint8_t kind, uintptr_t token) {
    uint32_t index = (uint32_t)(token & 0xffffff) - 1;

    if (token >> 56 != kind || index >= used) return NULL;
    struct slot *s = &slots[index];
    if (!s->object || s->kind != kind || s->generation != (uint32_t)(token >> 24)) return NULL;
    return s;
}

static const struct object *get(uint8_t kind, const void *handle) {
    uintptr_t token = (uintptr_t)handle;

    if (token == make_token(PRIV_KIND_ERROR, 0, FORKED_INDEX - 1) && kind == PRIV_KIND_ERROR) return &forked_error;
    if (token == make_token(PRIV_KIND_ERROR, 0, MEMORY_INDEX - 1) && kind == PRIV_KIND_ERROR) return &memory_error;
    pthread_mutex_lock(&mutex);
    struct slot *s = find(kind, token);
    const struct object *object = s ? s->object : NULL;
    pthread_mutex_unlock(&mutex);
    return object;
}

static void release(uint8_t kind, void *handle) {
    struct object *object = NULL;

    if (!handle) return;
    pthread_mutex_lock(&mutex);
    struct slot *s = find(kind, (uintptr_t)handle);
    if (s) {
        object = s->object;
        s->object = NULL;
        if (++s->generation != seed()) { /* a slot whose generations are used up stays empty for ever */
            s->next_free = first_free;
            first_free = (uint32_t)(s - slots) + 1;
        }
    }
    pthread_mutex_unlock(&mutex);
    free(object);
}

capsa_status shim_fail_forked(capsa_error **err) {
    if (err) *err = (capsa_error *)make_token(PRIV_KIND_ERROR, 0, FORKED_INDEX - 1);
    return CAPSA_E_FORKED;
}

/* Takes the next zero-terminated text out of [*p, end). */
static const char *next_text(const char **p, const char *end) {
    const char *text = *p, *zero = text < end ? memchr(text, 0, (size_t)(end - text)) : NULL;

    if (!zero) return "";
    *p = zero + 1;
    return text;
}

capsa_status priv_fail(priv_call *call, capsa_status code, int32_t os_errno, const char *text, size_t size) {
    if (!call->err) return code;
    struct object *o = malloc(sizeof *o + size + 1);
    uintptr_t token = 0;
    if (o) {
        memcpy(o->text, text, size);
        o->text[size] = 0;
        const char *p = o->text, *end = o->text + size;
        o->code = code;
        o->os_errno = os_errno;
        o->message = next_text(&p, end);
        o->hint = next_text(&p, end);
        o->component = next_text(&p, end);
        o->detail = next_text(&p, end);
        if (!*o->detail) o->detail = "{}";
        o->data = p;
        o->len = (size_t)(end - p);
        token = insert(PRIV_KIND_ERROR, o);
    }
    if (!token) token = make_token(PRIV_KIND_ERROR, 0, MEMORY_INDEX - 1);
    *call->err = (capsa_error *)token;
    return code;
}

uintptr_t priv_output_new(const char *data, size_t size, uint64_t missing) {
    struct object *o = malloc(sizeof *o + size + 1);

    if (!o) return 0;
    memset(o, 0, sizeof *o);
    if (size) memcpy(o->text, data, size);
    o->text[size] = 0;
    o->data = o->text;
    o->len = size;
    o->missing = missing;
    return insert(PRIV_KIND_OUTPUT, o);
}

char *priv_text_new(const char *data, size_t size) {
    char *text = malloc(size + 1);

    if (!text) return NULL;
    if (size) memcpy(text, data, size);
    text[size] = 0;
    return text;
}

capsa_status capsa_error_code(const capsa_error *error) {
    const struct object *o = get(PRIV_KIND_ERROR, error);
    return o ? o->code : CAPSA_OK;
}

const char *capsa_error_message(const capsa_error *error) {
    const struct object *o = get(PRIV_KIND_ERROR, error);
    return o ? o->message : "";
}

const char *capsa_error_hint(const capsa_error *error) {
    const struct object *o = get(PRIV_KIND_ERROR, error);
    return o ? o->hint : "";
}

const char *capsa_error_component(const capsa_error *error) {
    const struct object *o = get(PRIV_KIND_ERROR, error);
    return o ? o->component : "";
}

int32_t capsa_error_os_errno(const capsa_error *error) {
    const struct object *o = get(PRIV_KIND_ERROR, error);
    return o ? o->os_errno : 0;
}

const char *capsa_error_detail_json(const capsa_error *error) {
    const struct object *o = get(PRIV_KIND_ERROR, error);
    return o ? o->detail : "";
}

const char *capsa_error_console_tail(const capsa_error *error, size_t *len) {
    const struct object *o = get(PRIV_KIND_ERROR, error);
    if (len) *len = o ? o->len : 0;
    return o ? o->data : "";
}

void capsa_error_free(capsa_error *error) { release(PRIV_KIND_ERROR, error); }

const char *capsa_output_data(const capsa_output *output, size_t *len) {
    const struct object *o = get(PRIV_KIND_OUTPUT, output);
    if (len) *len = o ? o->len : 0;
    return o ? o->data : "";
}

uint64_t capsa_output_missing(const capsa_output *output) {
    const struct object *o = get(PRIV_KIND_OUTPUT, output);
    return o ? o->missing : 0;
}

void capsa_output_free(capsa_output *output) { release(PRIV_KIND_OUTPUT, output); }
