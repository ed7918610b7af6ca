/* web.h - what tests of networks share: ports of the host, and a web server there. */
#ifndef E2E_WEB_H
#define E2E_WEB_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* A TCP socket that listens at an IPv4 address of the host (INADDR_LOOPBACK, say), and its port. */
int listen_at(uint32_t address, unsigned *port);
int listen_tcp(unsigned *port); /* on the loopback */
/* A connection to a port of the host's loopback: SOCK_STREAM or SOCK_DGRAM. */
int dial_port(unsigned port, int type);

/* A web server of the host: GET gives some bytes, POST takes some and answers how many they were and their
 * hash. One connection at a time. */
typedef struct web {
    int listener;
    unsigned port;
    const uint8_t *data; /* what GET gives */
    size_t n;
    size_t got; /* bytes of the last POST, and their hash */
    uint32_t hash;
    pthread_t thread;
} web;

void start_web(web *w, const void *data, size_t n); /* on the loopback */
void start_web_at(uint32_t address, web *w, const void *data, size_t n);
void stop_web(web *w);

#endif
