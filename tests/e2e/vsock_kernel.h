/* vsock_kernel.h - Linux's own test of AF_VSOCK (tools/testing/vsock), as a function: see linux.sh. */
#ifndef E2E_VSOCK_KERNEL_H
#define E2E_VSOCK_KERNEL_H

#include <sys/socket.h>
#include <sys/types.h>

int kernel_vsock_test(int argc, char **argv); /* its main */

/* What it calls instead of the C library's functions: a host has no AF_VSOCK of ours, but descriptors of libcapsa. */
int shim_socket(int domain, int type, int protocol);
int shim_bind(int fd, const struct sockaddr *addr, socklen_t size);
int shim_listen(int fd, int backlog);
int shim_accept(int fd, struct sockaddr *addr, socklen_t *size);
int shim_connect(int fd, const struct sockaddr *addr, socklen_t size);
int shim_close(int fd);
ssize_t shim_read(int fd, void *buf, size_t size);

#endif
