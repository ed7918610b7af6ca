/* stream.c - bytes through descriptors. */
#define _GNU_SOURCE
#include "stream.h"

#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void await_fd(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, (int)patience(60000));

    CHECK(n == 1, "poll for %#x: %d, %s", events, n, strerror(errno));
}

size_t get(int fd, void *buf, size_t size) {
    for (;;) {
        ssize_t n = read(fd, buf, size);
        if (n >= 0) return (size_t)n;
        CHECK(errno == EAGAIN, "read: %s", strerror(errno));
        await_fd(fd, POLLIN);
    }
}

void put(int fd, const void *data, size_t n) {
    for (const char *p = data; n;) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0) {
            CHECK(errno == EAGAIN, "write: %s", strerror(errno));
            await_fd(fd, POLLOUT);
            continue;
        }
        p += k;
        n -= (size_t)k;
    }
}

static void fill(uint8_t *p, size_t n) {
    uint32_t state = 1;

    for (size_t i = 0; i < n; i++) {
        state = state * 1103515245 + 12345;
        p[i] = (uint8_t)(state >> 24);
    }
}

uint32_t hash_of(const uint8_t *p, size_t n) {
    uint32_t hash = 2166136261;

    for (size_t i = 0; i < n; i++) hash = (hash ^ p[i]) * 16777619;
    return hash;
}

uint8_t *pattern(size_t n) {
    uint8_t *p = malloc(n);

    CHECK(p, "no memory");
    fill(p, n);
    return p;
}

void expect_bytes(int fd, const uint8_t *want, size_t n) {
    uint8_t *got = malloc(n + 1);
    size_t all = 0, k;

    CHECK(got, "no memory");
    while ((k = get(fd, got + all, n + 1 - all)) > 0) all += k;
    CHECK(all == n, "%zu bytes came, want %zu", all, n);
    CHECK(!memcmp(got, want, n), "other bytes came");
    free(got);
}

typedef struct sending {
    int fd;
    const uint8_t *data;
    size_t n;
} sending;

/* Sends the bytes and then the end. */
static void *send_all(void *p) {
    sending *s = p;

    put(s->fd, s->data, s->n);
    CHECK(shutdown(s->fd, SHUT_WR) == 0, "shutdown: %s", strerror(errno));
    return NULL;
}

void echo_through(int fd, size_t n) {
    uint8_t *data = pattern(n);
    sending s = {fd, data, n};
    pthread_t sender;

    CHECK(pthread_create(&sender, NULL, send_all, &s) == 0, "pthread_create");
    expect_bytes(fd, data, n);
    pthread_join(sender, NULL);
    free(data);
}

int accept_one(int listener) {
    await_fd(listener, POLLIN);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(fd >= 0, "accept: %s", strerror(errno));
    return fd;
}

int dial_path(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "%s: %s", path, strerror(errno));
    return fd;
}
