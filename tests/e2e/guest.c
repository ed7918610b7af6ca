/* guest.c - guests and files for the tests; see harness.h. */
#define _GNU_SOURCE
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const kind ours = {"bzImage", "initrd.cpio"};
const kind stock = {"stock-vmlinuz", "stock.cpio"};
const kind vmlinux = {"vmlinux", "initrd.cpio"};
const kind large = {"bzImage", "large.cpio"};

enum { kept = 8 };

/* ---- Files -------------------------------------------------------------------------------------------------- */

const char *image(const char *name) {
    static char paths[kept][4096];
    static int next;
    const char *dir = getenv("E2E_GUEST");
    char *path = paths[next++ % kept];

    snprintf(path, sizeof paths[0], "%s/%s", dir ? dir : "build/guest", name);
    return path;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f) {
    (void)s, (void)type, (void)f;
    return remove(path);
}

static char directory[64];

static void remove_directory(void) { nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

const char *scratch(void) {
    if (!*directory) {
        strcpy(directory, "/tmp/capsa-e2e-XXXXXX");
        if (!mkdtemp(directory)) FAIL("mkdtemp: %s", strerror(errno));
        atexit(remove_directory);
    }
    return directory;
}

const char *file_of(const void *data, size_t len) {
    static char paths[kept][128];
    static int next;
    char *path = paths[next % kept];

    snprintf(path, sizeof paths[0], "%s/file%d", scratch(), next++);
    FILE *f = fopen(path, "we");
    if (!f || fwrite(data, 1, len, f) != len || fclose(f)) FAIL("%s: %s", path, strerror(errno));
    return path;
}

uint8_t *slurp(const char *path, size_t *len) {
    FILE *f = fopen(path, "re");
    struct stat s;

    if (!f || fstat(fileno(f), &s)) FAIL("%s: %s", path, strerror(errno));
    *len = (size_t)s.st_size;
    uint8_t *data = malloc(*len + 1);
    if (!data || fread(data, 1, *len, f) != *len) FAIL("%s: cannot read", path);
    fclose(f);
    return data;
}

/* ---- Guests ------------------------------------------------------------------------------------------------- */

static guest running[kept];
static int guests;

/* Prints the last part of a guest's console, through a reader of its own: the test's may be in use. */
static void report_console(capsa_vm *vm) {
    enum { room = 1 << 20, shown = 3000 };
    static char all[room + 1];
    size_t total = 0, len = 0;
    capsa_console *c = NULL;

    if (capsa_vm_console(vm, &c, NULL) != CAPSA_OK) return;
    while (total < room && capsa_console_read(c, 0, NULL, all + total, room - total, &len, NULL) == CAPSA_OK && len)
        total += len;
    capsa_console_free(c);
    printf("\n-- console, last of %zu bytes:\n", total);
    fwrite(total > shown ? all + total - shown : all, 1, total > shown ? shown : total, stdout);
}

/* Says what the test's guests were at, for a person who looks at a failure. */
void report_guests(void) {
    for (int i = 0; i < guests; i++) {
        capsa_vm *vm = running[i].vm;
        capsa_output *log = NULL;
        char *json = NULL;
        size_t len = 0;
        uint32_t state = 0;

        if (capsa_vm_state(vm, &state, NULL) != CAPSA_OK) continue;
        printf("-- guest %d: state %u", i, state);
        if (capsa_vm_exit_json(vm, &json, NULL) == CAPSA_OK) printf(", exit %s", json);
        capsa_mem_free(json);
        json = NULL;
        if (capsa_vm_stats_json(vm, &json, NULL) == CAPSA_OK) printf("\n-- statistics %s", json);
        capsa_mem_free(json);
        if (capsa_vm_boot_log(vm, &log, NULL) == CAPSA_OK) {
            const char *text = capsa_output_data(log, &len);
            printf("\n-- serial port, last of %zu bytes:\n%s", len, len > 3000 ? text + len - 3000 : text);
        }
        capsa_output_free(log);
        report_console(vm);
        printf("\n--\n");
    }
}

int isolated(void) {
    const char *s = getenv("E2E_ISOLATION");

    return s && !strcmp(s, "process");
}

capsa_builder *builder_for(kind k) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new(&b, &err));
    if (isolated()) OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, 0, &err));
    OK(capsa_builder_boot_linux(b, image(k.kernel), k.initrd ? image(k.initrd) : NULL, &err));
    OK(capsa_builder_set_memory_mib(b, 256, &err));
    return b;
}

