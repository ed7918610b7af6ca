/* net.c - the network in user space: addresses, names, connections both ways, forwards, the policy and the link. */
#define _GNU_SOURCE
#include "host.h"
#include "stream.h"
#include "web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a machine's network has where nothing else is said. */
#define GATEWAY "10.0.2.2"
#define GATEWAY6 "fd6c:6962:6361::2"

/* ---- Guests -------------------------------------------------------------------------------------------------- */

static capsa_builder *networked(kind k, uint32_t flags) {
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_builder *b = builder_for(k);

    o.mode = CAPSA_NETWORK_USER;
    o.flags = flags;
    o.mac = "02:00:5e:10:00:01";
    o.hostname = "guest-of-a-test";
    OK(capsa_builder_set_network(b, &o, &err));
    return b;
}

static void set_policy(capsa_builder *b, const char *json) {
    OK(capsa_builder_set_policy_json(b, json, strlen(json), &err));
}

/* Gets an address. */
static void configure(guest *g) {
    must(g, "ip link set lo up && udhcpc -i eth0 -n -q -f -t 10 -O mtu -O search -s /etc/udhcpc.sh");
}

static guest boot_networked(capsa_builder *b) {
    guest g = boot(b);

    configure(&g);
    return g;
}

/* The command fails. */
static void must_fail(guest *g, const char *command) {
    const char *text = "";

    CHECK(run(g, command, &text) != 0, "\"%s\" succeeded: %s", command, text);
}

/* Waits for an event that says that something was refused. */
static void await_denied(guest *g, const char *what) {
    while (!strstr(await_event(g, CAPSA_EVENT_POLICY_DENY, NULL), what))
        ;
}

/* The command, with a port in place of %u. */
static const char *with_port(const char *format, unsigned port) {
    static char text[4][512];
    static int next;
    char *to = text[next++ % 4];

    snprintf(to, sizeof text[0], format, port);
    return to;
}

static const char hello[] = "hello from the host\n";

/* What the guest gets from the web server. */
static const char *fetch(unsigned port) { return with_port("timeout 20 wget -q -O - http://" GATEWAY ":%u/", port); }

/* ---- Addresses and names -------------------------------------------------------------------------------------- */

static void addresses(kind k) {
    guest g = boot_networked(networked(k, 0));

    must(&g, "ip -4 addr show dev eth0 | grep -q 'inet 10.0.2.15/24'");
    CHECK_TEXT(must(&g, "cat /sys/class/net/eth0/address"), "02:00:5e:10:00:01");
    CHECK_INT(run_number(&g, "cat /sys/class/net/eth0/mtu"), 1500);
    must(&g, "ip route | grep -q 'default via " GATEWAY "' && grep -q 'nameserver " GATEWAY "' /etc/resolv.conf");
    CHECK_TEXT(must(&g, "hostname"), "guest-of-a-test");
    must(&g, "ping -c 3 -W 20 " GATEWAY);
    must(&g, "nslookup host.capsa.internal | grep -A 1 '^Name:' | grep -q '^Address: " GATEWAY "$'");
    must_fail(&g, "nslookup nobody.capsa.internal | grep -q '^Name:'");
    /* And once more: the same address. */
    configure(&g);
    must(&g, "ip -4 addr show dev eth0 | grep -q 'inet 10.0.2.15/24'");
    power_off(&g);
}

TEST(net, addresses, 60) { addresses(ours); }
TEST(net, addresses_stock, 90) { addresses(stock); }

/* Everything about the network can be another one. */
TEST(net, other_addresses, 60) {
    static const char *const search[] = {"one.example", "two.example"};
    static const capsa_host_name hosts[] = {{"db.one.example", "192.0.2.7"}};
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_builder *b = builder_for(ours);

    o.mode = CAPSA_NETWORK_USER;
    o.mtu = 9000;
    o.ipv4 = "192.168.77.128/25";
    o.guest = "192.168.77.200";
    o.gateway = "192.168.77.254";
    o.search = search;
    o.n_search = 2;
    o.hosts = hosts;
    o.n_hosts = 1;
    OK(capsa_builder_set_network(b, &o, &err));
    guest g = boot_networked(b);
    must(&g, "ip -4 addr show dev eth0 | grep -q 'inet 192.168.77.200/25'");
    CHECK_INT(run_number(&g, "cat /sys/class/net/eth0/mtu"), 9000);
    must(&g, "ping -c 1 -W 20 -s 8000 192.168.77.254");
    must(&g, "grep -q 'search one.example two.example' /etc/resolv.conf");
    must(&g, "nslookup db.one.example | grep -A 1 '^Name:' | grep -q '^Address: 192.0.2.7$'");
    power_off(&g);
}

