/* console.c - talking to a guest: patterns, keys, descriptors, and output that nobody reads. */
#include "harness.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Any of several patterns, regular expressions among them, prompts without a line's end. */
TEST(console, expect, 60) {
    guest g = boot_kind(ours);
    capsa_pattern first[] = {CAPSA_LITERAL("never"), CAPSA_REGEX("sum=[0-9]+\r")};
    capsa_pattern prompt[] = {CAPSA_LITERAL("capsa# ")};
    capsa_match m = CAPSA_MATCH_INIT;
    capsa_output *output = NULL;

    type(&g, "echo sum=$((40 + 2)); printf 'name? '; read x; echo got $x");
    OK(capsa_console_expect(g.console, patience(30000), NULL, first, 2, &m, &output, &err));
    CHECK_INT(m.pattern, 1);
    CHECK(!strncmp(capsa_output_data(output, NULL) + m.start, "sum=42\r", m.len), "the match is wrong");
    CHECK_INT(capsa_output_missing(output), 0);
    capsa_output_free(output);
    await_text(&g, "name? ");
    type(&g, "Ada");
    await_text(&g, "got Ada");
    OK(capsa_console_expect(g.console, patience(30000), NULL, prompt, 1, NULL, NULL, &err));
    discard(&g);
}

/* A wait that ends early consumes nothing. */
TEST(console, expect_loses_nothing, 60) {
    guest g = boot_kind(ours);
    capsa_pattern never[] = {CAPSA_LITERAL("never")};

    type(&g, "echo o''ne; echo t''wo");
    CHECK_INT(capsa_console_expect(g.console, patience(1000), NULL, never, 1, NULL, NULL, NULL), CAPSA_E_TIMEOUT);
    await_text(&g, "one");
    await_text(&g, "two");
    discard(&g);
}

TEST(console, run, 60) {
    guest g = boot_kind(ours);
    const char *text;

    CHECK_INT(run(&g, "echo one; echo two >&2; exit 3", &text), 3);
    CHECK(!strcmp(text, "one\r\ntwo") || !strcmp(text, "one\ntwo"), "the output is \"%s\"", text);
    CHECK_INT(run(&g, "printf 'no end'", &text), 0);
    CHECK_TEXT(text, "no end");
    CHECK_INT(run(&g, "echo '$HOME' \"it's\" \\\\ '\"'", &text), 0);
    CHECK_TEXT(text, "$HOME it's \\ \"");
    CHECK_INT(run(&g, "if true; then\necho several lines\nfi", &text), 0);
    CHECK_TEXT(text, "several lines");
    /* The state of the shell is not the commands'. */
    CHECK_INT(run(&g, "cd /proc; X=1", NULL), 0);
    CHECK_INT(run(&g, "pwd; echo $X", &text), 0);
    CHECK(!strncmp(text, "/", 1) && !strstr(text, "proc") && !strstr(text, "1"), "the output is \"%s\"", text);
    discard(&g);
}

TEST(console, run_on_a_stock_kernel, 60) {
    guest g = boot_kind(stock);
    const char *text;

    CHECK_INT(run(&g, "uname -r; exit 7", &text), 7);
    CHECK(strstr(text, "cloud-amd64"), "the output is \"%s\"", text);
    discard(&g);
}

/* Ctrl-C ends what runs; the shell stays. */
TEST(console, interrupt, 60) {
    guest g = boot_kind(ours);
    capsa_status status;
    int32_t code = -1;

    type(&g, "echo sle''eping; sleep 100000");
    await_text(&g, "sleeping");
    OK(capsa_console_interrupt(g.console, patience(5000), NULL, &err));
    await_text(&g, "capsa# ");
    status = capsa_console_run(g.console, patience(1000), NULL, "sleep 100000", &code, NULL, NULL);
    CHECK_INT(status, CAPSA_E_TIMEOUT);
    OK(capsa_console_interrupt(g.console, patience(5000), NULL, &err));
    CHECK_INT(run(&g, "exit 5", NULL), 5);
    discard(&g);
}

