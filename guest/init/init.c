// init.c - process 1 of the test guest: mounts the kernel's file systems, loads
// the modules of a stock kernel, and goes on to the root file system that root=
// names (root.c). Without one it keeps a shell on the console hvc0, reaps orphans,
// and powers off or reboots when told to: by the signals that busybox's poweroff,
// reboot and halt send, or by the ACPI power button.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

static const char console[] = "/dev/hvc0";

// The shell's environment; the prompt is part of what tests rely on.
static char *const environment[] = {
	"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=vt100", "PS1=capsa# ", NULL,
};

void say(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dprintf(fd, "<4>init: %s\n", line);
	close(fd);
}

void die(const char *what)
{
	say("%s: %s", what, strerror(errno));
	_exit(1); // the kernel panics: "Attempted to kill init!"
}

static void mount_one(const char *kind, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(kind, where, kind, 0, options) < 0 && errno != EBUSY)
		die(where);
}

static void mount_all(void)
{
	mount_one("devtmpfs", "/dev", "");
	mount_one("proc", "/proc", "");
	mount_one("sysfs", "/sys", "");
	mount_one("devpts", "/dev/pts", "mode=620,ptmxmode=666");
	mount_one("tmpfs", "/tmp", "mode=1777");
}

void wait_for(const char *device)
{
	char events[4096];
	int watch = inotify_init1(IN_CLOEXEC);

	if (watch < 0 || inotify_add_watch(watch, "/dev", IN_CREATE) < 0)
		die("inotify");
	while (access(device, F_OK) < 0)
		if (read(watch, events, sizeof events) < 0 && errno != EINTR)
			die("inotify");
	close(watch);
}

// Opens the console and returns its descriptor. The driver makes the file a
// moment before it can be opened (ENODEV until then, and no event when that
// ends).
static int open_console(void)
{
	const struct timespec moment = {.tv_nsec = 5 * 1000 * 1000};

	for (int tries = 0; tries < 2000; tries++) {
		int fd = open(console, O_RDWR | O_NOCTTY);
		if (fd >= 0 || errno != ENODEV)
			return fd;
		nanosleep(&moment, NULL);
	}
	return -1;
}

static void greet(void)
{
	struct utsname u;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long mib = (long)((long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) >> 20);

	uname(&u);
	printf("\nWelcome to the capsa guest: %s %s, %ld CPU%s, %ld MiB for programs.\n", u.sysname, u.release, cpus,
	       cpus == 1 ? "" : "s", mib);
	fflush(stdout);
}

// Becomes the shell on the console, its controlling terminal.
static _Noreturn void become_shell(int first)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	int fd = open_console();
	if (fd < 0)
		die(console);
	ioctl(fd, TIOCSCTTY, 1);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	if (first)
		greet();
	execve("/bin/sh", (char *[]){"-sh", NULL}, environment);
	die("/bin/sh");
}

static pid_t start_shell(int first)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		become_shell(first);
	return pid;
}

// Collects every ended child; 1 when the shell was among them.
static int reap(pid_t shell)
{
	int status, ended = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == shell)
			ended = 1;
	return ended;
}

// What a signal asks for; 0 for nothing. busybox's halt, poweroff and reboot
// send SIGUSR1, SIGUSR2 and SIGTERM; the kernel sends SIGINT for Ctrl-Alt-Del.
static int wanted(int signal)
{
	switch (signal) {
	case SIGUSR1:
		return RB_HALT_SYSTEM;
	case SIGUSR2:
		return RB_POWER_OFF;
	case SIGTERM:
	case SIGINT:
		return RB_AUTOBOOT;
	}
	return 0;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_SETMASK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd");
	return fd;
}

static _Noreturn void run_init(void)
{
	mount_all();
	load_modules();
	enter_root();
	int signals = open_signals();
	reboot(RB_DISABLE_CAD);
	struct pollfd fds[2] = {
		{.fd = signals, .events = POLLIN},
		{.fd = power_open(), .events = POLLIN},
	};
	wait_for(console);
	pid_t shell = start_shell(1);
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (fds[1].revents && power_pressed(fds[1].fd))
			shut_down(RB_POWER_OFF);
		if (!fds[0].revents)
			continue;
		struct signalfd_siginfo info;
		if (read(signals, &info, sizeof info) != sizeof info)
			die("signalfd");
		int how = wanted((int)info.ssi_signo);
		if (how)
			shut_down(how);
		if (reap(shell))
			shell = start_shell(0);
	}
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	int status = tool(slash ? slash + 1 : argv[0], argc, argv);

	if (status >= 0)
		return status;
	if (getpid() == 1)
		run_init();
	fprintf(stderr, "%s: no such tool, and not process 1\n", argv[0]);
	return 2;
}