/* The guest makes itself an IPv6 address, and finds the router; without IPv6 it does not. */
TEST(net, ipv6, 90) {
    guest g = boot_networked(networked(ours, 0));

    must(&g,
         "i=0; until ip -6 addr show dev eth0 scope global | grep 'inet6 fd6c:6962:6361:' | grep -vq tentative; do "
         "i=$((i + 1)); [ $i -lt 300 ] || exit 1; sleep 0.2; done");
    must(&g, "ip -6 route | grep -q '^default via fe80::'");
    must(&g, "ping -6 -c 3 -W 20 " GATEWAY6 " || ping6 -c 3 " GATEWAY6);
    power_off(&g);
    g = boot_networked(networked(ours, CAPSA_NETWORK_NO_IPV6));
    must_fail(&g, "ip -6 addr show dev eth0 scope global | grep -q inet6");
    must_fail(&g, "ping6 -c 1 -w 2 " GATEWAY6);
    power_off(&g);
}

/* ---- The guest connects --------------------------------------------------------------------------------------- */

static void host_access(kind k) {
    web w = {0};

    start_web(&w, hello, sizeof hello - 1);
    guest g = boot_networked(networked(k, CAPSA_NETWORK_HOST_ACCESS));
    CHECK_TEXT(must(&g, fetch(w.port)), "hello from the host");
    CHECK_TEXT(must(&g, with_port("timeout 20 wget -q -O - http://$(nslookup host.capsa.internal | "
                                  "sed -n 's/^Address: \\(10[.0-9]*\\)$/\\1/p' | head -n 1):%u/",
                                  w.port)),
               "hello from the host");
    stop_web(&w);
    must_fail(&g, fetch(w.port)); /* nobody is there any more */
    power_off(&g);
}

TEST(net, host_access, 60) { host_access(ours); }
TEST(net, host_access_stock, 90) { host_access(stock); }

/* The host is out of reach unless that was said, by whatever address of its own. */
TEST(net, no_host_access, 60) {
    web w = {0};

    start_web_at(INADDR_ANY, &w, hello, sizeof hello - 1);
    guest g = boot_networked(networked(ours, 0));
    must_fail(&g, fetch(w.port));
    must_fail(&g, "timeout 5 wget -q -O - http://169.254.169.254/");
    await_denied(&g, "169.254.169.254:80");
    /* The addresses of its interfaces. */
    char all[512], command[256], *rest = all;
    snprintf(all, sizeof all, "%s", host_text("hostname -I"));
    for (char *own; (own = strtok_r(rest, " ", &rest));) {
        if (strchr(own, ':')) continue;
        snprintf(command, sizeof command, "timeout 5 wget -q -O - http://%s:%u/", own, w.port);
        must_fail(&g, command);
        snprintf(command, sizeof command, "%s:%u", own, w.port);
        await_denied(&g, command);
    }
    stop_web(&w);
    power_off(&g);
}

/* Much data each way, and both at once, arrives as it was sent. */
TEST(net, bulk, 180) {
    size_t n = (emulated() ? 8 : 64) * (size_t)MIB;
    uint8_t *data = pattern(n);
    web down = {0}, up = {0};
    capsa_builder *b = networked(ours, CAPSA_NETWORK_HOST_ACCESS);
    char want[64];

    OK(capsa_builder_set_memory_mib(b, 512, &err));
    OK(capsa_builder_set_cpus(b, 2, &err));
    start_web(&down, data, n);
    start_web(&up, NULL, 0);
    guest g = boot_networked(b);
    const char *file = file_of(data, n), *sum = host_text("sha256sum <'%s'", file);
    CHECK_TEXT(must(&g, with_port("timeout 60 wget -q -O /tmp/data http://" GATEWAY ":%u/ && sha256sum </tmp/data",
                                  down.port)),
               sum);
    snprintf(want, sizeof want, "%zu bytes %08x", n, hash_of(data, n));
    const char *upload = with_port("nc " GATEWAY " %u </tmp/data", up.port);
    CHECK_TEXT(must(&g, upload), want);
    char both[512];
    snprintf(both, sizeof both,
             "timeout 60 wget -q -O /tmp/again http://" GATEWAY ":%u/ & %s && wait && cmp /tmp/data /tmp/again",
             down.port, upload);
    CHECK_TEXT(must(&g, both), want);
    stop_web(&down);
    stop_web(&up);
    free(data);
    power_off(&g);
}

