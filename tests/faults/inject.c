/*
 * inject.c - makes every system call fail that the library makes in the life of a machine, one at a time, in client.c,
 * and sees to it that the client is told, that nothing is left behind, and that the next machine lives.
 *
 * The client's seccomp filter asks here about each system call. Those that the library's own code makes come from one
 * instruction, the one by which Go programs make system calls; the Go runtime and the C library have others. So the nth
 * call of a kind is the same in every life, and the allocator's mmap is not among them.
 *
 * usage: inject [-v] [-k KIND] [-j PROCESSES] CLIENT GUEST DISK DIRECTORY
 *   -v  one line for each injection    -k  only kinds whose name contains KIND
 */
#define _GNU_SOURCE
#include "names.h"
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
enum {
    KINDS = 160,        /* kinds of calls */
    JOBS = 4000,        /* injections */
    PATIENCE = 30000,   /* milliseconds for one life, thousands of times what it takes */
    CLEAN_EVERY = 10,   /* so many injections, then a life that has to succeed */
    MOST = 20,          /* nth call of a kind, at most */
    MOST_RUN = 6,       /* for KVM_RUN and the accesses to files that are open: the rest is more of the same */
    SPARE_THREADS = 12, /* the Go runtime keeps threads that are idle now; a leak in each life would exceed this */
    ERRORS = 4,
    EVENTFD = 1,
    STREAM = 2, /* kinds of read and write */
};

/* A kind of call: a system call, and for ioctl and fcntl which one, for read and write of what. */
struct kind {
    int nr;
    uint64_t sub;
    int seen; /* in the present life */
    int cold; /* in the first life of a process */
    int warm; /* in a later one */
};

struct job {
    int kind, nth, error, cold;
};

struct totals {
    int passed, failed, missed;
};

struct client {
    pid_t pid;
    int control, listener;
    struct page *page;
    int poller;     /* calls the Go runtime has made for its own poller, 3 in the end */
    uint32_t owner; /* the thread that makes them */
    int threads;    /* of the process after a first clean life; 0: not known */
};

static struct kind kinds[KINDS];
static int n_kinds, verbose;
static struct job jobs[JOBS];
static int n_jobs;
static uint64_t instruction; /* of the library's system calls, from the start of libcapsa.so; 0: not known yet */
static char **client_argv;
static struct client it;
static const struct job *current; /* NULL: nothing is injected */
static int hit;                   /* current has been injected */
static long spent;                /* milliseconds of the last life */

static void die(const char *what) {
    fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
    exit(2);
}

static const char *kind_name(const struct kind *k) {
    static char text[80];
    const char *call = name_of(calls, COUNT(calls), (uint64_t)k->nr);
    const char *sub = k->nr == SYS_ioctl ? name_of(ioctls, COUNT(ioctls), k->sub) : NULL;

    if (k->nr == SYS_read) sub = k->sub == EVENTFD ? "read of eventfd" : "read";
    if (k->nr == SYS_write) sub = k->sub == EVENTFD ? "write of eventfd" : "write";
    if (k->nr == SYS_fcntl) sub = name_of(fcntls, COUNT(fcntls), k->sub);
    if (sub)
        snprintf(text, sizeof text, "%s", sub);
    else if (call && (k->nr == SYS_ioctl || k->nr == SYS_fcntl || k->nr == SYS_epoll_ctl))
        snprintf(text, sizeof text, "%s(%#llx)", call, (unsigned long long)k->sub);
    else if (call)
        snprintf(text, sizeof text, "%s", call);
    else
        snprintf(text, sizeof text, "system call %d", k->nr);
    return text;
}

static const char *error_name(int error) {
    const char *name = strerrorname_np(error);
    return name ? name : "?";
}

static int is_eventfd(int fd) {
    char path[60], what[60];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", it.pid, fd);
    ssize_t n = readlink(path, what, sizeof what);
    return n == 20 && !memcmp(what, "anon_inode:[eventfd]", 20);
}

