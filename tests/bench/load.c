/* load LIBRARY - how long the loader takes for the library, and the first call into it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples.h"

/* One fresh process a sample: a library is loaded once. */
static void sample(const char *path, double *load, double *first) {
    int fds[2];
    double took[2];
    if (pipe(fds)) exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        double begin = now_ns();
        void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        took[0] = now_ns() - begin;
        int (*has)(const char *) = NULL;
        if (lib) *(void **)&has = dlsym(lib, "capsa_has");
        begin = now_ns();
        if (!has || !has("kvm")) _exit(1);
        took[1] = now_ns() - begin;
        _exit(write(fds[1], took, sizeof took) != sizeof took);
    }
    close(fds[1]);
    if (read(fds[0], took, sizeof took) != sizeof took) {
        fprintf(stderr, "bench: cannot load %s\n", path);
        exit(1);
    }
    close(fds[0]);
    waitpid(pid, NULL, 0);
    *load = took[0];
    *first = took[1];
}

int main(int argc, char **argv) {
    static struct samples l = {.name = "loading the library", .unit = "ns"};
    static struct samples f = {.name = "first call", .unit = "ns"};
    if (argc != 2) return 2;
    for (int i = 0; i < 30; i++) {
        double load, first;
        sample(argv[1], &load, &first);
        add_ours(&l, load);
        add_ours(&f, first);
    }
    print_samples(&l);
    print_samples(&f);
    return 0;
}