/* One side's end is not the other's. */
TEST(net, half_close, 60) {
    unsigned port;
    int listener = listen_tcp(&port);
    guest g = boot_networked(networked(ours, CAPSA_NETWORK_HOST_ACCESS));
    char got[64] = "";

    type(&g, with_port("(echo question | nc " GATEWAY " %u; echo is''-over)", port));
    int fd = accept_one(listener);
    size_t n = 0, k;
    while ((k = get(fd, got + n, sizeof got - 1 - n)) > 0) n += k;
    CHECK_TEXT(got, "question\n"); /* and the end */
    put(fd, "answer\n", 7);
    await_text(&g, "answer");
    close(fd);
    await_text(&g, "is-over");
    close(listener);
    discard(&g);
}

/* Many connections at once, from both sides. */
TEST(net, many_at_once, 120) {
    web w = {0};

    start_web(&w, hello, sizeof hello - 1);
    guest g = boot_networked(networked(ours, CAPSA_NETWORK_HOST_ACCESS));
    must(&g, with_port("for i in $(seq 50); do (timeout 60 wget -q -O /tmp/$i http://" GATEWAY ":%u/) & done; wait; "
                       "[ $(cat /tmp/? /tmp/?? | grep -c 'hello from the host') = 50 ]",
                       w.port));
    stop_web(&w);
    power_off(&g);
}

/* ---- The host connects ---------------------------------------------------------------------------------------- */

static capsa_forward_info forward(guest *g, uint32_t protocol, uint16_t port) {
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;

    f.protocol = protocol;
    f.guest_port = port;
    OK(capsa_vm_add_forward(g->vm, &f, &info, &err));
    CHECK(info.host_port, "no port was chosen");
    return info;
}

/* Has the guest echo what comes to a TCP port, and waits until it does. */
static void serve_tcp(guest *g, unsigned port) {
    must(g,
         with_port("(nc -ll -p %1$u -e cat >/dev/null 2>&1 &); i=0; until grep -q \"$(printf ':%%04X 0*:0000 0A' "
                   "%1$u)\" /proc/net/tcp /proc/net/tcp6; do i=$((i + 1)); [ $i -lt 300 ] || exit 1; sleep 0.1; done",
                   port));
}

static void tcp_forward(kind k) {
    capsa_builder *b = networked(k, 0);
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    const char *path = scratch_file("echo");

    f.path = path;
    f.guest_port = 7;
    OK(capsa_builder_add_forward(b, &f, &err));
    guest g = boot_networked(b);
    serve_tcp(&g, 7);
    capsa_forward_info info = forward(&g, CAPSA_FORWARD_TCP, 7);
    for (int i = 0; i < 3; i++) {
        int fd = dial_port(info.host_port, SOCK_STREAM);
        echo_through(fd, MIB);
        close(fd);
    }
    int at_path = dial_path(path);
    echo_through(at_path, 100000);
    close(at_path);
    /* A port of the guest that nobody listens at: the client gets the end. */
    capsa_forward_info closed = forward(&g, CAPSA_FORWARD_TCP, 8);
    int fd = dial_port(closed.host_port, SOCK_STREAM);
    char byte;
    CHECK(read(fd, &byte, 1) <= 0, "somebody answered");
    close(fd);
    /* What is open stays when the forward goes. */
    fd = dial_port(info.host_port, SOCK_STREAM);
    put(fd, "before", 6);
    char got[6];
    CHECK_INT(recv(fd, got, sizeof got, MSG_WAITALL), 6);
    OK(capsa_vm_remove_forward(g.vm, info.id, &err));
    echo_through(fd, 100000);
    close(fd);
    power_off(&g);
}

TEST(net, tcp_forward, 90) { tcp_forward(ours); }
TEST(net, tcp_forward_stock, 120) { tcp_forward(stock); }

/* A client that comes before the guest is up waits for it. */
TEST(net, before_the_guest, 60) {
    guest g = boot(networked(ours, 0));
    capsa_forward_info info = forward(&g, CAPSA_FORWARD_TCP, 7);
    int fd = dial_port(info.host_port, SOCK_STREAM);

    put(fd, "early", 5);
    serve_tcp(&g, 7);
    configure(&g);
    char got[5];
    CHECK_INT(recv(fd, got, sizeof got, MSG_WAITALL), 5);
    CHECK(!memcmp(got, "early", 5), "other bytes came");
    close(fd);
    discard(&g);
}