static struct kind *kind_of(const struct seccomp_data *d) {
    uint64_t sub = d->nr == SYS_ioctl || d->nr == SYS_fcntl || d->nr == SYS_epoll_ctl ? d->args[1] : 0;
    int i = 0;

    if (d->nr == SYS_ioctl) sub &= 0xffffffff;
    if (d->nr == SYS_read || d->nr == SYS_write) sub = is_eventfd((int)d->args[0]) ? EVENTFD : STREAM;
    while (i < n_kinds && (kinds[i].nr != d->nr || kinds[i].sub != sub)) i++;
    if (i == KINDS) die("too many kinds of calls");
    if (i == n_kinds) kinds[n_kinds++] = (struct kind){.nr = d->nr, .sub = sub};
    return &kinds[i];
}

/* The errors that a kind of call may have; 0 ends the list. */
static void errors_of(const struct kind *k, int *list) {
    static const struct {
        int nr;
        uint64_t sub; /* 0: any */
        int errors[ERRORS];
    } table[] = {
        {SYS_ioctl, KVM_RUN, {EINTR, EAGAIN, EFAULT, ENOMEM}},
        {SYS_ioctl, KVM_CREATE_VM, {EMFILE, ENOMEM, EINTR}},
        {SYS_ioctl, KVM_CREATE_VCPU, {EMFILE, ENOMEM, EEXIST}},
        {SYS_ioctl, KVM_IRQFD, {ENOMEM, EMFILE, EBUSY}},
        {SYS_ioctl, KVM_IOEVENTFD, {ENOMEM, ENOSPC, EEXIST}},
        {SYS_ioctl, KVM_CHECK_EXTENSION, {EINVAL}}, /* an old kernel, which does not know it */
        {SYS_ioctl, 0, {ENOMEM, EIO, EINTR}},
        {SYS_mmap, 0, {ENOMEM, EAGAIN, ENFILE}},
        {SYS_mprotect, 0, {ENOMEM}},
        {SYS_madvise, 0, {ENOMEM, EINVAL, EAGAIN}},
        {SYS_openat, 0, {EMFILE, ENFILE, ENOMEM, EIO}},
        {SYS_memfd_create, 0, {EMFILE, ENFILE, ENOMEM}},
        {SYS_eventfd2, 0, {EMFILE, ENFILE, ENOMEM}},
        {SYS_socket, 0, {EMFILE, ENFILE, ENOMEM}},
        {SYS_socketpair, 0, {EMFILE, ENFILE, ENOMEM}},
        {SYS_accept4, 0, {EMFILE, ENFILE, ENOMEM, EINTR}},
        {SYS_epoll_ctl, 0, {ENOMEM, ENOSPC}},
        {SYS_read, EVENTFD, {EINTR}}, /* nothing else can happen to an eventfd */
        {SYS_write, EVENTFD, {EINTR}},
        {SYS_read, 0, {EIO, EINTR}},
        {SYS_pread64, 0, {EIO, EINTR, ENOMEM}},
        {SYS_write, 0, {EIO, EINTR, ENOSPC}},
        {SYS_pwrite64, 0, {EIO, EINTR, ENOSPC}},
        {SYS_ftruncate, 0, {ENOSPC, EIO, EINTR}},
        {SYS_fallocate, 0, {ENOSPC, EIO, EINTR, EOPNOTSUPP}},
        {SYS_fsync, 0, {EIO, ENOSPC}},
        {SYS_fdatasync, 0, {EIO, ENOSPC}},
        {SYS_fcntl, F_GETFL, {0}}, /* these cannot fail on a descriptor that is open */
        {SYS_fcntl, F_SETFL, {0}},
        {SYS_fcntl, F_DUPFD_CLOEXEC, {EMFILE}},
        {SYS_fcntl, 0, {ENOMEM, EAGAIN, EINTR}},
        {SYS_ppoll, 0, {EINTR, ENOMEM}},
        {SYS_uname, 0, {0}}, /* these cannot fail */
        {SYS_sysinfo, 0, {0}},
        {SYS_getrlimit, 0, {0}},
        {SYS_prlimit64, 0, {0}},
        {SYS_getuid, 0, {0}},
        {SYS_geteuid, 0, {0}},
        {SYS_getgid, 0, {0}},
        {SYS_getegid, 0, {0}},
        {SYS_getppid, 0, {0}},
    };
    static const int others[ERRORS] = {ENOMEM, EIO, EINTR};
    const int *found = others;

    for (unsigned i = 0; i < COUNT(table); i++)
        if (table[i].nr == k->nr && (!table[i].sub || table[i].sub == k->sub)) {
            found = table[i].errors;
            break;
        }
    memcpy(list, found, ERRORS * sizeof *list);
}

