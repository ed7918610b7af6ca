/* vsock.c - sockets between guest and host; the guest's end is its tool "vsock" (guest/init/vsock.c). */
#define _GNU_SOURCE
#include "host.h"
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_path(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0, "%s: %s", path,
          strerror(errno));
    return fd;
}

/* ---- Guests ------------------------------------------------------------------------------------------------- */

static capsa_builder *machine(kind k) {
    capsa_builder *b = builder_for(k);

    OK(capsa_builder_set_vsock(b, 1, &err));
    return b;
}

static int dial(guest *g, uint32_t port, uint32_t flags) {
    int fd = -1;

    OK(capsa_vm_vsock_connect(g->vm, port, flags, patience(30000), NULL, &fd, &err));
    return fd;
}

static int listen_at(guest *g, uint32_t port) {
    int fd = -1;

    OK(capsa_vm_vsock_listen(g->vm, port, 0, 8, &fd, &err));
    return fd;
}

/* The guest echoes at the port, in the background. */
static void serve(guest *g, uint32_t port, const char *of_type) {
    char line[64];

    snprintf(line, sizeof line, "vsock echo %u %s &", port, of_type);
    type(g, line);
    await_text(g, "listening");
}

static uint64_t connections(guest *g) {
    uint64_t n = 0;
    char *json = NULL;

    OK(capsa_vm_stats_json(g->vm, &json, &err));
    char *at = strstr(json, "\"connections\":");
    CHECK(at, "no sockets in %s", json);
    n = strtoull(at + strlen("\"connections\":"), NULL, 10);
    capsa_mem_free(json);
    return n;
}

/* What the host does for a connection of the guest: takes all it sends, to the end, and then sends as much. */
typedef struct answer {
    int listener;
    size_t n;
} answer;

static void *answer_one(void *p) {
    answer *a = p;
    int fd = accept_one(a->listener);
    uint8_t *data = pattern(a->n);

    expect_bytes(fd, data, a->n);
    put(fd, data, a->n);
    close(fd);
    free(data);
    return NULL;
}

/* The guest sends and reads back that much, through the port of the host. */
static void guest_sends(guest *g, int listener, uint32_t port, size_t n) {
    char command[64], want[64];
    const char *text;
    uint8_t *data = pattern(n);
    answer a = {listener, n};
    pthread_t host_side;

    CHECK(pthread_create(&host_side, NULL, answer_one, &a) == 0, "pthread_create");
    snprintf(command, sizeof command, "vsock send 2 %u %zu", port, n);
    CHECK_INT(run(g, command, &text), 0);
    snprintf(want, sizeof want, "%zu bytes %08x", n, hash_of(data, n));
    CHECK_TEXT(text, want);
    pthread_join(host_side, NULL);
    free(data);
}

/* ---- Connections of the host -------------------------------------------------------------------------------- */

static void host_to_guest(kind k) {
    guest g = boot(machine(k));

    serve(&g, 7, "");
    int fd = dial(&g, 7, 0);
    echo_through(fd, MIB);
    close(fd);
    fd = dial(&g, 7, 0); /* and once more, across a pause */
    put(fd, "before", 6);
    OK(capsa_vm_pause(g.vm, &err));
    put(fd, "during", 6);
    OK(capsa_vm_resume(g.vm, &err));
    CHECK(shutdown(fd, SHUT_WR) == 0, "shutdown");
    expect_bytes(fd, (const uint8_t *)"beforeduring", 12);
    close(fd);
    discard(&g);
}

TEST(vsock, host_to_guest, 90) { host_to_guest(ours); }

TEST(vsock, host_to_guest_stock, 120) { host_to_guest(stock); }

TEST(vsock, messages, 60) {
    static const size_t sizes[] = {1, 4096, 7, 60000};
    static uint8_t got[64 << 10];
    guest g = boot(machine(ours));
    uint8_t *data = pattern(sizeof got);

    serve(&g, 7, "seqpacket");
    int fd = dial(&g, 7, CAPSA_VSOCK_SEQPACKET);
    for (int i = 0; i < 4; i++) put(fd, data, sizes[i]);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(get(fd, got, sizeof got), sizes[i]);
        CHECK(!memcmp(got, data, sizes[i]), "message %d has other bytes", i);
    }
    CHECK(shutdown(fd, SHUT_WR) == 0, "shutdown");
    CHECK_INT(get(fd, got, sizeof got), 0);
    close(fd);
    free(data);
    /* The types do not meet. */
    REFUSED(capsa_vm_vsock_connect(g.vm, 7, 0, patience(30000), NULL, &fd, &err), CAPSA_E_IO, "port 7");
    discard(&g);
}

