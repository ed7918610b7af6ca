/*
 * disk ROUNDS IMAGE-KIND CAPSA-COMMAND... -- PEER-COMMAND... - runs two commands by turns, each a machine with the guest of
 * diskload.c, and prints what the guests measured as samples.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples.h"

#define MAX_LOADS 16

static struct samples loads[MAX_LOADS];
static char names[MAX_LOADS][96];
static int count;

/* The samples of a load by name. */
static struct samples *find(const char *kind, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s: %s", kind, name);
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], full)) return &loads[i];
    if (count == MAX_LOADS) exit(1);
    strcpy(names[count], full);
    loads[count] = (struct samples){.name = names[count], .unit = "ns", .peer_name = "QEMU microvm", .goal = 1.0};
    return &loads[count++];
}

/* Runs a machine and takes its samples. */
static void run(char **argv, const char *kind, void (*add)(struct samples *, double)) {
    char line[512], name[64];
    int fds[2], status, found = 0;
    double ns;
    if (pipe(fds)) exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 1);
        close(fds[0]), close(fds[1]);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(fds[1]);
    FILE *f = fdopen(fds[0], "r");
    while (f && fgets(line, sizeof line, f)) {
        char *last = strrchr(line, ' ');
        if (!last || sscanf(line, "bench %63[^\n]", name) != 1 || sscanf(last, "%lf", &ns) != 1) continue;
        name[last - line - 6] = 0;
        add(find(kind, name), ns);
        found = 1;
    }
    if (f) fclose(f);
    waitpid(pid, &status, 0);
    if (!found || !WIFEXITED(status) || WEXITSTATUS(status)) {
        fprintf(stderr, "bench: %s ended with status %#x%s\n", argv[0], status, found ? "" : " and measured nothing");
        exit(1);
    }
}

int main(int argc, char **argv) {
    int rounds = argc > 2 ? atoi(argv[1]) : 0;
    char **ours = argv + 3, **peer = ours;
    if (argc > 3)
        while (*peer && strcmp(*peer, "--")) peer++;
    if (rounds < 1 || argc < 4 || !*peer)
        return fprintf(stderr, "usage: disk ROUNDS KIND COMMAND... -- COMMAND...\n"), 2;
    *peer++ = NULL;
    for (int i = 0; i < rounds; i++) {
        run(ours, argv[2], add_ours);
        run(peer, argv[2], add_peer);
    }
    for (int i = 0; i < count; i++) print_samples(&loads[i]);
    return 0;
}
