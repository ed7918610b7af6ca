/*
 * traffic serve PORT                        - the servers, until they are killed: TCP and UDP
 * traffic TEST ADDRESS PORT MILLISECONDS    - measures one thing from a guest's side; prints a number, more is better but for rtt
 *
 * up, down     one TCP stream to, or from, the server: bits a second that arrived
 * rr, rr99     one byte there and back, one at a time: the median, or the 99th percentile, in nanoseconds
 * udprr        the same by datagrams, the median
 * crr1, crr8   connect, one byte there and back, close; by one thread, or eight: a second
 * udpup        datagrams of 64 bytes as fast as they can be sent: a second that arrived
 * udpdown      the same from the server, 1400 bytes
 * flows        1,000 connections at once, one byte there and back on each in turn: round trips a second
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (256 << 10)
#define BURST 64 /* datagrams of one sendmmsg */
#define FLOWS 1000
#define EVENTS 256

static struct sockaddr_in server;
static uint64_t end_ns; /* of the measurement */

static void die(const char *what) {
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Whatever the host's default is; the administrator of the namespace may choose. */
static void cubic(int fd) {
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5)) die("cubic");
}

static int dial(int type) {
    int one = 1, fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    if (type == SOCK_STREAM) cubic(fd);
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) die("connect");
    if (type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void say(int fd, char c) {
    if (write(fd, &c, 1) != 1) die("write");
}

static void hear(int fd) {
    char c;
    if (read(fd, &c, 1) != 1) die("read");
}

/* -- the server -- */

/* Takes all, and answers the end with the number of bytes. */
static void *sink(void *arg) {
    int fd = (int)(intptr_t)arg;
    char *buf = malloc(BLOCK);
    uint64_t total = 0;
    ssize_t n;
    while ((n = read(fd, buf, BLOCK)) > 0) total += (uint64_t)n;
    if (n == 0) (void)!write(fd, &total, sizeof total);
    close(fd);
    free(buf);
    return NULL;
}

static void *source(void *arg) {
    int fd = (int)(intptr_t)arg;
    char *buf = calloc(1, BLOCK);
    while (write(fd, buf, BLOCK) > 0) {
    }
    close(fd);
    free(buf);
    return NULL;
}

static void detach(void *(*fn)(void *), int fd) {
    pthread_t t;
    fcntl(fd, F_SETFL, 0);
    if (pthread_create(&t, NULL, fn, (void *)(intptr_t)fd))
        close(fd);
    else
        pthread_detach(t);
}

/* One byte of a connection: what it asks for, at first, or what is sent back. */
static void serve_byte(int ep, int fd, char *echoing) {
    char c;
    if (read(fd, &c, 1) != 1) {
        close(fd);
    } else if (*echoing) {
        (void)!write(fd, &c, 1);
    } else if (c == 'r') {
        *echoing = 1;
    } else if (c == 'c') {
        (void)!write(fd, &c, 1);
        close(fd);
    } else {
        epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
        detach(c == 'u' ? sink : source, fd);
    }
}

/* Counts what comes; 'n' asks for the number, 'd' and milliseconds for datagrams, 'r' for itself. */
static void *serve_udp(void *arg) {
    int fd = (int)(intptr_t)arg;
    static char in[BURST][2048], out[1400];
    struct iovec iov[BURST], same = {out, sizeof out};
    struct mmsghdr m[BURST], o[BURST];
    struct sockaddr_in from[BURST];
    uint64_t count = 0;
    for (;;) {
        memset(m, 0, sizeof m);
        for (int i = 0; i < BURST; i++) {
            iov[i] = (struct iovec){in[i], sizeof in[i]};
            m[i].msg_hdr = (struct msghdr){
                .msg_iov = &iov[i], .msg_iovlen = 1, .msg_name = &from[i], .msg_namelen = sizeof from[i]};
        }
        int n = recvmmsg(fd, m, BURST, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++) {
            if (in[i][0] == 'x') {
                count++;
            } else if (in[i][0] == 'r') {
                sendto(fd, in[i], 1, 0, (void *)&from[i], sizeof from[i]);
            } else if (in[i][0] == 'z') {
                count = 0;
                sendto(fd, &count, sizeof count, 0, (void *)&from[i], sizeof from[i]);
            } else if (in[i][0] == 'n') {
                sendto(fd, &count, sizeof count, 0, (void *)&from[i], sizeof from[i]);
            } else if (in[i][0] == 'd') {
                uint64_t end = now_ns() + (uint64_t)atoi(in[i] + 1) * 1000000u;
                memset(o, 0, sizeof o);
                for (int k = 0; k < BURST; k++)
                    o[k].msg_hdr = (struct msghdr){
                        .msg_iov = &same, .msg_iovlen = 1, .msg_name = &from[i], .msg_namelen = sizeof from[i]};
                while (now_ns() < end) sendmmsg(fd, o, BURST, 0);
            }
        }
    }
    return NULL;
}

static void serve(int port) {
    static char echoing[1 << 16];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, big = 4 << 20, l = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(l, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    cubic(l); /* its connections inherit it */
    setsockopt(u, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
    if (bind(l, (void *)&a, sizeof a) || listen(l, 4096) || bind(u, (void *)&a, sizeof a)) die("listen");
    pthread_t t;
    if (pthread_create(&t, NULL, serve_udp, (void *)(intptr_t)u)) die("thread");
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, all[EVENTS];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    for (;;) {
        int n = epoll_wait(ep, all, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = all[i].data.fd;
            if (fd != l) {
                serve_byte(ep, fd, &echoing[fd]);
                continue;
            }
            int c = accept4(l, NULL, NULL, SOCK_NONBLOCK);
            if (c < 0 || c >= (int)sizeof echoing) continue;
            echoing[c] = 0;
            e = (struct epoll_event){.events = EPOLLIN, .data.fd = c};
            epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
        }
    }
}

/* -- the tests -- */

static double up(void) {
    int fd = dial(SOCK_STREAM);
    char *buf = calloc(1, BLOCK);
    uint64_t total, begin = now_ns();
    say(fd, 'u');
    while (now_ns() < end_ns)
        if (write(fd, buf, BLOCK) < 0) die("write");
    shutdown(fd, SHUT_WR);
    if (read(fd, &total, sizeof total) != sizeof total) die("the server's count");
    return 8e9 * (double)total / (double)(now_ns() - begin);
}

static double down(void) {
    int fd = dial(SOCK_STREAM);
    char *buf = malloc(BLOCK);
    uint64_t total = 0, begin = now_ns();
    say(fd, 'd');
    while (now_ns() < end_ns) {
        ssize_t n = read(fd, buf, BLOCK);
        if (n <= 0) die("read");
        total += (uint64_t)n;
    }
    return 8e9 * (double)total / (double)(now_ns() - begin);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* 'r' from the UDP server comes back; a datagram that is lost ends the test. */
static double rr(int type, double quantile) {
    static double took[1 << 20];
    int fd = dial(type), n = 0;
    say(fd, 'r');
    if (type == SOCK_DGRAM) hear(fd);
    for (uint64_t t = now_ns(); t < end_ns && n < 1 << 20; n++) {
        say(fd, 'r');
        hear(fd);
        uint64_t u = now_ns();
        took[n] = (double)(u - t);
        t = u;
    }
    qsort(took, (size_t)n, sizeof took[0], by_value);
    return n ? took[(int)(quantile * (n - 1))] : 0;
}

static atomic_long connections;

static void *connects(void *arg) {
    while (now_ns() < end_ns) {
        int fd = dial(SOCK_STREAM);
        say(fd, 'c');
        hear(fd);
        close(fd);
        atomic_fetch_add(&connections, 1);
    }
    return arg;
}

static double crr(int threads) {
    pthread_t t[8];
    uint64_t begin = now_ns();
    for (int i = 0; i < threads; i++)
        if (pthread_create(&t[i], NULL, connects, NULL)) die("thread");
    for (int i = 0; i < threads; i++) pthread_join(t[i], NULL);
    return 1e9 * (double)connections / (double)(now_ns() - begin);
}

/* Asks until there is an answer: a question may get lost. */
static uint64_t ask(int fd, char question) {
    uint64_t v;
    struct timeval wait = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    for (int i = 0; i < 25; i++) {
        say(fd, question);
        if (recv(fd, &v, sizeof v, 0) == sizeof v) return v;
    }
    errno = ETIMEDOUT;
    die("the server's count");
    return 0;
}

static double udpup(uint64_t ns) {
    int fd = dial(SOCK_DGRAM);
    char data[64];
    struct iovec iov = {data, sizeof data};
    struct mmsghdr m[BURST];
    memset(data, 'x', sizeof data);
    memset(m, 0, sizeof m);
    for (int i = 0; i < BURST; i++) m[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
    ask(fd, 'z');
    end_ns = now_ns() + ns;
    while (now_ns() < end_ns) sendmmsg(fd, m, BURST, 0);
    return 1e9 * (double)ask(fd, 'n') / (double)ns;
}

static double udpdown(int ms) {
    int fd = dial(SOCK_DGRAM), big = 4 << 20;
    static char in[BURST][2048];
    char question[32];
    struct iovec iov[BURST];
    struct mmsghdr m[BURST];
    struct timeval wait = {.tv_usec = 300000};
    uint64_t count = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    memset(m, 0, sizeof m);
    for (int i = 0; i < BURST; i++) {
        iov[i] = (struct iovec){in[i], sizeof in[i]};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int n = snprintf(question, sizeof question, "d%d", ms);
    if (write(fd, question, (size_t)n + 1) < 0) die("write");
    while ((n = recvmmsg(fd, m, BURST, MSG_WAITFORONE, NULL)) > 0) count += (uint64_t)n;
    return 1e3 * (double)count / ms;
}

static double flows(uint64_t ns) {
    static int fd[FLOWS];
    int ep = epoll_create1(0);
    uint64_t count = 0;
    for (int i = 0; i < FLOWS; i++) {
        struct epoll_event e = {.events = EPOLLIN};
        fd[i] = dial(SOCK_STREAM);
        e.data.fd = fd[i];
        epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e);
        say(fd[i], 'r');
    }
    uint64_t begin = now_ns();
    end_ns = begin + ns;
    for (int i = 0; i < FLOWS; i++) say(fd[i], 'x');
    while (now_ns() < end_ns) {
        struct epoll_event all[EVENTS];
        int n = epoll_wait(ep, all, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            hear(all[i].data.fd);
            say(all[i].data.fd, 'x');
            count++;
        }
    }
    return 1e9 * (double)count / (double)(now_ns() - begin);
}

int main(int argc, char **argv) {
    struct rlimit most = {1 << 16, 1 << 16};
    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_NOFILE, &most);
    if (argc == 3 && !strcmp(argv[1], "serve")) serve(atoi(argv[2]));
    if (argc != 5) {
        fprintf(stderr, "traffic: serve PORT, or TEST ADDRESS PORT MILLISECONDS\n");
        return 2;
    }
    const char *t = argv[1];
    int ms = atoi(argv[4]);
    uint64_t ns = (uint64_t)ms * 1000000u;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
    inet_pton(AF_INET, argv[2], &server.sin_addr);
    alarm((unsigned)(ms / 1000 + 20)); /* one that hangs is no measurement */
    end_ns = now_ns() + ns;
    double v;
    if (!strcmp(t, "up"))
        v = up();
    else if (!strcmp(t, "down"))
        v = down();
    else if (!strcmp(t, "rr"))
        v = rr(SOCK_STREAM, 0.5);
    else if (!strcmp(t, "rr99"))
        v = rr(SOCK_STREAM, 0.99);
    else if (!strcmp(t, "udprr"))
        v = rr(SOCK_DGRAM, 0.5);
    else if (!strcmp(t, "crr1"))
        v = crr(1);
    else if (!strcmp(t, "crr8"))
        v = crr(8);
    else if (!strcmp(t, "udpup"))
        v = udpup(ns);
    else if (!strcmp(t, "udpdown"))
        v = udpdown(ms);
    else if (!strcmp(t, "flows"))
        v = flows(ns);
    else
        return 2;
    printf("%.17g\n", v);
    return 0;
}