/* Asks through a UDP socket until there is an answer; datagrams may get lost. */
static void ask(int fd, const void *question, size_t n) {
    static uint8_t got[65536];

    for (int tries = 0; tries < 20; tries++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        CHECK(send(fd, question, n, 0) == (ssize_t)n || errno == ECONNREFUSED, "send: %s", strerror(errno));
        if (poll(&p, 1, (int)patience(1000)) < 1) continue;
        ssize_t k = recv(fd, got, sizeof got, 0);
        if (k < 0) continue;
        CHECK(k == (ssize_t)n && !memcmp(got, question, n), "%zd bytes came back, of %zu", k, n);
        return;
    }
    FAIL("no answer");
}

TEST(net, udp_forward, 60) {
    guest g = boot_networked(networked(ours, 0));
    capsa_forward_info info = forward(&g, CAPSA_FORWARD_UDP, 9);
    uint8_t *data = pattern(9000);

    type(&g, "udp echo 9 &");
    int one = dial_port(info.host_port, SOCK_DGRAM), two = dial_port(info.host_port, SOCK_DGRAM);
    ask(one, "one", 3);
    ask(two, "two", 3); /* each gets its own */
    ask(one, data, 1400);
    ask(two, data, 9000); /* in fragments */
    close(one);
    close(two);
    free(data);
    discard(&g);
}

/* Datagrams of the guest, to the host's loopback. */
TEST(net, udp, 60) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char got[64] = "";

    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
              getsockname(fd, (struct sockaddr *)&at, &len) == 0,
          "%s", strerror(errno));
    guest g = boot_networked(networked(ours, CAPSA_NETWORK_HOST_ACCESS));
    type(&g, with_port("udp ask " GATEWAY " %u question", ntohs(at.sin_port)));
    len = sizeof from;
    await_fd(fd, POLLIN);
    CHECK_INT(recvfrom(fd, got, sizeof got - 1, 0, (struct sockaddr *)&from, &len), 8);
    CHECK_TEXT(got, "question");
    CHECK(sendto(fd, "reply", 5, 0, (struct sockaddr *)&from, len) == 5, "sendto: %s", strerror(errno));
    await_text(&g, "reply");
    close(fd);
    discard(&g);
}

/* ---- The policy ----------------------------------------------------------------------------------------------- */

/* Nothing leaves, and no name does; the gateway itself still answers. */
TEST(net, deny_all, 60) {
    capsa_builder *b = networked(ours, CAPSA_NETWORK_HOST_ACCESS);
    web w = {0};

    start_web(&w, hello, sizeof hello - 1);
    set_policy(b, "{\"default\":\"deny-all\"}");
    guest g = boot_networked(b);
    must_fail(&g, fetch(w.port));
    await_denied(&g, with_port(GATEWAY ":%u", w.port));
    must_fail(&g, "udp ask 192.0.2.1 9 x");
    await_denied(&g, "192.0.2.1:9");
    must_fail(&g, "nslookup secret.example.com | grep -q '^Name:'");
    await_denied(&g, "secret.example.com");
    must(&g, "ping -c 1 -W 20 " GATEWAY " && nslookup host.capsa.internal | grep -q '^Name:'");
    stop_web(&w);
    power_off(&g);
}

/* What a row allows is reached, and nothing beside it. */
TEST(net, rules, 60) {
    capsa_builder *b = networked(ours, CAPSA_NETWORK_HOST_ACCESS);
    web right = {0}, wrong = {0};
    char json[256];

    start_web(&right, hello, sizeof hello - 1);
    start_web(&wrong, hello, sizeof hello - 1);
    snprintf(json, sizeof json,
             "{\"default\":\"deny-all\",\"rules\":[{\"action\":\"allow\",\"addresses\":[\"" GATEWAY
             "\"],\"ports\":[%u],\"protocols\":[\"tcp\"]}]}",
             right.port);
    set_policy(b, json);
    guest g = boot_networked(b);
    CHECK_TEXT(must(&g, fetch(right.port)), "hello from the host");
    must_fail(&g, fetch(wrong.port));
    must_fail(&g, with_port("udp ask " GATEWAY " %u x", right.port));
    CHECK_TEXT(must(&g, fetch(right.port)), "hello from the host");
    stop_web(&right);
    stop_web(&wrong);
    power_off(&g);
}

