/* talk.c - words of the interpreter about consoles, sockets and forwarded ports. */
#define _POSIX_C_SOURCE 200809L
#include "words.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static capsa_console *console(void) { return thing("of", CONSOLE)->handle; }

static void must(int right, const char *what) {
    if (right) return;
    perror(what);
    exit(2);
}

static capsa_status open_console(struct answer *a) {
    capsa_console *made = NULL;
    capsa_status status = capsa_vm_console(thing("vm", VM)->handle, &made, &a->error);
    if (status == CAPSA_OK) make("as", CONSOLE)->handle = made;
    return status;
}

static capsa_status expect(struct answer *a) {
    capsa_pattern patterns[2];
    size_t n = 0;
    capsa_match match = CAPSA_MATCH_INIT;
    capsa_output *output = NULL;

    if (given("literal"))
        patterns[n++] =
            (capsa_pattern){sizeof *patterns, CAPSA_PATTERN_LITERAL, text("literal"), strlen(text("literal"))};
    if (given("regex"))
        patterns[n++] = (capsa_pattern){sizeof *patterns, CAPSA_PATTERN_REGEX, text("regex"), strlen(text("regex"))};
    capsa_status status = capsa_console_expect(console(), number("ms"), NULL, patterns, n, &match, &output, &a->error);
    if (status == CAPSA_OK) say_output(a, match.pattern ? "1 " : "0 ", output, match.start);
    return status;
}

static capsa_status run(struct answer *a) {
    int32_t exit_status = 0;
    capsa_output *output = NULL;
    char prefix[16];
    capsa_status status =
        capsa_console_run(console(), number("ms"), NULL, text("command"), &exit_status, &output, &a->error);

    if (status != CAPSA_OK) return status;
    snprintf(prefix, sizeof prefix, "%d ", exit_status);
    say_output(a, prefix, output, 0);
    return CAPSA_OK;
}

static capsa_status type(struct answer *a) {
    size_t written = 0;
    return capsa_console_write(console(), -1, NULL, text("text"), strlen(text("text")), &written, &a->error);
}

static capsa_status interrupt(struct answer *a) { return capsa_console_interrupt(console(), -1, NULL, &a->error); }
static capsa_status eof(struct answer *a) { return capsa_console_eof(console(), -1, NULL, &a->error); }

static capsa_status resize(struct answer *a) {
    return capsa_console_resize(console(), (uint16_t)number("columns"), (uint16_t)number("rows"), &a->error);
}

static capsa_status read_all(struct answer *a) {
    char *all = malloc(1);
    size_t len = 0, got = 0;

    do {
        all = realloc(all, len + 4097);
        capsa_status status = capsa_console_read(console(), -1, NULL, all + len, 4096, &got, &a->error);
        if (status != CAPSA_OK) {
            free(all);
            return status;
        }
        len += got;
    } while (got);
    all[len] = '\0';
    a->text = all;
    return CAPSA_OK;
}

/* Reads a console from its beginning to its end, so many times, and counts the bytes. */
static capsa_status drain(struct answer *a) {
    static char piece[65536];
    capsa_vm *vm = thing("vm", VM)->handle;
    size_t size = 0;

    for (int64_t n = number("count"); n > 0; n--) {
        capsa_console *opened = NULL;
        capsa_status status = capsa_vm_console(vm, &opened, &a->error);
        for (size_t got = 1; status == CAPSA_OK && got; size += got)
            status = capsa_console_read(opened, -1, NULL, piece, sizeof piece, &got, &a->error);
        capsa_console_free(opened);
        if (status != CAPSA_OK) return status;
    }
    say(a, "%zu", size);
    return CAPSA_OK;
}

/* Types to a guest that echoes, and waits for the echo. */
static capsa_status ping(struct answer *a) {
    capsa_pattern pattern = CAPSA_LITERAL("ping");
    capsa_status status = CAPSA_OK;
    size_t written;

    for (int64_t n = number("count"); n > 0 && status == CAPSA_OK; n--) {
        status = capsa_console_write(console(), -1, NULL, "ping", 4, &written, &a->error);
        if (status == CAPSA_OK) status = capsa_console_expect(console(), -1, NULL, &pattern, 1, NULL, NULL, &a->error);
    }
    return status;
}

