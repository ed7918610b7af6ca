/* sandbox.c - programs and files of a guest with the library's agent, on a Debian without its own init (guest/rootfs). */
#define _GNU_SOURCE
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static capsa_vm *vm;

/* A sandbox whose root is the Debian's, which stays as it is. */
static capsa_builder *debian(void) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new_sandbox(&b, &err));
    if (!isolated()) OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_NONE, 0, &err));
    OK(capsa_builder_boot_linux(b, image("bzImage"), NULL, &err));
    OK(capsa_builder_set_root_disk(b, image("debian.raw"), NULL, CAPSA_OVERLAY_MEMORY, &err));
    OK(capsa_builder_set_memory_mib(b, 384, &err));
    OK(capsa_builder_set_name(b, "box", &err));
    return b;
}

static void up(capsa_builder *b) {
    double begin = now();
    char *info = NULL;

    OK(capsa_builder_build(b, &vm, &err));
    capsa_builder_free(b);
    OK(capsa_vm_start(vm, patience(10000), NULL, &err));
    OK(capsa_vm_wait_ready(vm, patience(30000), NULL, &info, &err));
    printf("  ready after %.1f s: %s\n", now() - begin, info);
    CHECK(strstr(info, "\"init\":true"), "the agent is not process 1: %s", info);
    CHECK(strstr(info, "\"limits\":true"), "there are no control groups: %s", info);
    capsa_mem_free(info);
}

static void down(void) {
    uint32_t stage = 99;

    OK(capsa_vm_stop(vm, patience(20000), NULL, &stage, &err));
    CHECK_INT(stage, CAPSA_STAGE_AGENT);
    capsa_vm_free(vm);
}

/* All that comes from a stream until its end, in malloc'ed memory with a zero behind it. */
static char *drain(int fd, size_t *len) {
    size_t n = 0, room = 1 << 16;
    char *text = malloc(room);

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (n + 1 == room) text = realloc(text, room *= 2);
        CHECK(text, "no memory");
        ssize_t got = read(fd, text + n, room - n - 1);
        if (got > 0)
            n += (size_t)got;
        else if (got == 0)
            break;
        else if (errno == EAGAIN)
            poll(&p, 1, -1);
        else
            FAIL("read: %s", strerror(errno));
    }
    close(fd);
    text[n] = 0;
    if (len) *len = n;
    return text;
}

/* Runs a command; its output, until the next call. */
static const char *said;
static capsa_exec_status run_options(capsa_exec_options o) {
    static char *text;
    capsa_exec_status status = CAPSA_EXEC_STATUS_INIT;
    capsa_exec *exec = NULL;
    int fd;

    o.flags |= CAPSA_EXEC_STDOUT;
    OK(capsa_vm_exec(vm, &o, patience(10000), NULL, &exec, &err));
    OK(capsa_exec_fd(exec, 1, &fd, &err));
    free(text);
    said = text = drain(fd, NULL);
    OK(capsa_exec_wait(exec, patience(60000), NULL, &status, &err));
    capsa_exec_free(exec);
    return status;
}

static capsa_exec_options shell(const char *script) {
    static const char *args[3];
    capsa_exec_options o = CAPSA_EXEC_OPTIONS_INIT;

    args[0] = "/bin/sh", args[1] = "-c", args[2] = script;
    o.args = args;
    o.n_args = 3;
    return o;
}

static capsa_exec_status sh(const char *script) { return run_options(shell(script)); }

/* An environment of nearly 1 MiB, and a name that is no text. */
static void large_environment(void) {
    enum { n = 1000 };
    static char text[n][1040];
    const char *env[n];
    capsa_exec_options o = shell("env | grep -c '^V[0-9]*=x'; printf '%s' \"$0\" | od -An -tx1");

    for (int i = 0; i < n; i++) {
        int head = snprintf(text[i], sizeof text[i], "V%d=", i);
        memset(text[i] + head, 'x', 1030 - (size_t)head);
        env[i] = text[i];
    }
    const char *args[] = {"/bin/sh", "-c", o.args[2], "\xff \xfe"};
    o.args = args, o.n_args = 4, o.env = env, o.n_env = n;
    CHECK_INT(run_options(o).code, 0);
    CHECK_TEXT(said, "1000\n ff 20 fe\n");
}