/* The Go runtime makes its poller when a program first needs it, by the same instruction, and cannot live without. */
static int of_runtime(const struct seccomp_notif *ask) {
    static const int sequence[] = {SYS_epoll_create1, SYS_eventfd2, SYS_epoll_ctl};

    if (it.poller == COUNT(sequence) || ask->data.nr != sequence[it.poller]) return 0;
    if (it.poller && ask->pid != it.owner) return 0;
    it.owner = ask->pid;
    it.poller++;
    return 1;
}

/* Answers one question of the client's filter. */
static void answer(void) {
    struct seccomp_notif ask;
    struct seccomp_notif_resp reply;

    memset(&ask, 0, sizeof ask);
    if (ioctl(it.listener, SECCOMP_IOCTL_NOTIF_RECV, &ask)) return; /* a signal came first: it asks again */
    memset(&reply, 0, sizeof reply);
    reply.id = ask.id;
    reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    uint64_t from = ask.data.instruction_pointer - it.page->base;
    if (!instruction && ask.data.nr == SYS_ioctl && ask.data.args[1] == KVM_CREATE_VM) instruction = from;
    if (from == instruction && !of_runtime(&ask) && it.page->armed) {
        struct kind *k = kind_of(&ask.data);
        k->seen++;
        if (current && !hit && k == &kinds[current->kind] && k->seen == current->nth) {
            hit = 1;
            reply.flags = 0;
            reply.error = -current->error;
        }
    }
    /* ENOENT: the call has been interrupted meanwhile, and comes again. */
    if (ioctl(it.listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) && errno == ENOENT && hit && !reply.flags) hit = 0;
}

/* Serves the client until it says something: true; or dies or takes too long: false. */
static int serve(void) {
    struct pollfd fds[2] = {{it.control, POLLIN, 0}, {it.listener, POLLIN, 0}};
    struct timespec from, now;
    char byte;

    clock_gettime(CLOCK_MONOTONIC, &from);
    for (;;) {
        if (poll(fds, it.listener < 0 ? 1 : 2, 1000) < 0 && errno != EINTR) die("poll");
        if (it.listener >= 0 && fds[1].revents & POLLIN) answer();
        if (fds[0].revents) return read(it.control, &byte, 1) == 1;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - from.tv_sec) * 1000 > PATIENCE) return 0;
    }
}

/* Ends the client; says how it ended by itself, or that it did not. */
static const char *finish(void) {
    static char text[80];
    int status = 0;

    if (!it.pid) return "";
    close(it.control);
    snprintf(text, sizeof text, "it hung");
    pid_t ended = 0;
    for (int i = 0; i < 50 && !(ended = waitpid(it.pid, &status, WNOHANG)); i++) {
        struct pollfd p = {it.listener, POLLIN, 0};
        if (it.listener >= 0 && poll(&p, 1, 20) > 0 && p.revents & POLLIN) answer();
    }
    if (!ended) {
        kill(it.pid, SIGKILL);
        waitpid(it.pid, &status, 0);
    } else if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "it died of signal %d", WTERMSIG(status));
    else
        snprintf(text, sizeof text, "it ended with status %d", WEXITSTATUS(status));
    if (it.listener >= 0) close(it.listener);
    munmap(it.page, sizeof *it.page);
    it = (struct client){.listener = -1};
    return text;
}

