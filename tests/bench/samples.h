/* Samples of a measure, printed as one JSON object a line for report/. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_SAMPLES 4096

struct samples {
    const char *name, *unit, *peer_name;
    double goal; /* largest ratio that meets the goal; 0: none */
    int n, peers;
    double ours[MAX_SAMPLES], peer[MAX_SAMPLES];
};

static inline double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline void add_ours(struct samples *s, double v) {
    if (s->n < MAX_SAMPLES) s->ours[s->n++] = v;
}

static inline void add_peer(struct samples *s, double v) {
    if (s->peers < MAX_SAMPLES) s->peer[s->peers++] = v;
}

static inline void print_list(const char *key, const double *v, int n) {
    printf(",\"%s\":[", key);
    for (int i = 0; i < n; i++) printf("%s%.17g", i ? "," : "", v[i]);
    printf("]");
}

static inline void print_samples(const struct samples *s) {
    printf("{\"name\":\"%s\",\"unit\":\"%s\",\"peer_name\":\"%s\",\"goal\":%g", s->name, s->unit,
           s->peer_name ? s->peer_name : "", s->goal);
    print_list("ours", s->ours, s->n);
    print_list("peer", s->peer, s->peers);
    printf("}\n");
    fflush(stdout);
}

#endif
