// tools.c - what tests want done inside the guest and busybox cannot do.
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/io.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "init.h"

// Writes text to a file of the kernel; 1 on failure.
static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		perror(path);
		return 1;
	}
	close(fd);
	return 0;
}

// ram: the memory that the firmware tables gave to the kernel, in KiB: the sum
// of "System RAM" in /proc/iomem. It includes what the kernel took for itself.
static int ram(int argc, char **argv)
{
	char line[256];
	uint64_t from, to, bytes = 0;
	FILE *f = fopen("/proc/iomem", "re");

	(void)argc, (void)argv;
	if (!f) {
		perror("/proc/iomem");
		return 1;
	}
	while (fgets(line, sizeof line, f))
		if (line[0] != ' ' && strstr(line, ": System RAM") &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2)
			bytes += to - from + 1;
	fclose(f);
	printf("%" PRIu64 "\n", bytes >> 10);
	return 0;
}

// crash: a kernel panic, at once.
static int crash(int argc, char **argv)
{
	(void)argc, (void)argv;
	// sysrq-c is an oops; it shall be a panic wherever it is handled.
	return put("/proc/sys/kernel/panic_on_oops", "1") || put("/proc/sysrq-trigger", "c");
}

// crashkernel: tells the panic device what a kernel tells it that panicked and is
// about to start its crash kernel. Port and value: QEMU, docs/specs/pvpanic.rst.
static int crashkernel(int argc, char **argv)
{
	enum { panic_port = 0x505, crash_loaded = 1 << 1 };

	(void)argc, (void)argv;
	if (ioperm(panic_port, 1, 1)) {
		perror("ioperm");
		return 1;
	}
	outb(crash_loaded, panic_port);
	return 0;
}

// triplefault: a restart by a fault that no handler can take.
static int triplefault(int argc, char **argv)
{
	(void)argc, (void)argv;
	if (put("/sys/kernel/reboot/type", "triple"))
		return 1;
	reboot(RB_AUTOBOOT);
	perror("reboot");
	return 1;
}

// flood BYTES: writes that many bytes in lines of 16 bytes that count from 0 to
// 4095 again and again; the last one is cut where the bytes end.
static int flood(int argc, char **argv)
{
	static char block[4096 * 16 + 1];
	uint64_t left = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;

	for (int line = 0; line < 4096; line++)
		snprintf(block + line * 16, 17, "%015d\n", line);
	while (left > 0) {
		size_t n = left < sizeof block - 1 ? (size_t)left : sizeof block - 1;
		for (size_t done = 0; done < n;) {
			ssize_t k = write(1, block + done, n - done);
			if (k < 0)
				return 1;
			done += (size_t)k;
		}
		left -= n;
	}
	return 0;
}

// lock FILE COMMAND...: takes the file's lock, as flock(2) has it, and becomes the
// command, which holds it until it ends. 1 when another holds the lock.
static int lock(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDWR | O_CREAT, 0644) : -1;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) {
		perror(argc > 1 ? argv[1] : argv[0]);
		return 1;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} tools[] = {
	{"ram", ram},
	{"crash", crash},
	{"crashkernel", crashkernel},
	{"triplefault", triplefault},
	{"flood", flood},
	{"lock", lock},
	{"vsock", vsock},
	{"udp", udp},
};

int tool(const char *name, int argc, char **argv)
{
	for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
		if (!strcmp(tools[i].name, name))
			return tools[i].run(argc, argv);
	return -1;
}
