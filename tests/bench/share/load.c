/* load DIR SCALE - what programs do with files, in numbers of operations that are SCALE times small ones: fio's psync
 * engine, stat(2), tar. Each measure is printed as a line "@ UNIT VALUE NAME"; the directory is left empty. */
#define _GNU_SOURCE
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    passes = 2,         /* over the files of a directory */
    block = 1 << 20,    /* of sequential reads and writes */
    small = 4096,       /* of the others */
    leaves = 8,         /* files in each directory that is unpacked */
    tidy_name_max = 32, /* bytes of a name made here */
};

/* How many there are with a scale of 1. */
static int many = 40, trees = 3, blocks = 4, randoms = 60;

static char *data; /* a block */

static double seconds(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const char *name, const char *unit, double value) {
    printf("@ %s %.6g %s\n", unit, value, name);
    fflush(stdout);
}

static _Noreturn void fail(const char *what) {
    printf("load: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

static const char *name(int i) {
    static char text[tidy_name_max];

    snprintf(text, sizeof text, "file%d", i);
    return text;
}

static int make(int dir, const char *path, size_t size) {
    int fd = openat(dir, path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size) fail("write");
    return fd;
}

/* ---- Names and attributes -------------------------------------------------------------------------------------- */

static void attributes(int dir) {
    struct stat st;

    for (int i = 0; i < many; i++) close(make(dir, name(i), 10));
    double begin = seconds();
    for (int i = 0; i < passes * many; i++)
        if (fstatat(dir, name(i % many), &st, 0) < 0) fail("stat");
    report("stat", "1/s", passes * many / (seconds() - begin));

    begin = seconds();
    for (int i = 0; i < passes * many; i++) {
        int fd = openat(dir, name(i % many), O_RDONLY | O_CLOEXEC);
        if (fd < 0) fail("open");
        close(fd);
    }
    report("open and close", "1/s", passes * many / (seconds() - begin));

    int seen = 0;
    begin = seconds();
    for (int i = 0; i < passes; i++) { /* as ls -l */
        int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fdopendir(fd);
        if (!d) fail("opendir");
        for (struct dirent *e; (e = readdir(d));)
            if (e->d_name[0] != '.' && ++seen && fstatat(dir, e->d_name, &st, 0) < 0) fail("stat");
        closedir(d);
    }
    if (seen != passes * many) fail("readdir");
    report("readdir with stat, entries", "1/s", seen / (seconds() - begin));
    for (int i = 0; i < many; i++) unlinkat(dir, name(i), 0);
}

/* What tar does with a source tree, and rm -r. */
static void unpack(int dir) {
    static const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    char tree[tidy_name_max];
    double begin = seconds();

    for (int i = 0; i < trees; i++) {
        snprintf(tree, sizeof tree, "tree%d", i);
        if (mkdirat(dir, tree, 0755) < 0) fail("mkdir");
        int sub = openat(dir, tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int k = 0; k < leaves; k++) {
            int fd = make(sub, name(k), small);
            if (futimens(fd, times) < 0 || fchmod(fd, 0640) < 0) fail("futimens");
            close(fd);
        }
        close(sub);
    }
    report("untar, files", "1/s", trees * leaves / (seconds() - begin));
    begin = seconds();
    for (int i = 0; i < trees; i++) {
        snprintf(tree, sizeof tree, "tree%d", i);
        int sub = openat(dir, tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int k = 0; k < leaves; k++)
            if (unlinkat(sub, name(k), 0) < 0) fail("unlink");
        close(sub);
        if (unlinkat(dir, tree, AT_REMOVEDIR) < 0) fail("rmdir");
    }
    report("remove, files", "1/s", trees * leaves / (seconds() - begin));
}

/* ---- Data ------------------------------------------------------------------------------------------------------ */

static void sequential(int fd, const char *what, ssize_t (*call)(int, void *, size_t, off_t)) {
    double begin = seconds();

    for (off_t at = 0; at < (off_t)blocks * block; at += block)
        if (call(fd, data, block, at) != block) fail(what);
    report(what, "bit/s", 8.0 * blocks * block / (seconds() - begin));
}

static void scattered(int fd, const char *what, ssize_t (*call)(int, void *, size_t, off_t)) {
    unsigned state = 1;
    double begin = seconds();

    for (int i = 0; i < randoms; i++) {
        state = state * 1103515245 + 12345;
        if (call(fd, data, small, (off_t)(state >> 8) % (blocks * (block / small)) * small) != small) fail(what);
    }
    report(what, "1/s", randoms / (seconds() - begin));
}

static ssize_t put(int fd, void *p, size_t n, off_t at) { return pwrite(fd, p, n, at); }

static void bulk(int dir) {
    int fd = make(dir, "big", 0);

    sequential(fd, "psync write of 1 MiB", put); /* makes the file */
    sequential(fd, "psync rewrite of 1 MiB", put);
    sequential(fd, "psync read of 1 MiB", pread);
    scattered(fd, "psync random read of 4 KiB", pread);
    scattered(fd, "psync random write of 4 KiB", put);
    close(fd);
    unlinkat(dir, "big", 0);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int scale = atoi(argv[2]);
    int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    many *= scale;
    trees *= scale;
    blocks *= scale;
    randoms *= scale;
    if (dir < 0) fail(argv[1]);
    if (posix_memalign((void **)&data, 4096, block)) fail("memory");
    for (int i = 0; i < block; i++) data[i] = (char)i;
    attributes(dir);
    unpack(dir);
    bulk(dir);
    close(dir);
    free(data);
    return 0;
}