/* The interpreter's own reads and writes block. */
static int blocking(int fd) {
    must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0, "fcntl");
    return fd;
}

static capsa_status dial(struct answer *a) {
    int fd = -1;
    capsa_status status = capsa_vm_vsock_connect(thing("vm", VM)->handle, (uint32_t)number("port"), 0, number("ms"),
                                                 NULL, &fd, &a->error);
    if (status == CAPSA_OK) make("as", STREAM)->fd = blocking(fd);
    return status;
}

static capsa_status listen_at(struct answer *a) {
    capsa_vm *vm = thing("vm", VM)->handle;
    int fd = -1;
    capsa_status status = capsa_vm_vsock_listen(vm, (uint32_t)number("port"), 0, 16, &fd, &a->error);

    if (status != CAPSA_OK) return status;
    struct thing *made = make("as", LISTENER);
    made->handle = vm;
    made->fd = fd;
    made->port = (uint32_t)number("port");
    return CAPSA_OK;
}

static capsa_status accept_one(struct answer *a) {
    struct pollfd p = {.fd = thing("of", LISTENER)->fd, .events = POLLIN};

    (void)a;
    if (poll(&p, 1, (int)number("ms")) == 0) return CAPSA_E_TIMEOUT;
    int fd = accept(p.fd, NULL, NULL);
    must(fd >= 0, "accept");
    make("as", STREAM)->fd = blocking(fd);
    return CAPSA_OK;
}

static capsa_status add_forward(struct answer *a) {
    capsa_forward_options o = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;

    o.guest_port = (uint16_t)number("port");
    capsa_status status = capsa_vm_add_forward(thing("vm", VM)->handle, &o, &info, &a->error);
    if (status != CAPSA_OK) return status;
    make("as", FORWARD)->forward = info;
    say(a, "%s %u", info.host, info.guest_port);
    return CAPSA_OK;
}

static capsa_status remove_forward(struct answer *a) {
    return capsa_vm_remove_forward(thing("vm", VM)->handle, thing("of", FORWARD)->forward.id, &a->error);
}

static capsa_status connect_to(struct answer *a) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(thing("of", FORWARD)->forward.host_port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)a;
    inet_pton(AF_INET, thing("of", FORWARD)->forward.host, &at.sin_addr);
    must(connect(fd, (struct sockaddr *)&at, sizeof at) == 0, "connect");
    make("as", STREAM)->fd = fd;
    return CAPSA_OK;
}

/* Sends a text and the end, and reads to the end. */
static capsa_status exchange(struct answer *a) {
    int fd = thing("of", STREAM)->fd;
    const char *data = text("text");
    char all[4096];
    size_t len = 0;

    for (size_t done = 0, n = strlen(data); done < n;) {
        ssize_t k = send(fd, data + done, n - done, MSG_NOSIGNAL);
        must(k > 0, "send");
        done += (size_t)k;
    }
    must(shutdown(fd, SHUT_WR) == 0, "shutdown");
    for (;;) {
        ssize_t k = read(fd, all + len, sizeof all - 1 - len);
        must(k >= 0, "read");
        if (k == 0) break;
        len += (size_t)k;
    }
    all[len] = '\0';
    say(a, "%s", all);
    return CAPSA_OK;
}

static capsa_status file(struct answer *a) {
    char all[4096];
    FILE *f = fopen(text("path"), "r");

    must(f != NULL, text("path"));
    all[fread(all, 1, sizeof all - 1, f)] = '\0';
    fclose(f);
    say(a, "%s", all);
    return CAPSA_OK;
}

const struct word talk_words[] = {
    {"console", open_console},
    {"expect", expect},
    {"run", run},
    {"type", type},
    {"interrupt", interrupt},
    {"eof", eof},
    {"resize", resize},
    {"read_all", read_all},
    {"drain", drain},
    {"ping", ping},
    {"dial", dial},
    {"listen", listen_at},
    {"accept", accept_one},
    {"add_forward", add_forward},
    {"connect", connect_to},
    {"exchange", exchange},
    {"file", file},
    {"remove_forward", remove_forward},
    {NULL, NULL},
};
