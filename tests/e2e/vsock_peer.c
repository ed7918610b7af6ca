/* vsock_peer.c - many bytes and many connections with a guest's program on github.com/mdlayher/vsock
 * (guest/cmd/vsockpeer), which the guest has from a share. */
#define _GNU_SOURCE
#include "host.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A guest with sockets and with the programs of build/e2e/guest at /peer; *listener: port 9 of the host. */
static guest boot_peer(int *listener, int backlog) {
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;
    capsa_builder *b = builder_for(ours);

    o.flags = CAPSA_SHARE_READ_ONLY;
    OK(capsa_builder_set_vsock(b, 1, &err));
    OK(capsa_builder_add_share(b, "peer", image("../e2e/guest"), &o, &err));
    guest g = boot(b);
    must(&g, "mkdir /peer && mount -t virtiofs peer /peer");
    OK(capsa_vm_vsock_listen(g.vm, 9, 0, backlog, listener, &err));
    return g;
}

/* ---- Many bytes ---------------------------------------------------------------------------------------------- */

/* After so many bytes the pattern of both sides begins again; a prime, so that what is lost, doubled or moved shows. */
enum { period = 65521 };

typedef struct direction {
    int fd;
    const uint8_t *pattern; /* two periods */
    uint64_t bytes;
} direction;

static void *send_all(void *p) {
    direction *d = p;

    for (uint64_t at = 0; at < d->bytes;) {
        uint64_t n = d->bytes - at < period ? d->bytes - at : period;
        put(d->fd, d->pattern + at % period, n);
        at += n;
    }
    CHECK(shutdown(d->fd, SHUT_WR) == 0, "shutdown: %s", strerror(errno));
    return NULL;
}

/* Reads to the end, the first quarter of a megabyte in small pieces with rests in between. */
static uint64_t read_all(direction *d) {
    static uint8_t buf[period];
    uint64_t at = 0;

    for (;;) {
        int slow = at < MIB / 4;
        if (slow) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        size_t n = get(d->fd, buf, slow ? 1000 : sizeof buf);
        const uint8_t *want = d->pattern + at % period;
        CHECK(!memcmp(buf, want, n), "other bytes than the guest's after %llu", (unsigned long long)at);
        at += n;
        if (!n) return at;
    }
}

/* As many bytes each way at once, each compared, with slow readers on both sides at first; each half closes by itself. */
TEST(vsock, exchange, 120) {
    const uint64_t bytes = emulated() ? 128 * MIB : 1024ull * MIB;
    int listener = -1;
    guest g = boot_peer(&listener, 8);
    uint8_t *twice = malloc(2 * period), *once = pattern(period);
    char text[128];
    pthread_t sender;

    CHECK(twice, "no memory");
    memcpy(twice, once, period);
    memcpy(twice + period, once, period);
    snprintf(text, sizeof text, "/peer/vsockpeer exchange 9 %llu", (unsigned long long)bytes);
    type(&g, text);
    double begin = now();
    direction d = {accept_one(listener), twice, bytes};
    CHECK(pthread_create(&sender, NULL, send_all, &d) == 0, "pthread_create");
    uint64_t got = read_all(&d);
    pthread_join(sender, NULL);
    CHECK_INT(got, bytes);
    snprintf(text, sizeof text, "%llu bytes sent, %llu bytes as expected", (unsigned long long)bytes,
             (unsigned long long)bytes);
    await_text(&g, text);
    printf("  %llu MiB each way in %.1f s\n", (unsigned long long)(bytes >> 20), now() - begin);
    close(d.fd);
    close(listener);
    free(once);
    free(twice);
    discard(&g);
}

/* ---- Many connections ---------------------------------------------------------------------------------------- */

enum { many = 1000 };

/* Sends back what comes on all of them, until all have ended. */
static void echo_all(struct pollfd *p) {
    static uint8_t buf[64 << 10];

    for (int left = many; left;) {
        CHECK(poll(p, many, (int)patience(60000)) > 0, "%d connections of the guest stand still", left);
        for (int i = 0; i < many; i++) {
            if (!p[i].revents) continue;
            ssize_t n = read(p[i].fd, buf, sizeof buf);
            CHECK(n >= 0, "read: %s", strerror(errno));
            put(p[i].fd, buf, (size_t)n);
            if (n) continue;
            close(p[i].fd);
            p[i].fd = -1; /* poll passes over it */
            left--;
        }
    }
}

/* So many connections of one port are open at once; 67 of them are busy. */
TEST(vsock, a_thousand, 120) {
    static struct pollfd p[many];
    struct rlimit limit;
    int listener = -1;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max > 3 * many, "%llu descriptors",
          (unsigned long long)limit.rlim_max);
    guest g = boot_peer(&listener, 128);
    type(&g, "/peer/vsockpeer many 9 1000");
    for (int i = 0; i < many; i++) p[i] = (struct pollfd){.fd = accept_one(listener), .events = POLLIN};
    await_text(&g, "all are open");
    char *json = NULL;
    OK(capsa_vm_stats_json(g.vm, &json, &err));
    CHECK(strstr(json, "\"connections\":1000"), "not all are counted: %s", json);
    capsa_mem_free(json);
    put(p[0].fd, "!", 1); /* the word to begin */
    echo_all(p);
    await_text(&g, "1000 connections were used");
    close(listener);
    discard(&g);
}