/* Input of 4 MiB comes back, and its end is seen. */
static void echo_input(void) {
    enum { size = 4 << 20 };
    const char *args[] = {"cat"};
    capsa_exec_options o = CAPSA_EXEC_OPTIONS_INIT;
    capsa_exec *exec = NULL;
    int in, out;
    char *data = malloc(size);
    size_t sent = 0, got = 0;

    CHECK(data, "no memory");
    for (size_t i = 0; i < size; i++) data[i] = (char)(i * 31 >> 3);
    o.args = args, o.n_args = 1, o.flags = CAPSA_EXEC_STDIN | CAPSA_EXEC_STDOUT;
    OK(capsa_vm_exec(vm, &o, patience(10000), NULL, &exec, &err));
    OK(capsa_exec_fd(exec, 0, &in, &err));
    OK(capsa_exec_fd(exec, 1, &out, &err));
    REFUSED(capsa_exec_fd(exec, 1, &out, &err), CAPSA_E_STATE, NULL);
    REFUSED(capsa_exec_fd(exec, 2, &out, &err), CAPSA_E_STATE, NULL);
    for (;;) {
        static char back[1 << 16];
        struct pollfd p[] = {{.fd = out, .events = POLLIN}, {.fd = sent < size ? in : -1, .events = POLLOUT}};
        poll(p, 2, -1);
        if (p[1].revents) {
            ssize_t n = write(in, data + sent, size - sent);
            if (n > 0 && (sent += (size_t)n) == size) shutdown(in, SHUT_WR);
        }
        ssize_t n = read(out, back, sizeof back);
        if (n == 0) break;
        if (n < 0) continue;
        CHECK(got + (size_t)n <= size && !memcmp(back, data + got, (size_t)n), "other bytes came back after %zu", got);
        got += (size_t)n;
    }
    CHECK_INT(got, size);
    close(in), close(out), free(data);
    capsa_exec_free(exec);
}

/* A timeout ends what came from the program, also what left its process group. */
static void timeout_kills(void) {
    char script[64];
    capsa_exec_options o = shell("setsid sh -c 'echo $$; exec sleep 1000' & wait");
    capsa_exec_status s;

    o.timeout_ms = patience(500);
    s = run_options(o);
    CHECK_INT(s.flags, CAPSA_EXEC_TIMED_OUT);
    CHECK_INT(s.signal, 9);
    snprintf(script, sizeof script, "kill -0 %d", atoi(said));
    CHECK(atoi(said) > 1, "no process id in \"%s\"", said);
    CHECK(sh(script).code != 0, "process %d has outlived its timeout", atoi(said));
}

static void out_of_memory(void) {
    capsa_exec_options o = shell("tail /dev/zero");

    o.memory = 24 << 20;
    capsa_exec_status s = run_options(o);
    CHECK(s.flags & CAPSA_EXEC_OOM, "status %d, flags %u", s.code, s.flags);
    CHECK_INT(sh("exit 0").flags, 0);
}

static void terminal(void) {
    capsa_exec_options o = shell("stty -echo; stty size; read x; stty size; tty; exit 4");
    capsa_exec_status status = CAPSA_EXEC_STATUS_INIT;
    capsa_exec *exec = NULL;
    int fd;

    o.flags = CAPSA_EXEC_TTY | CAPSA_EXEC_STDIN;
    o.columns = 100, o.rows = 30;
    OK(capsa_vm_exec(vm, &o, patience(10000), NULL, &exec, &err));
    OK(capsa_exec_fd(exec, 0, &fd, &err));
    OK(capsa_exec_resize(exec, 120, 40, patience(10000), NULL, &err));
    CHECK_INT(write(fd, "go\n", 3), 3);
    char *text = drain(fd, NULL);
    CHECK(strstr(text, "40 120") && strstr(text, "/dev/pts/"), "the terminal says \"%s\"", text);
    free(text);
    OK(capsa_exec_wait(exec, patience(10000), NULL, &status, &err));
    CHECK_INT(status.code, 4);
    capsa_exec_free(exec);
}

static void many(void) {
    enum { n = 100 };
    capsa_exec *exec[n];
    int fd[n];
    double begin = now();

    for (int i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        const char *args[] = {"echo", text};
        capsa_exec_options o = CAPSA_EXEC_OPTIONS_INIT;
        o.args = args, o.n_args = 2, o.flags = CAPSA_EXEC_STDIN | CAPSA_EXEC_STDOUT | CAPSA_EXEC_STDERR;
        OK(capsa_vm_exec(vm, &o, patience(30000), NULL, &exec[i], &err));
        OK(capsa_exec_fd(exec[i], 1, &fd[i], &err));
    }
    for (int i = 0; i < n; i++) {
        char *text = drain(fd[i], NULL);
        CHECK_INT(atoi(text), i);
        free(text);
        capsa_exec_free(exec[i]);
    }
    printf("  %d programs: %.1f s\n", n, now() - begin);
}

