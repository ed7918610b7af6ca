// power.c - the ACPI power button, and the orderly end.
//
// The kernel announces ACPI events to the generic netlink family "acpi_event",
// multicast group "acpi_mc_group" (drivers/acpi/event.c); the button needs no
// input device for that.
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

// struct acpi_genl_event of drivers/acpi/event.c, attribute 1 of command 1.
struct acpi_event {
	char device_class[20];
	char bus_id[15];
	unsigned int type;
	unsigned int data;
};
enum { acpi_event_attribute = 1 };

// A generic netlink request or answer.
struct message {
	struct nlmsghdr head;
	struct genlmsghdr genl;
	char attributes[8192];
};

// Finds an attribute in a run of attributes; NULL when it is not there.
static struct nlattr *find(void *start, int length, int type)
{
	char *p = start;

	while (length >= (int)NLA_HDRLEN) {
		struct nlattr *a = (struct nlattr *)p;
		if (a->nla_len < NLA_HDRLEN || a->nla_len > length)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		p += NLA_ALIGN(a->nla_len);
		length -= NLA_ALIGN(a->nla_len);
	}
	return NULL;
}

static void *value(struct nlattr *a)
{
	return (char *)a + NLA_HDRLEN;
}
static int size(struct nlattr *a)
{
	return a->nla_len - NLA_HDRLEN;
}

// Receives a message; the length of its attributes, or -1.
static int receive(int fd, struct message *m)
{
	ssize_t n = recv(fd, m, sizeof *m, 0);
	int head = NLMSG_HDRLEN + GENL_HDRLEN;

	if (n < head || !NLMSG_OK(&m->head, (size_t)n) || m->head.nlmsg_type == NLMSG_ERROR)
		return -1;
	return (int)m->head.nlmsg_len - head;
}

// Asks for the family and returns its (only) multicast group, or -1.
static int group(int fd)
{
	static const char family[] = "acpi_event";
	struct message m = {
		.head = {.nlmsg_type = GENL_ID_CTRL, .nlmsg_flags = NLM_F_REQUEST},
		.genl = {.cmd = CTRL_CMD_GETFAMILY, .version = 1},
	};
	struct nlattr *a = (struct nlattr *)m.attributes;

	a->nla_type = CTRL_ATTR_FAMILY_NAME;
	a->nla_len = NLA_HDRLEN + sizeof family;
	memcpy(value(a), family, sizeof family);
	m.head.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN + NLA_ALIGN(a->nla_len);
	if (send(fd, &m, m.head.nlmsg_len, 0) < 0)
		return -1;
	int length = receive(fd, &m);
	if (length < 0 || !(a = find(m.attributes, length, CTRL_ATTR_MCAST_GROUPS)))
		return -1;
	a = value(a); // a list of groups; take the first
	a = find(value(a), size(a), CTRL_ATTR_MCAST_GRP_ID);
	return a ? *(int *)value(a) : -1;
}

int power_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct sockaddr_nl self = {.nl_family = AF_NETLINK};

	if (fd < 0)
		return -1;
	int id = -1;
	if (bind(fd, (struct sockaddr *)&self, sizeof self) == 0)
		id = group(fd);
	if (id < 0 || setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &id, sizeof id) < 0) {
		close(fd); // no ACPI (acpi=off)
		return -1;
	}
	return fd;
}

int power_pressed(int fd)
{
	struct message m;
	int length = receive(fd, &m);
	struct nlattr *a = length < 0 ? NULL : find(m.attributes, length, acpi_event_attribute);

	if (!a || size(a) < (int)sizeof(struct acpi_event))
		return 0;
	return strncmp(((struct acpi_event *)value(a))->device_class, "button/power", 12) == 0;
}

// Waits up to two seconds for all children to end.
static void wait_for_children(void)
{
	struct timespec now, end, left;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += 2;
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0)
			return; // ECHILD: none is left
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end.tv_sec)
			return;
		left = (struct timespec){.tv_sec = end.tv_sec - now.tv_sec};
		sigtimedwait(&child, NULL, &left);
	}
}

// Unmounts the file systems on disks, the last one mounted first. One that is still
// in use becomes read-only, which is as clean.
static void unmount_disks(void)
{
	static char where[64][256];
	char from[256], to[256];
	int n = 0;
	FILE *mounts = fopen("/proc/mounts", "re");

	if (!mounts)
		return;
	while (n < 64 && fscanf(mounts, "%255s %255s%*[^\n]", from, to) == 2)
		if (!strncmp(from, "/dev/", 5))
			strcpy(where[n++], to);
	fclose(mounts);
	while (n-- > 0)
		if (umount(where[n]) < 0 && mount("", where[n], "", MS_REMOUNT | MS_RDONLY, "") < 0)
			say("%s stays mounted: %s", where[n], strerror(errno));
}

void shut_down(int how)
{
	say("shutting down");
	kill(-1, SIGTERM);
	kill(-1, SIGHUP); // interactive shells ignore SIGTERM
	kill(-1, SIGCONT);
	wait_for_children();
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	unmount_disks();
	sync();
	reboot(how);
	die("reboot");
}
