/* lan.c - networks of several machines, and what one machine's network does over IPv6 and beside a connection that hangs. */
#define _GNU_SOURCE
#include "host.h"
#include "stream.h"
#include "web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static capsa_network *new_network(uint32_t flags) {
    capsa_shared_options o = CAPSA_SHARED_OPTIONS_INIT;
    capsa_network *n = NULL;

    o.flags = flags;
    o.ipv4 = "10.77.0.0/24";
    OK(capsa_network_new(&o, &n, &err));
    return n;
}

/* Boots a machine of a network, and has it get its address. */
static guest on_network(capsa_network *n, const char *name, const char *policy, int apart) {
    capsa_attach_options o = CAPSA_ATTACH_OPTIONS_INIT;
    capsa_builder *b = builder_for(ours);

    o.hostname = name;
    OK(capsa_builder_attach_network(b, n, &o, &err));
    if (policy) OK(capsa_builder_set_policy_json(b, policy, strlen(policy), &err));
    if (apart) OK(capsa_builder_set_isolation(b, CAPSA_ISOLATION_PROCESS, CAPSA_ISOLATION_JAIL_PARTIAL, &err));
    guest g = boot(b);
    must(&g, "ip link set lo up && udhcpc -i eth0 -n -q -f -t 10 -O search -s /etc/udhcpc.sh");
    return g;
}

static void must_fail(guest *g, const char *command) {
    const char *text = "";

    CHECK(run(g, command, &text) != 0, "\"%s\" succeeded: %s", command, text);
}

/* Has the guest echo what comes to TCP port 7, and waits until it does. */
static void serve_echo(guest *g) {
    must(g, "(nc -ll -p 7 -e cat >/dev/null 2>&1 &); i=0; until grep -q ':0007 0*:0000 0A' /proc/net/tcp "
            "/proc/net/tcp6; do "
            "i=$((i + 1)); [ $i -lt 300 ] || exit 1; sleep 0.1; done");
}

/* Two machines find each other by name, have addresses of their own, and talk; the network goes on without its handle. */
static void by_name(int apart) {
    capsa_network *n = new_network(0);
    guest a = on_network(n, "alice", NULL, 0), b = on_network(n, "bob", NULL, apart);

    capsa_network_free(n);
    must(&a, "ip -4 addr show dev eth0 | grep -q 'inet 10.77.0.15/24'");
    must(&b, "ip -4 addr show dev eth0 | grep -q 'inet 10.77.0.16/24'");
    must(&a, "nslookup bob.capsa.internal | grep -A 1 '^Name:' | grep -q '^Address: 10.77.0.16$'");
    must(&b, "nslookup alice.capsa.internal | grep -A 1 '^Name:' | grep -q '^Address: 10.77.0.15$'");
    must(&a, "ping -c 2 -W 20 10.77.0.16 && ping -c 1 -W 20 10.77.0.2");
    serve_echo(&b);
    CHECK_TEXT(must(&a, "echo from-alice | timeout 20 nc bob.capsa.internal 7"), "from-alice");
    must(&a, "dd if=/dev/urandom of=/tmp/data bs=64k count=32 2>/dev/null && timeout 60 nc 10.77.0.16 7 </tmp/data "
             ">/tmp/back; "
             "cmp /tmp/data /tmp/back");
    power_off(&b);
    must_fail(&a, "nslookup bob.capsa.internal | grep -q '^Name:'");
    power_off(&a);
}

TEST(lan, by_name, 120) { by_name(0); }
TEST(lan, by_name_apart, 150) { by_name(1); }

/* A flow between two machines needs the leave of both. */
TEST(lan, policy, 120) {
    static const char closed[] = "{\"default\":\"deny-all\",\"inbound\":\"reject\",\"rules\":[{\"action\":\"allow\","
                                 "\"direction\":\"inbound\",\"protocols\":[\"tcp\"],\"ports\":[7]}]}";
    capsa_network *n = new_network(CAPSA_SHARED_NO_NAT);
    guest a = on_network(n, "alice", NULL, 0), b = on_network(n, "bob", closed, 0);

    capsa_network_free(n);
    serve_echo(&a);
    serve_echo(&b);
    CHECK_TEXT(must(&a, "echo allowed | timeout 20 nc 10.77.0.16 7"), "allowed");
    must_fail(&a, "ping -c 1 -W 2 10.77.0.16");
    must_fail(&b, "echo refused | timeout 20 nc 10.77.0.15 7 | grep refused");
    must_fail(&a, "timeout 5 wget -q -O - http://192.0.2.1/"); /* there is no NAT */
    OK(capsa_vm_set_policy_json(b.vm, NULL, 0, &err));
    CHECK_TEXT(must(&b, "echo allowed | timeout 20 nc 10.77.0.15 7"), "allowed");
    power_off(&a);
    power_off(&b);
}