guest start(capsa_builder *builder) {
    guest g = {.builder = builder};

    OK(capsa_builder_build(builder, &g.vm, &err));
    OK(capsa_vm_console(g.vm, &g.console, &err));
    if (guests < kept) running[guests++] = g;
    OK(capsa_vm_start(g.vm, patience(10000), NULL, &err));
    return g;
}

guest boot(capsa_builder *builder) {
    double begin = now();
    guest g = start(builder);

    await_text(&g, "capsa# ");
    printf("  shell after %.2f s\n", now() - begin);
    return g;
}

guest boot_kind(kind k) { return boot(builder_for(k)); }

void await_text(guest *g, const char *text) {
    capsa_pattern p = CAPSA_PATTERN_INIT;

    p.kind = CAPSA_PATTERN_LITERAL;
    p.data = text;
    p.len = strlen(text);
    OK(capsa_console_expect(g->console, patience(60000), NULL, &p, 1, NULL, NULL, &err));
}

void type(guest *g, const char *line) {
    size_t written = 0, len = strlen(line);

    OK(capsa_console_write(g->console, patience(10000), NULL, line, len, &written, &err));
    CHECK_INT(written, len);
    OK(capsa_console_write(g->console, patience(10000), NULL, "\n", 1, &written, &err));
}

int run(guest *g, const char *command, const char **text) {
    static char copy[1 << 20];
    capsa_output *output = NULL;
    int32_t status = -1;
    size_t len;

    OK(capsa_console_run(g->console, patience(60000), NULL, command, &status, &output, &err));
    const char *data = capsa_output_data(output, &len);
    CHECK(len < sizeof copy, "the output of \"%s\" has %zu bytes", command, len);
    memcpy(copy, data, len);
    while (len && (copy[len - 1] == '\n' || copy[len - 1] == '\r')) len--;
    copy[len] = 0;
    capsa_output_free(output);
    if (text) *text = copy;
    return status;
}

const char *must(guest *g, const char *command) {
    const char *text;
    int status = run(g, command, &text);

    CHECK(status == 0, "\"%s\" ended with %d: %s", command, status, text);
    return text;
}

long long run_number(guest *g, const char *command) {
    const char *text;
    char *end;

    CHECK_INT(run(g, command, &text), 0);
    long long n = strtoll(text, &end, 10);
    CHECK(*text && !*end, "\"%s\" says \"%s\"", command, text);
    return n;
}

capsa_exit_info ended(guest *g, uint32_t cause) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;

    OK(capsa_vm_wait(g->vm, patience(60000), NULL, &info, &err));
    CHECK_INT(info.cause, cause);
    return info;
}

void await_serial(guest *g, const char *text) {
    double end = now() + (double)patience(60000) / 1000;

    /* The serial port is a log without events: looking again is all one can do. */
    for (int found = 0; !found; poll(NULL, 0, 20)) {
        capsa_output *log = NULL;
        OK(capsa_vm_boot_log(g->vm, &log, &err));
        found = strstr(capsa_output_data(log, NULL), text) != NULL;
        capsa_output_free(log);
        CHECK(found || now() < end, "the serial port does not say \"%s\"", text);
    }
}

const char *await_event(guest *g, uint32_t type, int64_t *value) {
    static char copy[4096];

    for (;;) {
        capsa_event e = CAPSA_EVENT_INIT;
        char *json = NULL;
        OK(capsa_vm_next_event(g->vm, patience(30000), NULL, &e, &json, &err));
        snprintf(copy, sizeof copy, "%s", json);
        capsa_mem_free(json);
        if (e.type != type) continue;
        if (value) *value = e.value;
        return copy;
    }
}

void discard(guest *g) {
    for (int i = 0; i < guests; i++)
        if (running[i].vm == g->vm) running[i] = running[--guests];
    capsa_console_free(g->console);
    capsa_vm_free(g->vm);
    capsa_builder_free(g->builder);
    *g = (guest){0};
}

void power_off(guest *g) {
    type(g, "poweroff");
    ended(g, CAPSA_CAUSE_GUEST_SHUTDOWN);
    discard(g);
}