static void launch(void) {
    int pair[2], memory = memfd_create("page", MFD_CLOEXEC);

    if (memory < 0 || ftruncate(memory, sizeof *it.page)) die("page");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) die("socketpair");
    it = (struct client){.control = pair[0], .listener = -1};
    it.page = mmap(NULL, sizeof *it.page, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (it.page == MAP_FAILED) die("mmap");
    it.pid = fork();
    if (it.pid < 0) die("fork");
    if (!it.pid) {
        int a = fcntl(pair[1], F_DUPFD, 20), b = fcntl(memory, F_DUPFD, 20);
        dup2(a, CONTROL_FD);
        dup2(b, PAGE_FD);
        close_range(PAGE_FD + 1, ~0u, 0);
        execv(client_argv[0], client_argv);
        _exit(127);
    }
    close(pair[1]);
    close(memory);
    if (!serve()) die("the client does not start");
    int process = (int)syscall(SYS_pidfd_open, it.pid, 0);
    it.listener = (int)syscall(SYS_pidfd_getfd, process, it.page->listener, 0);
    if (it.listener < 0) die("pidfd_getfd");
    close(process);
    if (write(it.control, "g", 1) != 1 || !serve()) die("the client does not go on");
}

/* Has the client live once, with an injection or NULL. False: there is no client any more, and text says why. */
static int live(const struct job *j, const char **text) {
    struct timespec from, to;

    for (int i = 0; i < n_kinds; i++) kinds[i].seen = 0;
    current = j;
    hit = 0;
    it.page->error = j ? j->error : 0;
    it.page->untold = j && kinds[j->kind].nr == SYS_epoll_ctl;
    it.page->in_run = j && kinds[j->kind].nr == SYS_ioctl && kinds[j->kind].sub == KVM_RUN;
    it.page->threads_max = it.threads ? it.threads + SPARE_THREADS : 1000;
    *text = it.page->text;
    clock_gettime(CLOCK_MONOTONIC, &from);
    int alive = write(it.control, "g", 1) == 1 && serve();
    clock_gettime(CLOCK_MONOTONIC, &to);
    spent = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    if (!alive) *text = finish();
    return alive;
}

static void must_live(int warm) {
    const char *text;
    if (!live(NULL, &text) || it.page->wrong || it.page->failed) {
        fprintf(stderr, "faults: without any injection: %s\n", text);
        exit(1);
    }
    if (warm && !it.threads) it.threads = it.page->threads;
}

/* First pass: which calls are made, how often, in the first life of a process and in later ones. */
static void record(void) {
    launch();
    must_live(0); /* finds the instruction */
    finish();
    launch();
    must_live(0);
    for (int i = 0; i < n_kinds; i++) kinds[i].cold = kinds[i].seen;
    for (int round = 0; round < 3; round++) {
        must_live(1);
        for (int i = 0; i < n_kinds; i++)
            if (kinds[i].seen > kinds[i].warm) kinds[i].warm = kinds[i].seen;
    }
    finish();
}

static void plan(const char *only) {
    for (int i = 0; i < n_kinds; i++) {
        struct kind *k = &kinds[i];
        int list[ERRORS], cold = k->cold > k->warm;
        int most = cold ? k->cold : k->warm;

        errors_of(k, list);
        printf("  %-28s %3d in a first life, %3d in others%s\n", kind_name(k), k->cold, k->warm,
               list[0] ? "" : "; cannot fail");
        if (only && !strstr(kind_name(k), only)) continue;
        int limit = k->sub == KVM_RUN || k->nr == SYS_read || k->nr == SYS_write ? MOST_RUN : cold ? most : MOST;
        for (int n = 1; n <= most && n <= limit; n++)
            for (int e = 0; e < ERRORS && list[e] && n_jobs < JOBS; e++)
                jobs[n_jobs++] = (struct job){i, n, list[e], cold};
    }
}

