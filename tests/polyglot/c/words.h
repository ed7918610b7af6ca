/* words.h - what the parts of the interpreter in C share. */
#ifndef POLYGLOT_WORDS_H
#define POLYGLOT_WORDS_H

#include <capsa.h>

/* A step's answer, and its error when the status is not CAPSA_OK. */
struct answer {
    char *text; /* what the step gives; NULL: nothing. Freed with free(3) */
    capsa_error *error;
};

enum kind { NOTHING, VM, CONSOLE, STREAM, LISTENER, FORWARD, EVENTS };

/* What the script has made. */
struct thing {
    enum kind kind;
    char name[32];
    void *handle;               /* VM, CONSOLE; of a LISTENER and of EVENTS their VM */
    int fd;                     /* STREAM, LISTENER */
    uint32_t port;              /* LISTENER */
    capsa_forward_info forward; /* FORWARD */
};

/* What this step is given; NULL: nothing by that name. */
const char *given(const char *key);
/* The same as text, or "", and as a number, or 0. */
const char *text(const char *key);
int64_t number(const char *key);

/* The thing that the step names by `key`; fails the program when there is none of the kind. */
struct thing *thing(const char *key, enum kind kind);
/* Takes a place for a new one, named by "as" or `key`. */
struct thing *make(const char *key, enum kind kind);
void drop(struct thing *t);
void drop_all(void);

/* Sets the answer, as printf does. */
void say(struct answer *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sets it to the bytes of an output, after a prefix, and frees the output. */
void say_output(struct answer *a, const char *prefix, capsa_output *output, size_t from);
/* Sets it to a text of the library, and frees that. */
void say_text(struct answer *a, char *from_library);

/* The description that "set" changes. */
extern capsa_builder *builder;

/* A word of the script. */
struct word {
    const char *name;
    capsa_status (*run)(struct answer *a);
};
extern const struct word machine_words[], talk_words[]; /* end with a NULL name */

#endif
