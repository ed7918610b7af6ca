/*
 * The first process of a guest whose network is measured: gives eth0 its address and runs /traffic for each argument
 * "traffic=TEST:MTU:MS" of the kernel's command line, against the gateway. Prints "sample TEST MTU VALUE" and ends the machine.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GATEWAY "10.0.2.2"

static void put(struct sockaddr *to, const char *address) {
    struct sockaddr_in *a = (struct sockaddr_in *)to;
    a->sin_family = AF_INET;
    inet_pton(AF_INET, address, &a->sin_addr);
}

static void try(int fd, unsigned long what, void *arg, const char *name) {
    if (ioctl(fd, what, arg)) perror(name);
}

static void set_mtu(int fd, int mtu) {
    struct ifreq r = {.ifr_name = "eth0", .ifr_mtu = mtu};
    try(fd, SIOCSIFMTU, &r, "mtu");
}

static void configure(int fd) {
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    try(fd, SIOCSIFFLAGS, &r, "lo");
    strcpy(r.ifr_name, "eth0");
    put(&r.ifr_addr, "10.0.2.15");
    try(fd, SIOCSIFADDR, &r, "address");
    put(&r.ifr_netmask, "255.255.255.0");
    try(fd, SIOCSIFNETMASK, &r, "netmask");
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    try(fd, SIOCSIFFLAGS, &r, "eth0");
    put(&route.rt_gateway, GATEWAY);
    put(&route.rt_dst, "0.0.0.0");
    put(&route.rt_genmask, "0.0.0.0");
    try(fd, SIOCADDRT, &route, "route");
}

/* Runs one test; its output ends the line. */
static void measure(const char *test, const char *ms) {
    pid_t pid = fork();
    if (!pid) {
        dup2(1, 2);
        execl("/traffic", "/traffic", test, GATEWAY, "7000", ms, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

int main(void) {
    static char line[4096];
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int console = open("/dev/console", O_RDWR), s = socket(AF_INET, SOCK_DGRAM, 0);
    if (console >= 0) dup2(console, 0), dup2(console, 1), dup2(console, 2);
    setvbuf(stdout, NULL, _IONBF, 0);
    configure(s);
    int fd = open("/proc/cmdline", O_RDONLY);
    ssize_t n = read(fd, line, sizeof line - 1);
    line[n > 0 ? n : 0] = 0;
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
        char test[16], ms[16];
        int mtu;
        if (sscanf(word, "traffic=%15[^:]:%d:%15[0-9]", test, &mtu, ms) != 3) continue;
        set_mtu(s, mtu);
        printf("sample %s-%d ", test, mtu);
        measure(test, ms);
    }
    printf("end\n");
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}