/* Ctrl-D is the end of input: of a program's, and then of the shell's, which init starts anew. */
TEST(console, end_of_input, 60) {
    guest g = boot_kind(ours);

    type(&g, "echo re''ady; cat >/tmp/text; wc -c </tmp/text");
    await_text(&g, "ready");
    type(&g, "12345");
    await_text(&g, "12345\r\n");
    OK(capsa_console_eof(g.console, patience(5000), NULL, &err));
    await_text(&g, "6\r\n");
    await_text(&g, "capsa# ");
    OK(capsa_console_eof(g.console, patience(5000), NULL, &err));
    await_text(&g, "capsa# ");
    CHECK_INT(run(&g, "exit 4", NULL), 4);
    discard(&g);
}

TEST(console, size, 60) {
    capsa_builder *b = builder_for(ours);
    capsa_console_options options = CAPSA_CONSOLE_OPTIONS_INIT;
    const char *text;

    options.columns = 91;
    options.rows = 37;
    OK(capsa_builder_set_console(b, &options, &err));
    guest g = boot(b);
    CHECK_INT(run(&g, "stty size </dev/hvc0", &text), 0);
    CHECK_TEXT(text, "37 91");
    /* A program in the foreground is told of the change. */
    type(&g, "sh -c 'trap \"stty size\" WINCH; echo re\"\"ady; while :; do sleep 0.1; done'");
    await_text(&g, "ready");
    OK(capsa_console_resize(g.console, 132, 50, &err));
    await_text(&g, "50 132");
    REFUSED(capsa_console_resize(g.console, 0, 50, &err), CAPSA_E_INVALID_ARG, NULL);
    discard(&g);
}

/* Memory of this process in KiB. */
static long resident(void) {
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1) break;
    if (f) fclose(f);
    CHECK(kib > 0, "no RssAnon");
    return kib;
}

/* 100 MB of output that nobody reads neither stall the guest nor grow the process; the ring holds the end. An emulated
 * processor takes minutes for them, so that it writes the ring eight times over; the tests of the console's device and of
 * its ring write 1,000 and 100 MB. */
TEST(console, unread_flood, 240) {
    const int megabytes = emulated() ? 8 : 100;
    static char data[4096];
    char command[128];
    guest g = boot_kind(ours);
    capsa_console *late = NULL;
    capsa_pattern done[] = {CAPSA_LITERAL("all out")};
    capsa_output *output = NULL;
    uint64_t lost = 0;
    size_t len = 0;

    long before = resident();
    snprintf(command, sizeof command, "stty -opost; flood %d; stty opost; echo all o''ut; touch /tmp/done",
             megabytes << 20);
    type(&g, command);
    OK(capsa_vm_console(g.vm, &late, &err));
    OK(capsa_console_expect(late, patience(200000), NULL, done, 1, NULL, &output, &err));
    long grown = resident() - before;
    printf("  grew by %ld KiB\n", grown);
    CHECK(grown < 48 * 1024, "it grew by %ld KiB", grown);
    capsa_output_free(output);
    capsa_console_free(late);
    /* A reader that slept through it all is told what it missed and gets the rest. */
    OK(capsa_console_read(g.console, 0, NULL, data, sizeof data, &len, &err));
    OK(capsa_console_lost(g.console, &lost, &err));
    CHECK(len > 0 && lost > (uint64_t)(megabytes - 4) << 20, "read %zu bytes, lost %llu", len,
          (unsigned long long)lost);
    await_text(&g, "all out");
    CHECK_INT(run(&g, "test -e /tmp/done", NULL), 0);
    discard(&g);
}

