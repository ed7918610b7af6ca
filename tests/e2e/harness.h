/*
 * harness.h - a small test framework, and what the tests share.
 *
 * Each test runs in a process of its own (the program starts itself again), so that a test that hangs or crashes, and
 * what it leaves behind, touches no other. A failed check prints where, why and what the guests last said, and ends
 * the test.
 */
#ifndef E2E_HARNESS_H
#define E2E_HARNESS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "capsa.h"

/* ---- Tests -------------------------------------------------------------------------------------------------- */

typedef struct test {
    const char *group, *name;
    int seconds; /* limit on a machine with real KVM; longer under emulation */
    void (*run)(void);
    struct test *next;
} test;

void test_register(test *t);

/* TEST(group, name, seconds) { ... } defines and registers a test. */
#define TEST(group_, name_, seconds_)                                                                                 \
    static void test_##group_##_##name_(void);                                                                        \
    __attribute__((constructor)) static void register_##group_##_##name_(void) {                                      \
        static test t = {#group_, #name_, seconds_, test_##group_##_##name_, NULL};                                   \
        test_register(&t);                                                                                            \
    }                                                                                                                 \
    static void test_##group_##_##name_(void)

/* Ends the test as failed, with a message. */
_Noreturn void fail_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

/* CHECK(condition, format, ...): the condition holds, or the test fails with the message. */
#define CHECK(condition, ...)                                                                                         \
    do {                                                                                                              \
        if (!(condition)) FAIL(#condition ": " __VA_ARGS__);                                                          \
    } while (0)

/* CHECK_INT(got, want): two integers are equal. */
#define CHECK_INT(got, want)                                                                                          \
    do {                                                                                                              \
        long long got_ = (long long)(got), want_ = (long long)(want);                                                 \
        if (got_ != want_) FAIL("%s is %lld, want %lld", #got, got_, want_);                                          \
    } while (0)

/* CHECK_TEXT(got, want): two strings are equal. */
#define CHECK_TEXT(got, want)                                                                                         \
    do {                                                                                                              \
        const char *got_ = (got), *want_ = (want);                                                                    \
        if (strcmp(got_, want_)) FAIL("%s is \"%s\", want \"%s\"", #got, got_, want_);                                \
    } while (0)

/* The error parameter of the calls that OK and REFUSED check. */
extern capsa_error *err;

/* OK(call(..., &err)): the call succeeds. */
void ok_at(const char *file, int line, const char *call, capsa_status status);
#define OK(call) ok_at(__FILE__, __LINE__, #call, (call))

/* REFUSED(call(..., &err), CAPSA_E_..., "word"): the call fails with that class and an error object that says what is
 * wrong; the word (NULL: none) is somewhere in its message, hint or detail. */
void refused_at(const char *file, int line, const char *call, capsa_status status, capsa_status want,
                const char *word);
#define REFUSED(call, want, word) refused_at(__FILE__, __LINE__, #call, (call), (want), (word))

/* Whether everything is slow: the host of the test is an emulated machine. */
int emulated(void);
/* A wait in milliseconds, made longer under emulation. */
int64_t patience(int64_t ms);
double now(void); /* seconds */

/* ---- Files -------------------------------------------------------------------------------------------------- */

/* The path of a guest image (guest/images.sh) by name. Static memory, eight at a time. */
const char *image(const char *name);
/* The path of a new file with these bytes, removed with the test. Static memory, eight at a time. */
const char *file_of(const void *data, size_t len);
/* The whole file in malloc'ed memory. */
uint8_t *slurp(const char *path, size_t *len);
/* A private directory, removed with the test. */
const char *scratch(void);

/* ---- Guests ------------------------------------------------------------------------------------------------- */

typedef struct guest {
    capsa_builder *builder;
    capsa_vm *vm;
    capsa_console *console;
} guest;

typedef struct kind {
    const char *kernel, *initrd;
} kind;
extern const kind ours, stock, vmlinux, large; /* see guest/images.sh */

/* Whether machines run in processes of their own (E2E_ISOLATION=process), and not in the test's. */
int isolated(void);
/* A builder for the kind: 1 CPU, 256 MiB; isolated, if that is asked for. */
capsa_builder *builder_for(kind k);
/* Builds and starts; for guests without a console. */
guest start(capsa_builder *builder);
/* Builds, starts, and waits for the shell's prompt. */
guest boot(capsa_builder *builder);
guest boot_kind(kind k);
/* Waits for a literal text on the console, after what was read before. */
void await_text(guest *g, const char *text);
/* Writes a line to the console. */
void type(guest *g, const char *line);
/* Runs a command; its exit status; *text (NULL: not wanted) becomes its output, without the last line's end, in static
 * memory until the next call. */
int run(guest *g, const char *command, const char **text);
/* Its output; the command has to succeed. */
const char *must(guest *g, const char *command);
long long run_number(guest *g, const char *command);
/* Waits for the end and checks the cause. */
capsa_exit_info ended(guest *g, uint32_t cause);
/* Ends the guest from the inside, checks that it was so, and discards it. */
void power_off(guest *g);
/* Waits until the serial port has said the text. */
void await_serial(guest *g, const char *text);
/* Takes events until one is of that type; its details, in static memory, and its value (NULL: not wanted). */
const char *await_event(guest *g, uint32_t type, int64_t *value);
void discard(guest *g);

#endif
