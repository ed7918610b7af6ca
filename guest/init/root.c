// root.c - the root file system on a disk. With root= on the kernel's command line
// init mounts that disk and becomes its /sbin/init, as a distribution's initrd does.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

static const char new_root[] = "/root";

// What the command line says of the root file system; the last word wins.
struct root {
	char device[PATH_MAX]; // root=, empty when there is none
	char kind[32]; // rootfstype=
	char init[PATH_MAX]; // init=
	unsigned long flags; // ro
};

static void keep(char *to, size_t size, const char *word, const char *key)
{
	size_t n = strlen(key);

	if (!strncmp(word, key, n))
		snprintf(to, size, "%s", word + n);
}

static void parse(struct root *r)
{
	static char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
	char *rest = line;

	if (n < 0)
		die("/proc/cmdline");
	close(fd);
	line[n] = 0;
	for (char *word; (word = strsep(&rest, " \n"));) {
		keep(r->device, sizeof r->device, word, "root=");
		keep(r->kind, sizeof r->kind, word, "rootfstype=");
		keep(r->init, sizeof r->init, word, "init=");
		if (!strcmp(word, "ro"))
			r->flags |= MS_RDONLY;
		if (!strcmp(word, "rw"))
			r->flags &= ~(unsigned long)MS_RDONLY;
	}
}

void enter_root(void)
{
	struct root r = {.kind = "ext4", .init = "/sbin/init"};

	parse(&r);
	if (!r.device[0])
		return;
	if (access(r.device, F_OK) < 0)
		say("waiting for %s", r.device);
	wait_for(r.device);
	mkdir(new_root, 0755);
	if (mount(r.device, new_root, r.kind, r.flags, "") < 0)
		die(r.device);
	static const char *const moved[] = {"/dev", "/proc", "/sys"};
	for (int i = 0; i < 3; i++) {
		char to[32];
		snprintf(to, sizeof to, "%s%s", new_root, moved[i]);
		if (mount(moved[i], to, "", MS_MOVE, "") < 0)
			die(to);
	}
	if (chdir(new_root) < 0 || mount(".", "/", "", MS_MOVE, "") < 0 || chroot(".") < 0)
		die("switching to the root file system");
	execl(r.init, r.init, (char *)NULL);
	die(r.init);
}
