/* copies.c - the library loaded by hand: dlclose leaves it in place, a second copy lives beside the first. */
#include "abi.h"

#include <dlfcn.h>
#include <sys/auxv.h>

typedef capsa_status new_fn(capsa_builder **, capsa_error **);
typedef capsa_status set_fn(capsa_builder *, uint32_t, capsa_error **);
typedef void free_fn(capsa_builder *);
typedef void error_free_fn(capsa_error *);

struct library {
    void *handle;
    new_fn *builder_new;
    set_fn *set_cpus;
    free_fn *builder_free;
    error_free_fn *error_free;
};

static struct library load(const char *path) {
    struct library l = {.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};

    if (!l.handle) die(__FILE__, __LINE__, path, dlerror());
    /* POSIX lets a data pointer carry a function (dlsym). */
    *(void **)&l.builder_new = dlsym(l.handle, "capsa_builder_new");
    *(void **)&l.set_cpus = dlsym(l.handle, "capsa_builder_set_cpus");
    *(void **)&l.builder_free = dlsym(l.handle, "capsa_builder_free");
    *(void **)&l.error_free = dlsym(l.handle, "capsa_error_free");
    CHECK(l.builder_new && l.set_cpus && l.builder_free && l.error_free);
    return l;
}

/* Both copies find the same random bytes in the process, as they may when threads load them at once: the Go runtime
 * starts its generator from them and then overwrites them. */
static void load_alike(struct library libs[2], const char *first, const char *second) {
    unsigned char before[16], *random = (void *)getauxval(AT_RANDOM); /* 16 bytes: getauxval(3) */
    capsa_builder *b = NULL;

    CHECK(random);
    memcpy(before, random, sizeof before);
    libs[0] = load(first);
    CHECK(libs[0].builder_new(&b, NULL) == CAPSA_OK); /* the runtime has started when this returns */
    libs[0].builder_free(b);
    memcpy(random, before, sizeof before);
    libs[1] = load(second);
}

/* Handles of one copy mean nothing to the other. */
static void *work(void *arg) {
    struct library *libs = arg;

    for (int i = 0; i < 2000; i++) {
        struct library *a = &libs[i % 2], *b = &libs[(i + 1) % 2];
        capsa_builder *x = NULL;
        capsa_error *err = NULL;
        CHECK(a->builder_new(&x, NULL) == CAPSA_OK);
        CHECK(a->set_cpus(x, 2, NULL) == CAPSA_OK);
        CHECK(b->set_cpus(x, 2, &err) == CAPSA_E_HANDLE);
        a->error_free(err); /* of the other copy: nothing happens */
        b->error_free(err);
        a->builder_free(x);
    }
    return NULL;
}

int main(void) {
    const char *first = getenv("CAPSA_TEST_LIBRARY"), *second = getenv("CAPSA_TEST_LIBRARY_COPY");
    pthread_t threads[4];

    CHECK(first && second);
    struct library libs[2];
    load_alike(libs, first, second);
    CHECK(libs[0].builder_new != libs[1].builder_new);
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, work, libs) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);

    CHECK(dlclose(libs[0].handle) == 0 && dlclose(libs[1].handle) == 0);
    work(libs);
    struct library again = load(first);
    CHECK(again.builder_new == libs[0].builder_new);
    return 0;
}