/* Machines of a network that isolates them reach the gateway and not each other, and each has ports of its own. */
TEST(lan, isolated, 120) {
    capsa_network *n = new_network(CAPSA_SHARED_ISOLATED);
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;
    guest a = on_network(n, "alice", NULL, 0), b = on_network(n, "bob", NULL, 0);

    must(&a, "ping -c 1 -W 20 10.77.0.2");
    must_fail(&a, "ping -c 1 -W 2 10.77.0.16");
    serve_echo(&b);
    f.guest_port = 7;
    OK(capsa_vm_add_forward(b.vm, &f, &info, &err));
    int fd = dial_port(info.host_port, SOCK_STREAM);
    echo_through(fd, 100000);
    close(fd);
    capsa_network_free(n);
    power_off(&a);
    power_off(&b);
}

/* ---- One machine's own network -------------------------------------------------------------------------------- */

static guest alone(uint32_t flags) {
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_builder *b = builder_for(ours);

    o.mode = CAPSA_NETWORK_USER;
    o.flags = flags;
    OK(capsa_builder_set_network(b, &o, &err));
    guest g = boot(b);
    must(&g, "ip link set lo up && udhcpc -i eth0 -n -q -f -t 10 -s /etc/udhcpc.sh");
    return g;
}

/* The host's loopback over IPv6, and a port of the guest that the host reaches over IPv6. */
TEST(lan, ipv6_both_ways, 90) {
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char command[256], got[16] = "";

    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 1) == 0 &&
              getsockname(listener, (struct sockaddr *)&at, &len) == 0,
          "%s", strerror(errno));
    guest g = alone(CAPSA_NETWORK_HOST_ACCESS);
    must(
        &g,
        "i=0; until ip -6 addr show dev eth0 scope global | grep 'inet6 fd6c:' | grep -vq tentative; do i=$((i + 1)); "
        "[ $i -lt 300 ] || exit 1; sleep 0.2; done");
    snprintf(command, sizeof command, "echo over-six | nc fd6c:6962:6361::2 %u", ntohs(at.sin6_port));
    type(&g, command);
    int fd = accept_one(listener);
    CHECK_INT(get(fd, got, sizeof got), 9);
    CHECK(!memcmp(got, "over-six\n", 9), "other bytes came");
    close(fd);
    close(listener);
    power_off(&g);

    g = alone(0);
    serve_echo(&g);
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;
    f.host = "::1";
    f.guest_port = 7;
    OK(capsa_vm_add_forward(g.vm, &f, &info, &err));
    CHECK_TEXT(info.host, "::1");
    at.sin6_port = htons(info.host_port);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0, "connect: %s", strerror(errno));
    echo_through(fd, 100000);
    close(fd);
    power_off(&g);
}

/* A connection that nobody answers holds up no other one. */
TEST(lan, black_hole, 60) {
    static const char hello[] = "hello from the host\n";
    char command[128];
    web w = {0};

    start_web(&w, hello, sizeof hello - 1);
    guest g = alone(CAPSA_NETWORK_HOST_ACCESS);
    must(&g, "for i in $(seq 20); do (nc 192.0.2.$i 81 </dev/null >/dev/null 2>&1 &); done");
    snprintf(command, sizeof command, "timeout 20 wget -q -O - http://10.0.2.2:%u/", w.port);
    CHECK_TEXT(must(&g, command), "hello from the host");
    must(&g, "ping -c 1 -W 20 10.0.2.2 && nslookup host.capsa.internal | grep -q '^Name:'");
    stop_web(&w);
    discard(&g);
}