/* A policy that changes while the guest runs: what is open ends, and what was refused is let through. */
TEST(net, live_policy, 60) {
    static const char deny[] = "{\"default\":\"deny-all\"}";
    unsigned port;
    int listener = listen_tcp(&port);
    guest g = boot_networked(networked(ours, CAPSA_NETWORK_HOST_ACCESS));
    char byte;

    type(&g, with_port("(nc " GATEWAY " %u; echo is''-over)", port));
    int fd = accept_one(listener);
    put(fd, "connected\n", 10);
    await_text(&g, "connected");
    OK(capsa_vm_set_policy_json(g.vm, deny, sizeof deny - 1, &err));
    await_text(&g, "is-over");
    await_fd(fd, POLLIN);
    CHECK(read(fd, &byte, 1) <= 0, "the host's side is still open");
    close(fd);
    must_fail(&g, with_port("echo | nc -w 5 " GATEWAY " %u", port));
    REFUSED(capsa_vm_set_policy_json(g.vm, "{}", 2, &err), CAPSA_E_INVALID_ARG, "default");
    OK(capsa_vm_set_policy_json(g.vm, NULL, 0, &err));
    type(&g, with_port("echo again | nc " GATEWAY " %u", port));
    fd = accept_one(listener);
    char got[6];
    CHECK_INT(get(fd, got, sizeof got), 6);
    CHECK(!memcmp(got, "again\n", 6), "other bytes came");
    close(fd);
    close(listener);
    discard(&g);
}

/* ---- The link ------------------------------------------------------------------------------------------------- */

static void await_carrier(guest *g, int up) {
    char command[256];

    snprintf(command, sizeof command,
             "i=0; until [ \"$(cat /sys/class/net/eth0/carrier)\" = %d ]; do i=$((i + 1)); [ $i -lt 300 ] || exit 1; "
             "sleep 0.1; done",
             up);
    must(g, command);
}

TEST(net, link, 60) {
    guest g = boot_networked(networked(ours, 0));

    await_carrier(&g, 1);
    OK(capsa_vm_set_link(g.vm, 0, &err));
    await_carrier(&g, 0);
    must_fail(&g, "ping -c 1 -W 1 " GATEWAY);
    OK(capsa_vm_set_link(g.vm, 1, &err));
    await_carrier(&g, 1);
    must(&g, "ping -c 3 -W 20 " GATEWAY);
    power_off(&g);
    g = boot(networked(ours, CAPSA_NETWORK_LINK_DOWN));
    must(&g, "ip link set eth0 up");
    await_carrier(&g, 0);
    OK(capsa_vm_set_link(g.vm, 1, &err));
    await_carrier(&g, 1);
    configure(&g);
    must(&g, "ping -c 1 -W 20 " GATEWAY);
    power_off(&g);
}

/* ---- Ends ----------------------------------------------------------------------------------------------------- */

/* A driver that goes and comes back finds the network again. */
TEST(net, driver_again, 60) {
    guest g = boot_networked(networked(ours, 0));

    must(&g, "d=$(basename $(readlink -f /sys/class/net/eth0/device)); cd /sys/bus/virtio/drivers/virtio_net && "
             "echo $d >unbind && echo $d >bind && cd /");
    configure(&g);
    must(&g, "ping -c 1 -W 20 " GATEWAY);
    power_off(&g);
}

/* A pause is no end. */
TEST(net, paused, 60) {
    guest g = boot_networked(networked(ours, 0));
    serve_tcp(&g, 7);
    capsa_forward_info info = forward(&g, CAPSA_FORWARD_TCP, 7);
    int fd = dial_port(info.host_port, SOCK_STREAM);

    put(fd, "before", 6);
    OK(capsa_vm_pause(g.vm, &err));
    put(fd, "during", 6);
    OK(capsa_vm_resume(g.vm, &err));
    CHECK(shutdown(fd, SHUT_WR) == 0, "shutdown");
    expect_bytes(fd, (const uint8_t *)"beforeduring", 12);
    close(fd);
    discard(&g);
}

/* A machine that is killed in the middle of everything leaves nothing: its ports are free, its clients see the end. */
TEST(net, killed, 60) {
    guest g = boot_networked(networked(ours, 0));
    serve_tcp(&g, 7);
    capsa_forward_info info = forward(&g, CAPSA_FORWARD_TCP, 7);
    int fd = dial_port(info.host_port, SOCK_STREAM);
    char byte;

    put(fd, "x", 1);
    CHECK_INT(get(fd, &byte, 1), 1);
    OK(capsa_vm_kill(g.vm, &err));
    ended(&g, CAPSA_CAUSE_KILLED);
    CHECK(read(fd, &byte, 1) <= 0, "the connection is still open");
    close(fd);
    discard(&g);
}
