// udp.c - the guest's end of datagrams, which busybox has no tool for.
//
//	udp echo PORT               sends back what comes, for ever
//	udp ask ADDRESS PORT TEXT   sends the text and prints the answer; fails without one after 5 seconds
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "init.h"

// The largest datagram over IPv4, in bytes.
static char data[65507];

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int echo(int fd, const char *port)
{
	struct sockaddr_in from, at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

	if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0)
		return fail("bind");
	for (;;) {
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &len);
		if (n < 0 || sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, len) < 0)
			return fail("echo");
	}
}

static int ask(int fd, const char *address, const char *port, const char *text)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct timeval patience = {.tv_sec = 5};

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
		return fail(address);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (send(fd, text, strlen(text), 0) < 0)
		return fail("send");
	ssize_t n = recv(fd, data, sizeof data, 0);
	if (n < 0)
		return fail("recv");
	printf("%.*s\n", (int)n, data);
	return 0;
}

int udp(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail("socket");
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return echo(fd, argv[2]);
	if (argc == 5 && !strcmp(argv[1], "ask"))
		return ask(fd, argv[2], argv[3], argv[4]);
	fprintf(stderr, "usage: udp echo PORT | ask ADDRESS PORT TEXT\n");
	return 2;
}
