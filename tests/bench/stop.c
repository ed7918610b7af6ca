/*
 * stop ROUNDS KERNEL INITRD -- PEER-COMMAND... - how long a Linux guest that sleeps at its prompt takes to be gone, by the
 * power button and by force, here and in QEMU, by turns. The peer's command is QEMU's without -qmp; its console is its
 * standard output. Prints samples. Runs where the guests run.
 */
#define _GNU_SOURCE
#include <capsa.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples.h"

#define PROMPT "capsa# "
#define SETTLE_MS 500 /* from the prompt to the end: what boots goes to sleep */

static void die(const char *what, capsa_error *err) {
    fprintf(stderr, "bench: %s: %s %s\n", what, err ? capsa_error_message(err) : strerror(errno),
            capsa_error_hint(err));
    exit(1);
}

/* A machine of ours, at its prompt. */
static capsa_vm *boot_ours(capsa_builder *b) {
    capsa_error *err = NULL;
    capsa_vm *vm = NULL;
    capsa_console *console = NULL;
    capsa_pattern prompt[] = {CAPSA_LITERAL(PROMPT)};
    if (capsa_builder_build(b, &vm, &err) || capsa_vm_start(vm, -1, NULL, &err) ||
        capsa_vm_console(vm, &console, &err) ||
        capsa_console_expect(console, 120000, NULL, prompt, 1, NULL, NULL, &err))
        die("boot", err);
    capsa_console_free(console);
    usleep(SETTLE_MS * 1000);
    return vm;
}

static double stop_ours(capsa_builder *b, int kill) {
    capsa_error *err = NULL;
    uint32_t stage = 0;
    capsa_vm *vm = boot_ours(b);
    double begin = now_ns();
    if (!kill && capsa_vm_stop(vm, 120000, NULL, &stage, &err)) die("stop", err);
    if (!kill && stage != CAPSA_STAGE_POWER_BUTTON) die("the guest did not listen", NULL);
    capsa_vm_free(vm);
    return now_ns() - begin;
}

/* Reads until the text has come. */
static void await(int fd, const char *text) {
    static char seen[1 << 16];
    size_t n = 0;
    while (n < sizeof seen - 1) {
        ssize_t got = read(fd, seen + n, sizeof seen - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
        seen[n] = 0;
        if (strstr(seen, text)) return;
    }
    fprintf(stderr, "bench: QEMU does not say \"%s\"; the last was \"%.300s\"\n", text,
            n > 300 ? seen + n - 300 : seen);
    exit(1);
}

static void say(int fd, const char *command) {
    if (write(fd, command, strlen(command)) != (ssize_t)strlen(command)) die("QMP", NULL);
}

static double stop_peer(char **argv, int by_force) {
    char *all[64], chardev[] = "socket,id=qmp,fd=3", mode[] = "chardev:qmp";
    int console[2], qmp[2], n = 0, status;
    while (argv[n] && n < 56) all[n] = argv[n], n++;
    char option_chardev[] = "-chardev", option_qmp[] = "-qmp";
    all[n++] = option_chardev, all[n++] = chardev, all[n++] = option_qmp, all[n++] = mode, all[n] = NULL;
    if (pipe2(console, O_CLOEXEC) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp)) die("pipe", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(console[1], 1) < 0 || dup2(qmp[1], 3) < 0) _exit(126);
        execvp(all[0], all);
        _exit(127);
    }
    close(console[1]), close(qmp[1]);
    await(qmp[0], "\"QMP\"");
    say(qmp[0], "{\"execute\":\"qmp_capabilities\"}\n");
    await(qmp[0], "\"return\"");
    await(console[0], PROMPT);
    usleep(SETTLE_MS * 1000);
    double begin = now_ns();
    if (by_force)
        kill(pid, SIGKILL);
    else
        say(qmp[0], "{\"execute\":\"system_powerdown\"}\n");
    waitpid(pid, &status, 0);
    double took = now_ns() - begin;
    close(console[0]), close(qmp[0]);
    if (by_force ? !WIFSIGNALED(status) : !WIFEXITED(status) || WEXITSTATUS(status)) die("QEMU's end", NULL);
    return took;
}

int main(int argc, char **argv) {
    static struct samples button = {
        .name = "power button to the end", .unit = "ns", .peer_name = "QEMU microvm", .goal = 1.0};
    static struct samples force = {
        .name = "kill of a Linux guest", .unit = "ns", .peer_name = "QEMU microvm", .goal = 1.0};
    capsa_error *err = NULL;
    capsa_builder *b = NULL;
    int rounds = argc > 5 ? atoi(argv[1]) : 0;
    if (rounds < 1 || strcmp(argv[4], "--"))
        return fprintf(stderr, "usage: stop ROUNDS KERNEL INITRD -- COMMAND...\n"), 2;
    if (capsa_builder_new(&b, &err) || capsa_builder_boot_linux(b, argv[2], argv[3], &err) ||
        capsa_builder_set_memory_mib(b, 256, &err) || capsa_builder_cmdline_arg(b, "quiet", &err))
        die("builder", err);
    for (int i = 0; i < rounds; i++) {
        add_ours(&button, stop_ours(b, 0)), add_peer(&button, stop_peer(argv + 5, 0));
        add_ours(&force, stop_ours(b, 1)), add_peer(&force, stop_peer(argv + 5, 1));
    }
    capsa_builder_free(b);
    print_samples(&button);
    print_samples(&force);
    return 0;
}
