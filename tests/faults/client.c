/*
 * client.c - a program that uses the library, for inject.c: makes, starts, talks to and stops a machine again and again,
 * one life for each byte on CONTROL_FD, and says in struct page how that went. It installs a seccomp filter that asks the
 * injector about system calls.
 *
 * usage: client GUEST DISK DIRECTORY   (an ELF of tests/abi/guest, a raw image, where it may write)
 */
#define _GNU_SOURCE
#include "capsa.h"
#include "page.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE 5000 /* milliseconds for things that take one */
#define MEMORY 39     /* MiB; a size that nothing else has, so that a forgotten reservation is recognised: */
#define RESERVED (((MEMORY + 2ul) << 20) + 2 * 4096) /* the memory, room to align it, and guard pages */

static struct page *page;
static const char *guest, *disk, *directory;

static void put(char *text, const char *what) {
    size_t n = strlen(text);
    snprintf(text + n, TEXT - n, "%s", what);
}

static void wrong(const char *call, const char *what) {
    char line[600];
    snprintf(line, sizeof line, "%s: %s; ", call, what);
    page->wrong = 1;
    put(page->text, line);
}

/* The class that tells of an errno; 0: any. */
static capsa_status class_of(int error) {
    switch (error) {
    case EMFILE:
    case ENFILE:
        return CAPSA_E_LIMIT;
    case ENOMEM:
        return CAPSA_E_NO_MEMORY;
    case EIO:
        return CAPSA_E_IO;
    case ENOSPC:
        return CAPSA_E_IO;
    default:
        return 0;
    }
}

/* Looks at the result of a call; true for success. A failure must be typed, have a message, and name the cause. */
static int good(const char *call, capsa_status s, capsa_error **error) {
    capsa_error *e = *error;
    char line[600];

    *error = NULL;
    if (s == CAPSA_OK) {
        if (e) wrong(call, "success with an error object");
        return 1;
    }
    page->failed = 1;
    snprintf(line, sizeof line, "%s: %s: %s [errno %d]; ", call, capsa_status_name(s), capsa_error_message(e),
             capsa_error_os_errno(e));
    put(page->text, line);
    if (!page->error) wrong(call, "failed though nothing was injected");
    if (s > 0 || !e || capsa_error_code(e) != s || !*capsa_error_message(e)) wrong(call, "no proper error object");
    if (strchr(capsa_error_message(e), '\n')) wrong(call, "a message of several lines");
    s = capsa_status_class(s);
    if (s < CAPSA_E_INTERNAL || s > CAPSA_E_INVALID_ARG) wrong(call, "unknown class");
    if (s == CAPSA_E_INTERNAL) wrong(call, "blames the library");
    if (s == CAPSA_E_TIMEOUT) wrong(call, "nobody was told");
    if (!strncmp(call, "build", 5) || !strncmp(call, "start", 5)) {
        capsa_status want = page->untold ? CAPSA_E_LIMIT : class_of(page->error);
        if (want && s != want) wrong(call, "not the class of this errno");
        /* What KVM lacks, and a disk that is locked, are told in words and not as an errno. */
        int in_words = s == CAPSA_E_UNSUPPORTED || (s == CAPSA_E_UNAVAILABLE && page->error == EAGAIN);
        if (capsa_error_os_errno(e) != page->error && !in_words && !page->untold)
            wrong(call, "not the errno of the system call");
    }
    capsa_error_free(e);
    return 0;
}
#define TRY(name, call) (e = NULL, good(name, (call), &e))

static void shut(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static int expect(capsa_console *c, const char *what) {
    capsa_pattern p = CAPSA_PATTERN_INIT;
    capsa_output *out = NULL;
    capsa_error *e;
    int ok;

    p.kind = CAPSA_PATTERN_LITERAL;
    p.data = what;
    p.len = strlen(what);
    ok = TRY("expect", capsa_console_expect(c, PATIENCE, NULL, &p, 1, NULL, &out, &e));
    capsa_output_free(out);
    return ok;
}

/* What is done with a running machine: words to the guest and back, then its power button. */
static void use(capsa_vm *vm, capsa_console *c) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    uint32_t stage = 0;
    size_t n = 0;
    char *json = NULL;
    capsa_error *e;
    int talks;

    talks = expect(c, "ready\n") && TRY("write", capsa_console_write(c, PATIENCE, NULL, "hello\n\4", 7, &n, &e)) &&
            expect(c, "hello\n") && expect(c, "bye\n");
    if (talks && TRY("pause", capsa_vm_pause(vm, &e))) TRY("resume", capsa_vm_resume(vm, &e));
    if (!talks || !TRY("stop", capsa_vm_stop(vm, PATIENCE, NULL, &stage, &e))) TRY("kill", capsa_vm_kill(vm, &e));
    if (stage == CAPSA_STAGE_KILL) wrong("stop", "the guest did not see its power button");
    TRY("wait", capsa_vm_wait(vm, PATIENCE, NULL, &info, &e));
    if (!info.cause) wrong("wait", "no cause");
    if (info.cause == CAPSA_CAUSE_VMM_CRASH && !page->in_run) wrong("wait", "the machine crashed");
    if (TRY("exit_json", capsa_vm_exit_json(vm, &json, &e)) && page->error) put(page->text, json);
    capsa_mem_free(json);
}

