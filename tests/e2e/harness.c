/* harness.c - runs tests, each in a process of its own; see harness.h. */
#define _GNU_SOURCE
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

capsa_error *err;

void report_guests(void); /* guest.c */

static test *tests, **last = &tests;

void test_register(test *t) {
    *last = t;
    last = &t->next;
}

double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int emulated(void) {
    static int known = -1;

    if (known < 0) {
        const char *s = getenv("E2E_EMULATED");
        known = s && *s && strcmp(s, "0");
    }
    return known;
}

int64_t patience(int64_t ms) { return emulated() ? ms * 5 : ms; }

/* ---- Checks ------------------------------------------------------------------------------------------------- */

void fail_at(const char *file, int line, const char *format, ...) {
    va_list args;

    printf("%s:%d: ", file, line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    report_guests();
    fflush(stdout);
    _exit(1);
}

static void print_error(void) {
    size_t len;
    const char *tail = capsa_error_console_tail(err, &len);

    printf("  message:   %s\n  hint:      %s\n  component: %s\n  detail:    %s\n", capsa_error_message(err),
           capsa_error_hint(err), capsa_error_component(err), capsa_error_detail_json(err));
    if (len) printf("  console:   %s\n", tail);
}

void ok_at(const char *file, int line, const char *call, capsa_status status) {
    if (status == CAPSA_OK) {
        if (err) fail_at(file, line, "%s succeeded and gave an error object", call);
        return;
    }
    print_error();
    fail_at(file, line, "%s: %s", call, capsa_status_name(status));
}

void refused_at(const char *file, int line, const char *call, capsa_status status, capsa_status want,
                const char *word) {
    if (status == CAPSA_OK) fail_at(file, line, "%s succeeded, want %s", call, capsa_status_name(want));
    if (!err) fail_at(file, line, "%s gave no error object", call);
    if (capsa_status_class(status) != want || capsa_error_code(err) != status) {
        print_error();
        fail_at(file, line, "%s: %s (error object: %s), want %s", call, capsa_status_name(status),
                capsa_status_name(capsa_error_code(err)), capsa_status_name(want));
    }
    const char *message = capsa_error_message(err), *hint = capsa_error_hint(err),
               *detail = capsa_error_detail_json(err);
    if (strlen(message) < 10) fail_at(file, line, "%s: the message is only \"%s\"", call, message);
    if (word && !strcasestr(message, word) && !strcasestr(hint, word) && !strcasestr(detail, word)) {
        print_error();
        fail_at(file, line, "%s: neither message nor hint says \"%s\"", call, word);
    }
    printf("  %s: %s\n      %s\n", capsa_status_name(status), message, hint);
    capsa_error_free(err);
    err = NULL;
}

/* ---- One test, in the child --------------------------------------------------------------------------------- */

/* Ends a test that takes too long, and says what its guests were at. */
static void *watchdog(void *seconds) {
    struct timespec end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += *(int *)seconds;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        ;
    printf("time is up\n");
    fflush(stdout);
    report_guests();
    fflush(stdout);
    _exit(1);
}

/* How often a test is tried on an emulated processor; see run_test. */
enum { tries = 3 };

/* A test's limit in seconds. Under emulation it is long; what hangs there is to be found out soon, so only the last try
 * has all of it. E2E_SECONDS, for a person who looks for a fault, is another one for all. */
static int limit(const test *t) {
    const char *seconds = getenv("E2E_SECONDS"), *try = getenv("E2E_TRY");

    if (seconds && atoi(seconds) > 0) return atoi(seconds);
    if (!emulated()) return t->seconds;
    return t->seconds * (try && atoi(try) == tries ? 5 : 2);
}

static int run_here(test *t) {
    int seconds = limit(t);
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, watchdog, &seconds)) FAIL("no watchdog");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    t->run();
    return 0;
}

/* ---- All tests, in the parent ------------------------------------------------------------------------------- */

