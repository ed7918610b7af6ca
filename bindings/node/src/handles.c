/* handles.c - objects of JavaScript that own an object of the library. */
#include "addon.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct handle {
    addon *owner;
    kind kind;
    void *token; /* NULL: freed */
    handle *next, **link;
};

/* Random; an object with one of these tags was made here, by this version or one that is compatible. */
static const napi_type_tag tags[KIND_COUNT] = {
    [KIND_BUILDER] = {0x9d0c6b2f3a1e4f57, 0xb3a87e05c2d94611},
    [KIND_VM] = {0x5f2ad83b60b94c0d, 0x8e4f1726a9c35bd2},
    [KIND_CONSOLE] = {0x1be49a7dc03f4286, 0xa6d07f358e2b91c4},
    [KIND_CANCEL] = {0xc47e0519f8d24b3a, 0x97b15c6e0da3f284},
    [KIND_PACKET] = {0x72d8f3b6159e4ca0, 0x84c6e2a90b7d1f35},
    [KIND_EXEC] = {0x3ea7051c9bf2d864, 0xd15b8f6042c7e93a},
    [KIND_NETWORK] = {0xe1935cb7a02f4d68, 0x9a47d08e6c1bf352},
};
static const char *const names[KIND_COUNT] = {"a builder",       "a machine", "a console", "a cancel token",
                                              "a packet socket", "a program", "a network"};

/* Descriptors are kept as tokens that are never NULL. */
static void free_token(kind k, void *token) {
    switch (k) {
    case KIND_BUILDER:
        capsa_builder_free(token);
        break;
    case KIND_VM:
        capsa_vm_free(token);
        break;
    case KIND_CONSOLE:
        capsa_console_free(token);
        break;
    case KIND_CANCEL:
        capsa_cancel_free(token);
        break;
    case KIND_PACKET:
        if (token) close((int)(intptr_t)token - 1);
        break;
    case KIND_EXEC:
        capsa_exec_free(token);
        break;
    case KIND_NETWORK:
        capsa_network_free(token);
        break;
    case KIND_COUNT:
        break;
    }
}

static void unlink_handle(handle *h) {
    *h->link = h->next;
    if (h->next) h->next->link = h->link;
}

static void finalize(napi_env env, void *data, void *hint) {
    handle *h = data;

    (void)env, (void)hint;
    if (h->owner) unlink_handle(h);
    free_token(h->kind, h->token); /* what was closed is stale, and freeing it does nothing */
    free(h);
}

napi_value handle_new(napi_env env, kind k, void *token) {
    addon *a = addon_of(env);
    handle *h = calloc(1, sizeof *h);
    napi_value object = NULL;

    if (!h || napi_create_object(env, &object) != napi_ok || napi_type_tag_object(env, object, &tags[k]) != napi_ok ||
        napi_wrap(env, object, h, finalize, NULL, NULL) != napi_ok) {
        free(h);
        free_token(k, token);
        return throw_napi(env);
    }
    *h = (handle){.owner = a, .kind = k, .token = token, .next = a->handles, .link = &a->handles};
    if (h->next) h->next->link = &h->next;
    a->handles = h;
    return object;
}

void *handle_get(napi_env env, napi_value v, kind k) {
    napi_valuetype type = napi_undefined;
    bool tagged = false;
    void *data = NULL;

    if (napi_typeof(env, v, &type) != napi_ok || type != napi_object ||
        napi_check_object_type_tag(env, v, &tags[k], &tagged) != napi_ok || !tagged ||
        napi_unwrap(env, v, &data) != napi_ok) {
        char text[64];
        snprintf(text, sizeof text, "this is not %s", names[k]);
        napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
        return NULL;
    }
    void *token = ((handle *)data)->token;
    if (!token) {
        char text[64];
        snprintf(text, sizeof text, "%s that was closed", names[k]);
        napi_throw_error(env, "ERR_INVALID_STATE", text);
    }
    return token;
}

void handle_close(napi_env env, napi_value v, kind k) {
    void *data = NULL, *token = handle_get(env, v, k);

    if (!token || napi_unwrap(env, v, &data) != napi_ok) return;
    if (k == KIND_PACKET) ((handle *)data)->token = NULL; /* the number will be another file's */
    free_token(k, token);
}

void *handle_get_optional(napi_env env, napi_value v, kind k, bool *ok) {
    *ok = true;
    if (is_missing(env, v)) return NULL;
    void *token = handle_get(env, v, k);
    *ok = token != NULL;
    return token;
}

void handles_cancel_all(addon *a) {
    for (handle *h = a->handles; h; h = h->next)
        if (h->kind == KIND_CANCEL) capsa_cancel_trigger(h->token, NULL);
}

static void *free_vm(void *token) {
    capsa_vm_free(token);
    return NULL;
}

/* Each machine takes up to a second to end; all of them at once as well. */
static void free_machines(addon *a) {
    size_t n = 0, started = 0;

    for (handle *h = a->handles; h; h = h->next) n += h->kind == KIND_VM;
    pthread_t *threads = calloc(n ? n : 1, sizeof *threads);
    for (handle *h = a->handles; h; h = h->next) {
        if (h->kind != KIND_VM) continue;
        if (threads && pthread_create(&threads[started], NULL, free_vm, h->token) == 0)
            started++;
        else
            capsa_vm_free(h->token);
    }
    while (started) pthread_join(threads[--started], NULL);
    free(threads);
}

void handles_free_all(addon *a) {
    free_machines(a);
    for (handle *h = a->handles, *next; h; h = next) {
        next = h->next;
        free_token(h->kind, h->kind == KIND_VM ? NULL : h->token);
        h->token = NULL;
        h->owner = NULL;
    }
    a->handles = NULL;
}