/* A megabyte in one line, checked byte by byte. */
TEST(console, long_line, 120) {
    enum { size = 1000000 };
    guest g = boot_kind(ours);
    capsa_output *output = NULL;
    int32_t status = -1;
    size_t len;

    OK(capsa_console_run(g.console, patience(100000), NULL,
                         "stty -opost </dev/hvc0; flood 1000000 | tr '\\n' ' '; stty opost </dev/hvc0", &status,
                         &output, &err));
    CHECK_INT(status, 0);
    const char *data = capsa_output_data(output, &len);
    CHECK_INT(capsa_output_missing(output), 0);
    CHECK(len >= size, "%zu bytes", len);
    for (size_t i = 0; i + 16 <= size; i += 16) {
        char want[17];
        snprintf(want, sizeof want, "%015zu ", i / 16 % 4096);
        CHECK(!memcmp(data + i, want, 16), "at byte %zu: \"%.16s\", want \"%s\"", i, data + i, want);
    }
    capsa_output_free(output);
    discard(&g);
}

/* Each reader has a position of its own. */
TEST(console, many_readers, 60) {
    enum { readers = 32 };
    guest g = boot_kind(ours), other[readers];

    type(&g, "echo for ev''eryone");
    await_text(&g, "for everyone");
    for (int i = 0; i < readers; i++) {
        other[i] = g;
        OK(capsa_vm_console(g.vm, &other[i].console, &err));
    }
    for (int i = 0; i < readers; i++) {
        await_text(&other[i], "Welcome to the capsa guest");
        await_text(&other[i], "for everyone");
        capsa_console_free(other[i].console);
    }
    discard(&g);
}

/* Reads from a descriptor until the text has come, or the end when text is NULL. */
static void read_until(int fd, const char *text) {
    static char all[1 << 16];
    size_t len = 0;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        CHECK(poll(&p, 1, (int)patience(60000)) == 1, "nothing to read; so far: %.*s", (int)len, all);
        ssize_t n = read(fd, all + len, sizeof all - 1 - len);
        CHECK(n >= 0, "read failed");
        if (n == 0) {
            CHECK(!text, "the end came before \"%s\"", text ? text : "");
            return;
        }
        len += (size_t)n;
        all[len] = 0;
        if (text && strstr(all, text)) return;
        if (!text) len = 0;
    }
}

/* A program that knows nothing but poll, read and write. */
TEST(console, descriptor, 60) {
    guest g = start(builder_for(ours));
    static const char command[] = "echo thr''ough; poweroff\n";
    int fd = -1;

    OK(capsa_console_fd(g.console, &fd, &err));
    read_until(fd, "capsa# ");
    CHECK(write(fd, command, sizeof command - 1) == sizeof command - 1, "write failed");
    read_until(fd, "through");
    read_until(fd, NULL);
    ended(&g, CAPSA_CAUSE_GUEST_SHUTDOWN);
    close(fd);
    discard(&g);
}

/* What a console has not read outlives the machine; then comes the end. */
TEST(console, after_the_end, 60) {
    guest g = boot_kind(ours);
    capsa_pattern never[] = {CAPSA_LITERAL("never")};
    size_t written;

    type(&g, "echo last w''ords; poweroff");
    ended(&g, CAPSA_CAUSE_GUEST_SHUTDOWN);
    await_text(&g, "last words");
    CHECK_INT(capsa_console_expect(g.console, -1, NULL, never, 1, NULL, NULL, NULL), CAPSA_E_CLOSED);
    CHECK_INT(capsa_console_write(g.console, -1, NULL, "x", 1, &written, NULL), CAPSA_E_CLOSED);
    discard(&g);
}

/* Input is taken as fast as the guest takes it, and not one byte is lost. */
TEST(console, much_input, 120) {
    enum { lines = 4000 };
    guest g = boot_kind(ours);
    char line[32];
    size_t written;

    type(&g, "stty -echo; echo re''ady; n=0; while read x && [ $x != end ]; do n=$((n + x)); done; stty echo; echo "
             "sum=$n=");
    await_text(&g, "ready");
    for (int i = 1; i <= lines; i++) {
        int len = snprintf(line, sizeof line, i < lines ? "%d\n" : "end\n", i);
        OK(capsa_console_write(g.console, patience(30000), NULL, line, (size_t)len, &written, &err));
        CHECK_INT(written, len);
    }
    await_text(&g, "sum=7998000=");
    discard(&g);
}