static int describe(capsa_builder *b, const char *overlay) {
    capsa_disk_options kept = CAPSA_DISK_OPTIONS_INIT, temporary = CAPSA_DISK_OPTIONS_INIT;
    capsa_error *e;

    kept.format = temporary.format = CAPSA_DISK_FORMAT_RAW;
    kept.overlay = overlay;
    temporary.flags = CAPSA_DISK_TEMPORARY;
    temporary.scratch_dir = directory;
    return TRY("boot_linux", capsa_builder_boot_linux(b, guest, NULL, &e)) &&
           TRY("set_cmdline", capsa_builder_set_cmdline(b, "print:ready echo print:bye button off", &e)) &&
           TRY("set_memory", capsa_builder_set_memory_mib(b, MEMORY, &e)) &&
           TRY("set_cpus", capsa_builder_set_cpus(b, 2, &e)) && TRY("set_vsock", capsa_builder_set_vsock(b, 1, &e)) &&
           TRY("add_disk", capsa_builder_add_disk(b, disk, &kept, &e)) &&
           TRY("add_disk", capsa_builder_add_disk(b, disk, &temporary, &e));
}

/* One life of a machine, with everything given back at the end whatever failed. */
static void life(const char *overlay) {
    capsa_builder *b = NULL;
    capsa_vm *vm = NULL;
    capsa_console *c = NULL;
    capsa_error *e;
    int ends = -1, events = -1, stream = -1, port = -1;

    if (TRY("builder_new", capsa_builder_new(&b, &e)) && describe(b, overlay) &&
        TRY("build", capsa_builder_build(b, &vm, &e))) {
        TRY("exit_fd", capsa_vm_exit_fd(vm, &ends, &e));
        TRY("event_fd", capsa_vm_event_fd(vm, &events, &e));
        TRY("vsock_listen", capsa_vm_vsock_listen(vm, 1000, 0, 1, &port, &e));
        if (TRY("console", capsa_vm_console(vm, &c, &e)) && TRY("start", capsa_vm_start(vm, PATIENCE, NULL, &e))) {
            TRY("console_fd", capsa_console_fd(c, &stream, &e));
            use(vm, c);
        }
    }
    capsa_vm_free(vm);
    capsa_console_free(c);
    capsa_builder_free(b);
    shut(&ends);
    shut(&events);
    shut(&stream);
    shut(&port);
}

/* Counts the entries of a directory in /proc/self. */
static int entries(const char *name) {
    DIR *d = opendir(name);
    int n = 0;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n - 2;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Whether the Go runtime has opened this for itself and for ever, at a time of its own choice: the poller, which is an
 * epoll and an eventfd, and the limits of the control group. */
static int of_runtime(const char *what, int seen[2]) {
    if (!strncmp(what, "/sys/fs/cgroup/", 15)) return 1;
    if (!strcmp(what, "anon_inode:[eventpoll]")) return !seen[0]++;
    if (!strcmp(what, "anon_inode:[eventfd]")) return !seen[1]++;
    return 0;
}

/* Writes what the process holds, sorted, one a line: descriptors by what they lead to, mappings of files, and reservations
 * of the size of the guest's memory. */
static void holdings(char *text) {
    static char lines[400][300];
    char *sorted[400], path[300], what[256], line[600];
    int n = 0, seen[2] = {0, 0};
    DIR *d = opendir("/proc/self/fd");
    FILE *maps = fopen("/proc/self/maps", "re");

    for (struct dirent *entry; d && (entry = readdir(d)) && n < 400;) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(d) || atoi(entry->d_name) == fileno(maps))
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%.20s", entry->d_name);
        ssize_t len = readlink(path, what, sizeof what - 1);
        what[len < 0 ? 0 : len] = 0;
        char *number = strchr(what, '['); /* of a socket or pipe */
        if (number && !strncmp(what, "anon_inode", 10)) number = NULL;
        if (number) *number = 0;
        if (of_runtime(what, seen)) continue;
        snprintf(lines[n++], 300, "fd %.250s", what);
    }
    if (d) closedir(d);
    while (maps && fgets(line, sizeof line, maps) && n < 400) {
        unsigned long from, to;
        char prot[8] = "", name[256] = "";
        sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &from, &to, prot, name);
        if (*name == '/' || !strncmp(name, "anon_inode", 10))
            snprintf(lines[n++], 300, "map %.250s", name);
        else if (!*name && !strcmp(prot, "---p") && to - from == RESERVED)
            snprintf(lines[n++], 300, "reservation");
    }
    if (maps) fclose(maps);
    for (int i = 0; i < n; i++) sorted[i] = lines[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_text);
    *text = 0;
    for (int i = 0; i < n; i++) {
        put(text, sorted[i]);
        put(text, "\n");
    }
}

