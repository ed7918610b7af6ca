// vsock.c - the guest's end of connections with the host, for tests.
//
//	vsock echo PORT [seqpacket]              sends back what comes, on any number of connections
//	vsock send CID PORT BYTES [seqpacket]    connects, sends bytes of a pattern and the end, and reads to the end
//	vsock cid                                the guest's address
#define _GNU_SOURCE // accept4
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "init.h"

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int put_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
		if (k < 0)
			return -1;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

// Sends back what comes until the end, then the end.
static int echo_one(int fd)
{
	static char buf[64 << 10];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof buf, 0)) > 0)
		if (put_all(fd, buf, (size_t)n) < 0)
			return fail("send");
	if (n < 0)
		return fail("recv");
	shutdown(fd, SHUT_WR);
	return 0;
}

static int echo(int type, uint32_t port)
{
	struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 128) < 0)
		return fail("listen");
	printf("listening\n");
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int one = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (one < 0)
			return fail("accept");
		pid_t pid = fork();
		if (pid < 0)
			return fail("fork");
		if (pid == 0)
			_exit(echo_one(one));
		close(one);
	}
}

// The next byte of the pattern: the high bits of a linear congruence
// (ISO C's example of rand).
static unsigned char pattern(uint32_t *state)
{
	*state = *state * 1103515245 + 12345;
	return (unsigned char)(*state >> 24);
}

static int send_pattern(int fd, uint64_t left)
{
	static char buf[4096];
	uint32_t state = 1;

	while (left > 0) {
		size_t n = left < sizeof buf ? (size_t)left : sizeof buf;
		for (size_t i = 0; i < n; i++)
			buf[i] = (char)pattern(&state);
		if (put_all(fd, buf, n) < 0)
			return fail("send");
		left -= n;
	}
	return shutdown(fd, SHUT_WR) < 0 ? fail("shutdown") : 0;
}

// Prints how much came, and its FNV-1a hash of 32 bits.
static int read_to_end(int fd)
{
	static unsigned char buf[64 << 10];
	uint64_t all = 0;
	uint32_t hash = 2166136261;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof buf, 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			hash = (hash ^ buf[i]) * 16777619;
		all += (uint64_t)n;
	}
	if (n < 0)
		return fail("recv");
	printf("%" PRIu64 " bytes %08" PRIx32 "\n", all, hash);
	return 0;
}

static int send_to(int type, uint32_t cid, uint32_t port, uint64_t bytes)
{
	struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
		return fail("connect");
	return send_pattern(fd, bytes) || read_to_end(fd);
}

static int print_cid(void)
{
	unsigned int cid = 0;
	int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0)
		return fail("/dev/vsock");
	printf("%u\n", cid);
	return 0;
}

int vsock(int argc, char **argv)
{
	int type = argc > 1 && !strcmp(argv[argc - 1], "seqpacket") ? SOCK_SEQPACKET : SOCK_STREAM;

	if (type == SOCK_SEQPACKET)
		argc--;
	if (argc == 2 && !strcmp(argv[1], "cid"))
		return print_cid();
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return echo(type, (uint32_t)strtoul(argv[2], NULL, 10));
	if (argc == 5 && !strcmp(argv[1], "send"))
		return send_to(type, (uint32_t)strtoul(argv[2], NULL, 10), (uint32_t)strtoul(argv[3], NULL, 10),
			       strtoull(argv[4], NULL, 10));
	fprintf(stderr, "usage: vsock echo PORT | send CID PORT BYTES | cid  [seqpacket]\n");
	return 2;
}
