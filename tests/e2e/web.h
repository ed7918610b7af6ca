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

/* A server of the host. With data it is for the web: GET gives them. Without it takes bytes to the end, and answers how
 * many they were and their hash: "12 bytes 0123abcd". One connection at a time. */
typedef struct web {
    int listener;
    unsigned port;
    const uint8_t *data;
    size_t n;
    pthread_t thread;
} web;

/* Starts a server on the loopback, or at another address. */
void start_web(web *w, const void *data, size_t n);
void start_web_at(uint32_t address, web *w, const void *data, size_t n);
void stop_web(web *w);

#endif
