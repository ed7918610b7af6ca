/* main.c - interpreter of the polyglot suite (README.md) over the C header: reads the script, says the answers. */
#define _POSIX_C_SOURCE 200809L
#include "words.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGUMENTS 16
#define MAX_THINGS 64

capsa_builder *builder;

static struct { char *key, *value; } arguments[MAX_ARGUMENTS];
static int n_arguments;
static struct thing things[MAX_THINGS];

static void die(const char *what, const char *name) {
    fprintf(stderr, "polyglot: %s %s\n", what, name);
    exit(2);
}

const char *given(const char *key) {
    for (int i = 0; i < n_arguments; i++)
        if (!strcmp(arguments[i].key, key)) return arguments[i].value;
    return NULL;
}

const char *text(const char *key) {
    const char *value = given(key);
    return value ? value : "";
}

int64_t number(const char *key) { return strtoll(text(key), NULL, 10); }

struct thing *thing(const char *key, enum kind kind) {
    for (int i = 0; i < MAX_THINGS; i++)
        if (things[i].kind && !strcmp(things[i].name, text(key)) && (kind == NOTHING || things[i].kind == kind))
            return &things[i];
    die("there is no", text(key));
    return NULL;
}

struct thing *make(const char *key, enum kind kind) {
    for (int i = 0; i < MAX_THINGS; i++)
        if (!things[i].kind) {
            things[i] = (struct thing){.kind = kind, .fd = -1};
            snprintf(things[i].name, sizeof things[i].name, "%s", text(key));
            return &things[i];
        }
    die("too many things at", text(key));
    return NULL;
}

void drop(struct thing *t) {
    if (t->kind == VM) capsa_vm_free(t->handle);
    if (t->kind == CONSOLE) capsa_console_free(t->handle);
    if (t->kind == LISTENER) capsa_vm_vsock_unlisten(t->handle, t->port, NULL);
    if (t->fd >= 0) close(t->fd);
    t->kind = NOTHING;
}

void drop_all(void) {
    /* Consoles and sockets before machines. */
    for (int i = 0; i < MAX_THINGS; i++)
        if (things[i].kind && things[i].kind != VM) drop(&things[i]);
    for (int i = 0; i < MAX_THINGS; i++)
        if (things[i].kind) drop(&things[i]);
}

void say(struct answer *a, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int len = vsnprintf(NULL, 0, format, values);
    va_end(values);
    a->text = malloc((size_t)len + 1);
    va_start(values, format);
    vsnprintf(a->text, (size_t)len + 1, format, values);
    va_end(values);
}

void say_output(struct answer *a, const char *prefix, capsa_output *output, size_t from) {
    say(a, "%s%s", prefix, capsa_output_data(output, NULL) + from);
    capsa_output_free(output);
}

void say_text(struct answer *a, char *from_library) {
    say(a, "%s", from_library);
    capsa_mem_free(from_library);
}

static void decode(char *value) {
    char *to = value;
    for (; *value; value++, to++) {
        unsigned byte = (unsigned char)*value;
        if (*value == '%' && sscanf(value + 1, "%2x", &byte) == 1) value += 2;
        *to = (char)byte;
    }
    *to = '\0';
}

static void print_encoded(const char *value) {
    for (; *value; value++) printf(isalnum((unsigned char)*value) ? "%c" : "%%%02X", (unsigned char)*value);
    putchar('\n');
    fflush(stdout);
}

/* Splits a line into its word and what it is given. */
static char *split(char *line) {
    char *word = strtok(line, " \n"), *pair;

    n_arguments = 0;
    while ((pair = strtok(NULL, " \n"))) {
        char *value = strchr(pair, '=');
        if (!value || n_arguments == MAX_ARGUMENTS) die("cannot take", pair);
        *value++ = '\0';
        decode(value);
        arguments[n_arguments].key = pair;
        arguments[n_arguments++].value = value;
    }
    return word;
}

static const struct word *find(const struct word *list, const char *name) {
    for (; list->name; list++)
        if (!strcmp(list->name, name)) return list;
    return NULL;
}

int main(void) {
    char *line = NULL;
    size_t size = 0;

    if (capsa_builder_new(&builder, NULL)) die("no", "builder");
    while (getline(&line, &size, stdin) > 0) {
        const char *name = split(line);
        const struct word *word = find(machine_words, name);
        if (!word) word = find(talk_words, name);
        if (!word) {
            printf("unknown %s\n", name);
            fflush(stdout);
            continue;
        }
        struct answer a = {0};
        capsa_status status = word->run(&a);
        if (status == CAPSA_OK) {
            printf("ok ");
            print_encoded(a.text ? a.text : "");
        } else {
            printf("error %s %s ", capsa_status_name(capsa_status_class(status)),
                   *capsa_error_hint(a.error) ? "hint" : "nohint");
            print_encoded(capsa_error_message(a.error));
        }
        capsa_error_free(a.error);
        free(a.text);
    }
    drop_all();
    capsa_builder_free(builder);
    free(line);
    return 0;
}