/* Says which lines of `after` are not in `before`; both are sorted. */
static int more(const char *before, const char *after, char *line, size_t size) {
    while (*after) {
        size_t a = strcspn(after, "\n"), b = strcspn(before, "\n");
        int order = strncmp(after, before, a > b ? a : b);
        if (!*before || order < 0) {
            snprintf(line, size, "left behind: %.*s", (int)a, after);
            return 1;
        }
        if (!order) after += a + 1;
        before += b + 1;
    }
    return 0;
}

/* A life with the injector listening, and the count afterwards. What another thread gives back may take a moment. */
static void observed_life(void) {
    static char before[TEXT];
    char overlay[300], line[400];
    int leak = 0, pause = 1000;

    snprintf(overlay, sizeof overlay, "%s/overlay.qcow2", directory);
    unlink(overlay);
    page->failed = page->wrong = 0;
    page->text[0] = 0;
    holdings(before);
    page->armed = 1;
    life(overlay);
    page->armed = 0;
    for (int i = 0; i < 12; i++, pause *= 2) {
        holdings(page->left);
        page->threads = entries("/proc/self/task");
        leak = more(before, page->left, line, sizeof line);
        if (!leak && page->threads <= page->threads_max) break;
        usleep((useconds_t)pause);
    }
    if (leak) wrong("leak", line);
    if (page->threads > page->threads_max) wrong("leak", "threads");
    if (!access(overlay, F_OK) && unlink(overlay)) wrong("overlay", strerror(errno));
}

/* System calls of which the injector is not asked: they cannot fail in a way that a program could survive, fail without
 * effect, or wait. README.md has the reasons. */
static const int unasked[] = {
    SYS_futex,           SYS_sched_yield,     SYS_nanosleep,      SYS_clock_nanosleep,
    SYS_clock_gettime,   SYS_rt_sigreturn,    SYS_rt_sigprocmask, SYS_rt_sigaction,
    SYS_sigaltstack,     SYS_gettid,          SYS_getpid,         SYS_tgkill,
    SYS_epoll_pwait,     SYS_epoll_wait,      SYS_clone,          SYS_clone3,
    SYS_munmap,          SYS_close,           SYS_exit,           SYS_exit_group,
    SYS_restart_syscall, SYS_set_robust_list, SYS_rseq,           SYS_brk,
    SYS_timer_create,    SYS_timer_settime,   SYS_timer_delete,   SYS_getdents64,
    SYS_unlink,          SYS_readlink,        SYS_access,         SYS_seccomp,
    SYS_arch_prctl,      SYS_set_tid_address,
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_##value)

/* Installs the filter for all threads, the Go runtime's too, and tells the injector. */
static int install(void) {
    enum { UNASKED = sizeof unasked / sizeof *unasked };
    struct sock_filter code[2 * UNASKED + 10];
    unsigned short n = 0;

    code[n++] = (struct sock_filter)LOAD(nr);
    for (int i = 0; i < UNASKED; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)unasked[i], 0, 1);
        code[n++] = (struct sock_filter)ANSWER(ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_write, 3, 0); /* read is 0, write is 1 */
    code[n++] = (struct sock_filter)LOAD(args[0]);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CONTROL_FD, 0, 1);
    code[n++] = (struct sock_filter)ANSWER(ALLOW);
    code[n++] = (struct sock_filter)ANSWER(USER_NOTIF);

    struct sock_fprog program = {n, code};
    unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
    /* With WAIT_KILLABLE_RECV (Linux 5.19) the runtime's signals do not interrupt a call that the injector looks at. */
    page->listener =
        (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
    if (page->listener < 0) page->listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return page->listener;
}

int main(int argc, char **argv) {
    Dl_info library;
    char byte = 'r';

    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_FD, 0);
    if (argc != 4 || page == MAP_FAILED || !dladdr((void *)capsa_builder_new, &library)) return 1;
    guest = argv[1];
    disk = argv[2];
    directory = argv[3];
    page->base = (uint64_t)(uintptr_t)library.dli_fbase;
    if (install() < 0) {
        page->listener = -errno;
        return 1;
    }
    if (write(CONTROL_FD, &byte, 1) != 1 || read(CONTROL_FD, &byte, 1) != 1)
        return 1; /* the injector has the filter */
    close(page->listener);
    while (write(CONTROL_FD, &byte, 1) == 1 && read(CONTROL_FD, &byte, 1) == 1) observed_life();
    return 0;
}
