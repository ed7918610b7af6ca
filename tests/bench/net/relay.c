/*
 * relay TAP SOCKET - carries Ethernet frames between a tap and a unix stream socket, each behind its length in four bytes,
 * as QEMU's "-netdev stream" does. It stands where QEMU would: what it costs, QEMU costs.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME 65549 /* the longest, with its Ethernet header */
#define ROOM (256 << 10)
#define READ (1 << 20)

static int tap, sock;

static void die(const char *what) {
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The guest's frames, as many as there are with one write. */
static void *from_tap(void *arg) {
    static char buf[ROOM + 4 + FRAME];
    for (;;) {
        size_t n = 0;
        while (n < ROOM) {
            ssize_t got = read(tap, buf + n + 4, FRAME);
            if (got < 0 && errno == EAGAIN) {
                if (n > 0) break;
                struct pollfd p = {tap, POLLIN, 0};
                poll(&p, 1, -1);
                continue;
            }
            if (got <= 0) die("read of the tap");
            uint32_t size = htonl((uint32_t)got);
            memcpy(buf + n, &size, 4);
            n += 4 + (size_t)got;
        }
        for (size_t at = 0; at < n;) {
            ssize_t sent = write(sock, buf + at, n - at);
            if (sent <= 0) die("write of the socket");
            at += (size_t)sent;
        }
    }
    return arg;
}

static void to_tap(void) {
    static char buf[READ + 4 + FRAME];
    size_t have = 0;
    for (;;) {
        ssize_t got = read(sock, buf + have, READ);
        if (got <= 0) die("read of the socket");
        have += (size_t)got;
        size_t at = 0;
        while (have - at >= 4) {
            uint32_t size;
            memcpy(&size, buf + at, 4);
            size = ntohl(size);
            if (size > FRAME) die("a frame that is too long");
            if (have - at - 4 < size) break;
            (void)!write(tap, buf + at + 4, size); /* one that is refused is lost, as on a wire */
            at += 4 + size;
        }
        have -= at;
        memmove(buf, buf + at, have);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    pthread_t t;
    if (argc != 3) return 2;
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", argv[1]);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", argv[2]);
    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &r)) die("tap");
    sock = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(sock, (struct sockaddr *)&to, sizeof to)) die(argv[2]);
    if (pthread_create(&t, NULL, from_tap, NULL)) die("thread");
    to_tap();
}
