/* stream.h - what tests of sockets share: bytes through descriptors, compared on the way. */
#ifndef E2E_STREAM_H
#define E2E_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define MIB (1u << 20)

/* Waits until the descriptor has one of the events of poll(2). */
void await_fd(int fd, short events);
/* Reads what is there, waiting for it; 0 is the end. */
size_t get(int fd, void *buf, size_t size);
/* Writes all of it. */
void put(int fd, const void *data, size_t n);

/* The bytes that the guest's tool "vsock" sends, n of them in malloc'ed memory, and its hash of bytes. */
uint8_t *pattern(size_t n);
uint32_t hash_of(const uint8_t *p, size_t n);

/* Reads to the end: these bytes, and no more. */
void expect_bytes(int fd, const uint8_t *want, size_t n);
/* Sends n bytes and the end, and at once reads them back to the end: each half closes by itself. */
void echo_through(int fd, size_t n);
/* Waits for a client of a listening socket. */
int accept_one(int listener);
/* Connects to a unix socket. */
int dial_path(const char *path);

#endif
