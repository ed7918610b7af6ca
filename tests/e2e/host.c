/* host.c - the host's tools and images; see host.h. */
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Runs a command and takes its output; its exit status. */
static int take(const char *command, char *text, size_t size) {
    size_t len = 0, n;
    char full[8192];

    snprintf(full, sizeof full, "{ %s\n} </dev/null 2>&1", command);
    FILE *f = popen(full, "re");
    if (!f) FAIL("%s: %s", command, strerror(errno));
    while (len < size - 1 && (n = fread(text + len, 1, size - 1 - len, f)) > 0) len += n;
    text[len] = 0;
    while (len && text[len - 1] == '\n') text[--len] = 0;
    int status = pclose(f);
    if (status < 0 || !WIFEXITED(status)) FAIL("%s: ended with %#x: %s", command, status, text);
    if (WEXITSTATUS(status)) printf("  $ %s\n%s\n", command, text);
    return WEXITSTATUS(status);
}

#define FORMATTED(command, format)                                                                                    \
    do {                                                                                                              \
        va_list args_;                                                                                                \
        va_start(args_, format);                                                                                      \
        vsnprintf(command, sizeof command, format, args_);                                                            \
        va_end(args_);                                                                                                \
    } while (0)

int host_status(const char *format, ...) {
    char command[4096], text[64 << 10];

    FORMATTED(command, format);
    return take(command, text, sizeof text);
}

void host(const char *format, ...) {
    char command[4096], text[64 << 10];

    FORMATTED(command, format);
    int status = take(command, text, sizeof text);
    CHECK(status == 0, "\"%s\" ended with %d (missing tools: scripts/setup.sh)", command, status);
}

const char *host_text(const char *format, ...) {
    enum { size = 64 << 10 };
    char command[4096], *text = malloc(size);

    FORMATTED(command, format);
    int status = text ? take(command, text, size) : -1;
    CHECK(status == 0, "\"%s\" ended with %d (missing tools: scripts/setup.sh)", command, status);
    return text;
}

const char *scratch_file(const char *name) {
    char *path = NULL;
    int n = asprintf(&path, "%s/%s", scratch(), name);

    CHECK(n > 0, "no memory");
    return path;
}

long long room(const char *path) {
    struct stat s;

    CHECK(stat(path, &s) == 0, "%s: %s", path, strerror(errno));
    return (long long)s.st_blocks * 512;
}

void add_disk(capsa_builder *b, disk d) {
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;

    o.format = d.format;
    o.flags = d.flags;
    o.overlay = d.overlay;
    if (d.flags & CAPSA_DISK_TEMPORARY) o.scratch_dir = scratch();
    if (d.backing_dir) {
        o.backing_dirs = &d.backing_dir;
        o.n_backing_dirs = 1;
    }
    OK(capsa_builder_add_disk(b, d.path, &o, &err));
}

/* ---- Images that no machine uses any more -------------------------------------------------------------------- */

void check_qcow2(const char *path, int crashed) {
    enum { leaks = 3 }; /* exit status of qemu-img check */
    int status = host_status("qemu-img check -q -f qcow2 '%s'", path);

    CHECK(status == 0 || (crashed && status == leaks), "qemu-img check of %s ended with %d", path, status);
}

const char *raw_copy(const char *path, const char *name) {
    const char *raw = scratch_file(name);

    host("qemu-img convert -O raw '%s' '%s'", path, raw);
    return raw;
}

void check_unmounted(const char *raw) {
    const char *features = host_text("dumpe2fs -h '%s' 2>/dev/null", raw);

    CHECK(!strstr(features, "needs_recovery"), "%s was not unmounted:\n%s", raw, features);
    host("e2fsck -f -n '%s'", raw);
}

void check_recovers(const char *raw) {
    enum { corrected = 1 }; /* exit status of e2fsck: journal replayed, orphans released */
    int status = host_status("e2fsck -f -p '%s'", raw);

    CHECK(status == 0 || status == corrected, "e2fsck -p of %s ended with %d", raw, status);
    host("e2fsck -f -n '%s'", raw);
}