TEST(vsock, many_at_once, 90) {
    enum { many = 64 };
    guest g = boot(machine(ours));
    int fds[many];
    uint8_t byte;

    serve(&g, 7, "");
    for (int i = 0; i < many; i++) fds[i] = dial(&g, 7, 0);
    CHECK_INT(connections(&g), many);
    for (int i = 0; i < many; i++) put(fds[i], &(uint8_t){(uint8_t)i}, 1);
    for (int i = many - 1; i >= 0; i--) {
        CHECK_INT(get(fds[i], &byte, 1), 1);
        CHECK_INT(byte, i);
        close(fds[i]);
    }
    discard(&g);
}

/* ---- Connections of the guest ------------------------------------------------------------------------------- */

TEST(vsock, guest_to_host, 90) {
    guest g = boot(machine(ours));
    int listener = listen_at(&g, 9), unwanted = -1;
    const char *text;

    CHECK(run_number(&g, "vsock cid") >= 3, "the guest's address");
    guest_sends(&g, listener, 9, MIB);
    guest_sends(&g, listener, 9, 0);
    REFUSED(capsa_vm_vsock_listen(g.vm, 9, 0, 1, &unwanted, &err), CAPSA_E_EXISTS, "9");
    OK(capsa_vm_vsock_unlisten(g.vm, 9, &err));
    CHECK_INT(run(&g, "vsock send 2 9 1", &text), 1);
    close(listener);
    listener = listen_at(&g, 9);
    guest_sends(&g, listener, 9, 10);
    close(listener); /* nobody takes connections any more */
    CHECK_INT(run(&g, "vsock send 2 9 1", &text), 1);
    discard(&g);
}

/* ---- Paths -------------------------------------------------------------------------------------------------- */

TEST(vsock, paths, 90) {
    capsa_builder *b = builder_for(ours);
    const char *in = scratch_file("in"), *out = scratch_file("out");
    const char *text;
    struct stat st;

    OK(capsa_builder_vsock_listen(b, 7, in, 0, &err));
    OK(capsa_builder_vsock_connect(b, 9, out, 0, &err));
    guest g = boot(b);
    CHECK_INT(run(&g, "vsock send 2 9 1", &text), 1); /* nobody is there yet */
    int listener = listen_path(out);
    guest_sends(&g, listener, 9, 100000);
    serve(&g, 7, "");
    int fd = dial_path(in);
    echo_through(fd, 100000);
    close(fd);
    discard(&g);
    CHECK(lstat(in, &st) < 0 && errno == ENOENT, "%s is still there", in);
    CHECK(lstat(out, &st) == 0, "%s is the caller's", out);
    close(listener);
}

/* ---- Ends --------------------------------------------------------------------------------------------------- */

TEST(vsock, nobody_there, 60) {
    guest g = boot(machine(ours));
    int fd = -1;

    CHECK(capsa_vm_vsock_connect(g.vm, 7, 0, patience(30000), NULL, &fd, &err) == CAPSA_E_IO && fd == -1, "%s",
          capsa_error_message(err));
    CHECK_INT(capsa_error_os_errno(err), ECONNREFUSED);
    capsa_error_free(err);
    err = NULL;
    discard(&g);
}

/* A client that comes before the guest's driver is served when that is up. */
TEST(vsock, before_the_driver, 60) {
    guest g = start(machine(ours));
    int fd = -1;

    CHECK(capsa_vm_vsock_connect(g.vm, 7, 0, patience(60000), NULL, &fd, &err) == CAPSA_E_IO, "%s",
          capsa_error_message(err)); /* it is up, and says that nobody listens */
    capsa_error_free(err);
    err = NULL;
    discard(&g);
}

/* What the guest has sent is there, and then the end. */
static void end_of_guest(const char *how, uint32_t cause) {
    guest g = boot(machine(ours));
    int listener = listen_at(&g, 9), status = -1;
    static uint8_t got[64];

    serve(&g, 7, "");
    int held = dial(&g, 7, 0);
    type(&g, "vsock send 2 9 40 &");
    int fd = accept_one(listener);
    await_fd(fd, POLLIN);
    type(&g, how);
    ended(&g, cause);
    uint8_t *data = pattern(40);
    expect_bytes(fd, data, 40);
    CHECK_INT(get(held, got, sizeof got), 0);
    REFUSED(capsa_vm_vsock_connect(g.vm, 7, 0, 0, NULL, &status, &err), CAPSA_E_STATE, NULL);
    free(data);
    close(fd);
    close(held);
    close(listener);
    discard(&g);
}

TEST(vsock, power_off, 60) { end_of_guest("poweroff", CAPSA_CAUSE_GUEST_SHUTDOWN); }

TEST(vsock, triple_fault, 60) { end_of_guest("triplefault", CAPSA_CAUSE_TRIPLE_FAULT); }