TEST(sandbox, programs, 120) {
    up(debian());
    CHECK_INT(sh("echo out; echo err >&2; exit 7").code, 7);
    CHECK_TEXT(said, "out\n");
    CHECK_INT(sh("touch /written && hostname && id -u").code, 0);
    CHECK_TEXT(said, "box\n0\n");
    capsa_exec_options o = shell("id -un; pwd");
    o.user = "nobody", o.dir = "/usr";
    CHECK_INT(run_options(o).code, 0);
    CHECK_TEXT(said, "nobody\n/usr\n");
    CHECK_INT(sh("kill -15 $$").signal, 15);
    const char *none[] = {"no-such-program"};
    capsa_exec_options absent = CAPSA_EXEC_OPTIONS_INIT;
    capsa_exec *exec = NULL;
    absent.args = none, absent.n_args = 1;
    REFUSED(capsa_vm_exec(vm, &absent, patience(10000), NULL, &exec, &err), CAPSA_E_NOT_FOUND, "no-such-program");
    large_environment();
    echo_input();
    timeout_kills();
    out_of_memory();
    terminal();
    down();
}

TEST(sandbox, many_and_much, 240) {
    enum { much = 100000000 };
    size_t n;
    int fd;
    capsa_exec *exec = NULL;
    capsa_exec_options o = shell("head -c 100000000 /dev/zero");

    up(debian());
    many();
    double begin = now();
    o.flags = CAPSA_EXEC_STDOUT;
    OK(capsa_vm_exec(vm, &o, patience(10000), NULL, &exec, &err));
    OK(capsa_exec_fd(exec, 1, &fd, &err));
    free(drain(fd, &n));
    CHECK_INT(n, much);
    printf("  100 MB of output: %.1f s\n", now() - begin);
    capsa_exec_free(exec);
    down();
}

TEST(sandbox, files, 120) {
    capsa_output *output = NULL;
    size_t len;
    char path[4096], back[4096];
    const char *dir = scratch();

    up(debian());
    OK(capsa_vm_file_write(vm, "/root/note", "hello", 5, 0600, patience(10000), NULL, &err));
    OK(capsa_vm_file_read(vm, "/root/note", patience(10000), NULL, &output, &err));
    CHECK_TEXT(capsa_output_data(output, &len), "hello");
    CHECK_INT(len, 5);
    capsa_output_free(output);
    REFUSED(capsa_vm_file_read(vm, "/none", patience(10000), NULL, &output, &err), CAPSA_E_NOT_FOUND, "/none");

    snprintf(path, sizeof path, "%s/tree", dir);
    CHECK_INT(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/tree/file", dir);
    FILE *f = fopen(path, "we");
    CHECK(f && fputs("content", f) >= 0 && !fclose(f), "%s cannot be written", path);
    snprintf(path, sizeof path, "%s/tree/link", dir);
    CHECK_INT(symlink("file", path), 0);
    snprintf(path, sizeof path, "%s/tree", dir);
    OK(capsa_vm_copy_in(vm, path, "/srv/copy", 0, patience(20000), NULL, &err));
    CHECK_INT(sh("cat /srv/copy/link; readlink /srv/copy/link; stat -c %a /srv/copy").code, 0);
    CHECK_TEXT(said, "contentfile\n700\n");
    CHECK_INT(sh("mkdir /srv/copy/more && ln -s /etc/passwd /srv/copy/more/out && echo x >/srv/copy/more/y").code, 0);
    snprintf(back, sizeof back, "%s/back", dir);
    OK(capsa_vm_copy_out(vm, "/srv/copy", back, 0, patience(20000), NULL, &err));
    snprintf(path, sizeof path, "%s/back/link", dir);
    uint8_t *data = slurp(path, &len);
    CHECK(len == 7 && !memcmp(data, "content", 7), "another content came back");
    free(data);
    snprintf(path, sizeof path, "%s/back/more/out", dir);
    CHECK(readlink(path, back, sizeof back) == 11, "the link is not a link");
    down();
}

/* The end of the main program is the machine's; the root is a directory, and the console the program's. */
TEST(sandbox, main_program, 120) {
    static const char setup[] = "{\"main\":{\"args\":[\"/bin/sh\",\"-c\",\"echo from main; exit 42\"]},"
                                "\"mounts\":[{\"kind\":\"tmpfs\",\"target\":\"/scratch\",\"size_mib\":8}]}";
    capsa_builder *b = debian();
    capsa_exit_info exit = CAPSA_EXIT_INFO_INIT;
    guest g = {0};

    OK(capsa_builder_set_guest_json(b, setup, strlen(setup), &err));
    OK(capsa_builder_build(b, &g.vm, &err));
    capsa_builder_free(b);
    OK(capsa_vm_console(g.vm, &g.console, &err));
    OK(capsa_vm_start(g.vm, patience(10000), NULL, &err));
    OK(capsa_vm_wait(g.vm, patience(60000), NULL, &exit, &err));
    CHECK_INT(exit.cause, CAPSA_CAUSE_MAIN_EXITED);
    CHECK_INT(exit.code, 42);
    await_text(&g, "from main");
    discard(&g);
}
