/* web.c - ports of the host, and a web server there. */
#define _GNU_SOURCE
#include "web.h"

#include "harness.h"
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int listen_at(uint32_t address, unsigned *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 64) == 0 &&
              getsockname(fd, (struct sockaddr *)&at, &len) == 0,
          "%s", strerror(errno));
    *port = ntohs(at.sin_port);
    return fd;
}

int listen_tcp(unsigned *port) { return listen_at(INADDR_LOOPBACK, port); }

int dial_port(unsigned port, int type) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "port %u: %s", port, strerror(errno));
    return fd;
}

/* Reads the head of a request, byte by byte; 0 if the client went away. */
static int read_head(int fd, char *head, size_t size) {
    size_t n = 0;

    while (n + 1 < size) {
        if (read(fd, head + n, 1) != 1) return 0;
        head[++n] = 0;
        if (n >= 4 && !strcmp(head + n - 4, "\r\n\r\n")) return 1;
    }
    return 0;
}

/* Takes bytes to the end, and answers what they were. */
static void take(int fd) {
    size_t n = 0, room = MIB;
    uint8_t *got = malloc(room);
    ssize_t k;

    CHECK(got, "no memory");
    while ((k = read(fd, got + n, room - n)) > 0) {
        n += (size_t)k;
        if (n < room) continue;
        CHECK(got = realloc(got, room *= 2), "no memory");
    }
    char text[64];
    snprintf(text, sizeof text, "%zu bytes %08x\n", n, hash_of(got, n));
    free(got);
    if (k == 0) put(fd, text, strlen(text));
}

/* Answers a request; a client may be cut off by the policy meanwhile. */
static void answer(const web *w, int fd) {
    char text[4096];

    if (!read_head(fd, text, sizeof text)) return;
    snprintf(text, sizeof text, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n", w->n);
    put(fd, text, strlen(text));
    for (size_t done = 0; done < w->n;) {
        ssize_t k = send(fd, w->data + done, w->n - done, MSG_NOSIGNAL);
        if (k <= 0) return;
        done += (size_t)k;
    }
}

static void *serve_web(void *p) {
    web *w = p;

    for (;;) {
        int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) return NULL; /* shut down */
        if (w->data)
            answer(w, fd);
        else
            take(fd);
        close(fd);
    }
}

void start_web_at(uint32_t address, web *w, const void *data, size_t n) {
    w->data = data;
    w->n = n;
    w->listener = listen_at(address, &w->port);
    CHECK(pthread_create(&w->thread, NULL, serve_web, w) == 0, "pthread_create");
}

void start_web(web *w, const void *data, size_t n) { start_web_at(INADDR_LOOPBACK, w, data, n); }

void stop_web(web *w) {
    shutdown(w->listener, SHUT_RDWR);
    pthread_join(w->thread, NULL);
    close(w->listener);
}
