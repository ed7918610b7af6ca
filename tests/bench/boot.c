/*
 * boot ROUNDS CAPSA-COMMAND... -- PEER-COMMAND... - times two commands by turns, from their start to their end, and prints
 * samples. Runs where the guests run.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples.h"

extern char **environ;

static double run(char **argv) {
    pid_t pid;
    int status;
    double begin = now_ns();
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ)) {
        perror(argv[0]);
        exit(1);
    }
    waitpid(pid, &status, 0);
    double took = now_ns() - begin;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        fprintf(stderr, "bench: %s ended with status %#x\n", argv[0], status);
        exit(1);
    }
    return took;
}

int main(int argc, char **argv) {
    static struct samples s = {.name = "boot to init and end", .unit = "ns", .peer_name = "QEMU microvm", .goal = 0.8};
    int rounds = argc > 1 ? atoi(argv[1]) : 0;
    char **ours = argv + 2, **peer = ours;
    while (*peer && strcmp(*peer, "--")) peer++;
    if (rounds < 1 || !*peer) return fprintf(stderr, "usage: boot ROUNDS COMMAND... -- COMMAND...\n"), 2;
    *peer++ = NULL;
    for (int i = -1; i < rounds; i++) {
        double a = run(ours), b = run(peer);
        if (i < 0) continue; /* warming up */
        add_ours(&s, a);
        add_peer(&s, b);
    }
    print_samples(&s);
    return 0;
}
