/* console KERNEL INITRD [ARGUMENT...] - boots Linux with its console on this terminal; ends with the guest's result: 0
 * when it powered off, 3 when it rebooted, and so on (CAPSA_CAUSE_...).
 * cc console.c -o console $(pkg-config --cflags --libs capsa) */
#include <capsa.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* Copies what can be read from one descriptor to another; returns 0 at the end. */
static int copy(int from, int to) {
    char buf[4096];
    ssize_t n = read(from, buf, sizeof buf);

    for (ssize_t done = 0, m; done < n; done += m) {
        m = write(to, buf + done, (size_t)(n - done));
        if (m < 0 && errno == EAGAIN) { /* the guest is slow: wait for room */
            struct pollfd room = {.fd = to, .events = POLLOUT};
            m = poll(&room, 1, -1) < 0 ? -1 : 0;
        }
        if (m < 0) return 0;
    }
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* Joins the terminal and the console until the console ends. */
static void attach(int console) {
    struct pollfd p[] = {{.fd = console, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};

    for (;;) {
        if (poll(p, 2, -1) < 0) return;
        if (p[0].revents && !copy(console, STDOUT_FILENO)) return;
        if (p[1].revents && !copy(STDIN_FILENO, console)) p[1].fd = -1;
    }
}

int main(int argc, char **argv) {
    capsa_error *err = NULL;
    capsa_builder *builder = NULL;
    capsa_vm *vm = NULL;
    capsa_console *console = NULL;
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    int fd = -1;

    if (argc < 3) return fputs("usage: console KERNEL INITRD [ARGUMENT...]\n", stderr), 2;
    capsa_status s = capsa_builder_new(&builder, &err);
    if (!s) s = capsa_builder_boot_linux(builder, argv[1], argv[2], &err);
    for (int i = 3; i < argc && !s; i++) s = capsa_builder_cmdline_arg(builder, argv[i], &err);
    if (!s) s = capsa_builder_build(builder, &vm, &err);
    if (!s) s = capsa_vm_console(vm, &console, &err);
    if (!s) s = capsa_console_fd(console, &fd, &err);
    if (!s) s = capsa_vm_start(vm, -1, NULL, &err);
    if (!s) attach(fd);
    if (!s) s = capsa_vm_wait(vm, -1, NULL, &info, &err);
    if (s)
        fprintf(stderr, "%s\n%s\n%s\n", capsa_error_message(err), capsa_error_hint(err),
                capsa_error_console_tail(err, NULL));

    if (fd >= 0) close(fd);
    capsa_error_free(err);
    capsa_console_free(console);
    capsa_vm_free(vm);
    capsa_builder_free(builder);
    if (info.cause == CAPSA_CAUSE_GUEST_SHUTDOWN || info.cause == CAPSA_CAUSE_MAIN_EXITED) return info.code;
    return info.cause ? (int)info.cause : 125;
}
