// modules.c - loads kernel modules. The image's builder has put them into
// /lib/modules and their names, dependencies first, into /etc/modules.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"

static void load(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "/lib/modules/%s.ko", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		die(path);
	close(fd);
}

void load_modules(void)
{
	char name[256];
	FILE *list = fopen("/etc/modules", "re");

	if (!list)
		return; // a kernel without modules
	while (fgets(name, sizeof name, list)) {
		name[strcspn(name, "\n")] = 0;
		if (name[0])
			load(name);
	}
	fclose(list);
}