static int run_child(const char *self, const test *t, const char *name) {
    pid_t pid = fork();
    int status;

    if (pid < 0) {
        perror("fork");
        exit(2);
    }
    if (pid == 0) {
        execl(self, self, "--one", name, (char *)NULL);
        perror(self);
        _exit(127);
    }
    /* The child's own watchdog says more; this one is for a child that cannot run it. */
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    double end = now() + limit(t) + 60;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        double left = end - now();
        struct timespec wait = {.tv_sec = left > 1 ? (time_t)left : 1};
        if (left <= 0) {
            printf("%s does not end; killed\n", name);
            kill(pid, SIGKILL);
        }
        sigtimedwait(&child, NULL, &wait);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 1;
    if (WIFSIGNALED(status))
        printf("%s: ended by signal %d (%s)\n", name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    return 0;
}

/* Whether a test is among the wanted ones: patterns are "group", "group.name", or with wildcards. */
static int wanted(const char *name, const char *group, char **patterns) {
    if (!*patterns) return 1;
    for (; *patterns; patterns++)
        if (!fnmatch(*patterns, name, 0) || !fnmatch(*patterns, group, 0)) return 1;
    return 0;
}

/*
 * Runs a test, and again when it failed on an emulated processor: under load QEMU's emulation of SVM now and then goes
 * wrong (a nested guest is left with the state of its host), whichever machine monitor runs the guest, which then faults
 * three times or hangs. A defect of the library fails every time. The lines "again" keep count honest; on a real
 * processor there is no second try.
 */
static int run_test(const char *self, const test *t, const char *name, int *again) {
    int most = emulated() ? tries : 1;

    for (int try = 1;; try++) {
        char number[16];
        snprintf(number, sizeof number, "%d", try);
        setenv("E2E_TRY", number, 1);
        if (run_child(self, t, name)) return 1;
        if (try == most) return 0;
        printf("again %s\n", name);
        fflush(stdout);
        *again += 1;
    }
}

/* ---- The record ---------------------------------------------------------------------------------------------- */

/*
 * Several runs share the tests when E2E_RECORD is a directory of theirs and E2E_SHARD, a word without spaces, tells them
 * apart: a link NAME -> SHARD there says who runs a test, and the file SHARD.results how those of one have ended, a line
 * each. A run that is started again, because the machine it was in is lost, goes on where it was.
 */
static const char *shard;
static char record_dir[200];
static FILE *results;

static void open_record(void) {
    const char *dir = getenv("E2E_RECORD");
    char path[300];

    if (!dir || !*dir) return;
    shard = getenv("E2E_SHARD");
    if (!shard || !*shard) shard = "one";
    snprintf(record_dir, sizeof record_dir, "%s", dir);
    snprintf(path, sizeof path, "%s/%s.results", dir, shard);
    results = fopen(path, "a+e");
    if (!results) {
        perror(path);
        exit(2);
    }
}

/* Whether a test is this run's: nobody's before, or its own. */
static int claimed(const char *name) {
    char path[500], owner[100];

    if (!results) return 1;
    snprintf(path, sizeof path, "%s/%s", record_dir, name);
    if (!symlink(shard, path)) return 1;
    if (errno != EEXIST) {
        perror(path);
        exit(2);
    }
    ssize_t n = readlink(path, owner, sizeof owner - 1);
    if (n < 0) {
        perror(path);
        exit(2);
    }
    owner[n] = 0;
    return !strcmp(owner, shard);
}

/* 1 or 0 for a test that has passed or failed before, else -1. */
static int recorded(const char *name) {
    char line[300], passed[300], failed[300];
    int result = -1;

    if (!results) return -1;
    snprintf(passed, sizeof passed, "ok %s\n", name);
    snprintf(failed, sizeof failed, "FAILED %s\n", name);
    rewind(results);
    while (fgets(line, sizeof line, results)) {
        if (!strcmp(line, passed)) result = 1;
        if (!strcmp(line, failed)) result = 0;
    }
    return result;
}

static void note(const char *name, int good) {
    if (!results) return;
    fprintf(results, "%s %s\n", good ? "ok" : "FAILED", name);
    fflush(results);
}

static int run_all(const char *self, char **patterns) {
    int passed = 0, failed = 0, again = 0, others = 0;
    char name[256];
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    open_record();
    for (test *t = tests; t; t = t->next) {
        snprintf(name, sizeof name, "%s.%s", t->group, t->name);
        if (!wanted(name, t->group, patterns)) continue;
        if (!claimed(name)) {
            others++;
            continue;
        }
        int good = recorded(name);
        if (good >= 0) {
            *(good ? &passed : &failed) += 1;
            continue;
        }
        double begin = now();
        printf("== %s\n", name);
        fflush(stdout);
        good = run_test(self, t, name, &again);
        note(name, good);
        *(good ? &passed : &failed) += 1;
        printf("%s %s (%.1f s)\n", good ? "ok" : "FAILED", name, now() - begin);
        fflush(stdout);
    }
    if (passed + failed + others == 0) {
        printf("no such test\n");
        return 2;
    }
    if (again) printf("%d second and third tries\n", again);
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc >= 2 && !strcmp(argv[1], "--list")) {
        char name[256];
        for (test *t = tests; t; t = t->next) {
            snprintf(name, sizeof name, "%s.%s", t->group, t->name);
            if (wanted(name, t->group, argv + 2)) printf("%s\n", name);
        }
        return 0;
    }
    if (argc == 3 && !strcmp(argv[1], "--one")) {
        char name[256];
        for (test *t = tests; t; t = t->next) {
            snprintf(name, sizeof name, "%s.%s", t->group, t->name);
            if (!strcmp(name, argv[2])) return run_here(t);
        }
        return 2;
    }
    return run_all("/proc/self/exe", argv + 1);
}