static void report(struct totals *t, const struct job *j, int bad, const char *text) {
    if (bad)
        t->failed++;
    else if (!hit)
        t->missed++;
    else
        t->passed++;
    if (bad || verbose)
        printf("%s [%ld ms] %s of %s no. %d%s: %s\n",
               bad   ? "FAILED "
               : hit ? "ok     "
                     : "missed ",
               spent, error_name(j->error), kind_name(&kinds[j->kind]), j->nth, j->cold ? ", first life" : "",
               *text ? text : "survived");
    fflush(stdout);
}

/* A life after an injection has to be as if nothing had been. */
static void clean_life(struct totals *t, const struct job *j) {
    const char *text;
    if (!live(NULL, &text)) {
        report(t, j, 1, text);
    } else if (it.page->wrong || it.page->failed) {
        printf("in the life after it: ");
        report(t, j, 1, text);
        finish();
    }
}

/* One injection; in a process of its own when it has to be in the first life. */
static void run_job(struct totals *t, const struct job *j, int clean) {
    const char *text;

    if (j->cold || !it.pid) {
        finish();
        launch();
        if (!j->cold) {
            must_live(0);
            must_live(0);
            must_live(1);
        }
    }
    for (int attempt = 0; attempt < 3; attempt++) {
        if (!live(j, &text)) {
            report(t, j, 1, text);
            return;
        }
        if (hit || it.page->wrong || j->cold) break;
    }
    int bad = it.page->wrong;
    report(t, j, bad, text);
    if (!bad && (clean || j->cold)) clean_life(t, j);
    if (bad || j->cold) finish();
}

/* Does every nth job, in a child of its own. */
static pid_t worker(struct totals *t, int number, int workers, char *directory) {
    pid_t pid = fork();
    if (pid) return pid;
    char *own = NULL;
    if (asprintf(&own, "%s/%d", directory, number) < 0) die("asprintf");
    mkdir(own, 0700);
    client_argv[3] = own;
    for (int i = number, n = 1; i < n_jobs; i += workers, n++) run_job(t, &jobs[i], n % CLEAN_EVERY == 0);
    finish();
    exit(0);
}

int main(int argc, char **argv) {
    const char *only = NULL;
    int workers = 2, option, status;
    struct totals sum = {0, 0, 0}, *totals;
    struct timespec from, to;

    while ((option = getopt(argc, argv, "vk:j:")) != -1) {
        if (option == 'v')
            verbose = 1;
        else if (option == 'k')
            only = optarg;
        else if (option == 'j')
            workers = atoi(optarg);
        else
            return 2;
    }
    if (argc - optind != 4 || workers < 1 || workers > 16) return 2;
    client_argv = argv + optind; /* ends with NULL, as argv does */
    it.listener = -1;
    signal(SIGPIPE, SIG_IGN);
    clock_gettime(CLOCK_MONOTONIC, &from);
    record();
    plan(only);
    printf("  %d injections\n", n_jobs);
    fflush(stdout);

    char *directory = client_argv[3];
    totals = mmap(NULL, 16 * sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED) die("mmap");
    for (int i = 0; i < workers; i++) worker(&totals[i], i, workers, directory);
    while (wait(&status) > 0)
        if (status) sum.failed++;
    for (int i = 0; i < workers; i++) {
        sum.passed += totals[i].passed;
        sum.failed += totals[i].failed;
        sum.missed += totals[i].missed;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("faults: %d injections into %d kinds of calls in %ld s; %d calls did not come again\n",
           sum.passed + sum.failed, n_kinds, (long)(to.tv_sec - from.tv_sec), sum.missed);
    printf("%d passed, %d failed\n", sum.passed, sum.failed);
    /* The counts of the first pass have to hold, or too little has been tried. */
    return sum.failed || !sum.passed || sum.missed * 10 > n_jobs;
}
