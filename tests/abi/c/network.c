/* network.c - networks: options, policies and forwards and their JSON, and what needs no driver in the guest. */
#include "abi.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const char deny[] = "{\"default\":\"deny-all\"}";

struct later { /* a structure of a version to come */
    capsa_network_options known;
    uint64_t added;
};

static void option_sizes(capsa_builder *b) {
    struct later later = {CAPSA_NETWORK_OPTIONS_INIT, 0};
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;

    o.size--;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    o.size = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    later.known.size = sizeof later;
    OK(capsa_builder_set_network(b, &later.known, &e));
    later.added = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &later.known, &e));
    f.guest_port = 1;
    f.size--;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_forward(b, &f, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_add_forward(NULL, &f, &info, &e));
    f.size = sizeof f;
    info.size = 8;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_add_forward(NULL, &f, &info, &e));
    info.size = sizeof info;
    FAILS(CAPSA_E_HANDLE, capsa_vm_add_forward(NULL, &f, &info, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_add_forward(NULL, &f, NULL, &e));
}

/* One option that is wrong, by itself. */
#define WRONG(field, value)                                                                                           \
    do {                                                                                                              \
        capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;                                                         \
        o.mode = CAPSA_NETWORK_USER;                                                                                  \
        o.field = (value);                                                                                            \
        FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));                                             \
    } while (0)

static void bad_options(capsa_builder *b) {
    static const char *const nothing[] = {NULL}, *const bad[] = {"no address"}, *const no_name[] = {"a..b"};
    static const char *const nine[] = {"1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1",
                                       "1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1"};
    static const capsa_host_name hosts[] = {{"a", "192.0.2.1"}, {NULL, "192.0.2.1"},
                                            {"a", NULL},        {"a b", "192.0.2.1"},
                                            {"a", "192.0.2"},   {"host.capsa.internal", "192.0.2.1"}};
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;

    FAILS(CAPSA_E_HANDLE, capsa_builder_set_network(NULL, &o, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_network(NULL, NULL, &e));
    WRONG(mode, 3);
    WRONG(mode, UINT32_MAX);
    WRONG(flags, 8);
    WRONG(flags, 1u << 31);
    WRONG(mtu, 1279);
    WRONG(mtu, 65521);
    WRONG(mtu, UINT32_MAX);
    WRONG(mac, "01:00:5e:10:00:01"); /* a group's */
    WRONG(mac, "00:00:00:00:00:00");
    WRONG(mac, "02:00:5e:10:00");
    WRONG(ipv4, "");
    WRONG(ipv4, "10.0.2.0");
    WRONG(ipv4, "10.0.2.0/31");
    WRONG(ipv4, "127.0.0.0/8");
    WRONG(ipv4, "fd00::/64");
    WRONG(guest, "x");
    WRONG(guest, "10.0.3.15"); /* another network's */
    WRONG(guest, "10.0.2.2");  /* the gateway's */
    WRONG(guest, "10.0.2.255");
    WRONG(gateway, "10.0.2.0");
    WRONG(gateway, "fd00::1");
    WRONG(ipv6, "fd00::/63");
    WRONG(ipv6, "10.0.2.0/24");
    WRONG(ipv6, "fe80::/64");
    WRONG(hostname, "a.b");
    WRONG(hostname, "a b");
    WRONG(n_dns, 1);
    WRONG(n_search, 1);
    WRONG(n_hosts, 1);
    WRONG(n_dns, SIZE_MAX);
    WRONG(n_search, SIZE_MAX);
    WRONG(n_hosts, SIZE_MAX);
    o.mode = CAPSA_NETWORK_USER;
    o.n_dns = 1;
    o.dns = nothing;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    o.dns = bad;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    o.dns = nine;
    o.n_dns = 9;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    o.n_dns = 0;
    o.n_search = 1;
    o.search = nothing;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    o.search = no_name;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    o.n_search = 0;
    o.n_hosts = 1;
    o.hosts = hosts;
    OK(capsa_builder_set_network(b, &o, &e));
    for (size_t i = 1; i < sizeof hosts / sizeof hosts[0]; i++) {
        o.hosts = hosts + i;
        FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    }
    o = (capsa_network_options)CAPSA_NETWORK_OPTIONS_INIT;
    o.mode = CAPSA_NETWORK_USER;
    o.flags = CAPSA_NETWORK_NO_IPV6;
    o.ipv6 = "fd00::/64";
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    o.mode = CAPSA_NETWORK_NAT; /* what only a network of one's own has */
    o.flags = CAPSA_NETWORK_HOST_ACCESS;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network(b, &o, &e));
    OK(capsa_builder_set_network(b, NULL, &e));
}

static void bad_policies(capsa_builder *b) {
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "7",
                                        "null",
                                        "{}",
                                        "{\"default\":\"some\"}",
                                        "{\"default\":\"allow-all\",\"rule\":[]}",
                                        "{\"default\":\"allow-all\",\"rules\":[{}]}",
                                        "{\"default\":\"allow-all\",\"rules\":[{\"action\":\"allow\",\"ports\":[0]}]}",
                                        "{\"default\":\"allow-all\"}x"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_policy_json(b, texts[i], strlen(texts[i]), &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_policy_json(b, deny, (size_t)1 << 63, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_policy_json(NULL, deny, sizeof deny - 1, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_set_policy_json(NULL, deny, sizeof deny - 1, &e));
    static const char two[] =
        "{\"default\":\"some\",\"rules\":[{\"action\":\"allow\",\"any\":true},{\"action\":\"x\"}]}";
    CHECK(capsa_builder_set_policy_json(b, two, sizeof two - 1, &e) == CAPSA_E_INVALID_ARG);
    const char *detail = capsa_error_detail_json(e);
    CHECK(strstr(detail, "\"default\"") && strstr(detail, "rules[1].action"));
    capsa_error_free(e);
    e = NULL;
    OK(capsa_builder_set_policy_json(b, deny, sizeof deny - 1, &e));
    OK(capsa_builder_set_policy_json(b, NULL, 99, &e));
}

/* One option of a forward that is wrong, by itself. */
#define WRONG_FORWARD(field, value)                                                                                   \
    do {                                                                                                              \
        capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;                                                         \
        f.guest_port = 80;                                                                                            \
        f.field = (value);                                                                                            \
        FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_forward(b, &f, &e));                                             \
    } while (0)

static void bad_forwards(capsa_builder *b) {
    static char longest[109];
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;

    memset(longest, 'x', 108);
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_forward(b, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_forward(b, &f, &e)); /* no port of the guest */
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_add_forward(NULL, NULL, NULL, &e));
    WRONG_FORWARD(protocol, 2);
    WRONG_FORWARD(protocol, UINT32_MAX);
    WRONG_FORWARD(reserved, 1);
    WRONG_FORWARD(host, "");
    WRONG_FORWARD(host, "localhost");
    WRONG_FORWARD(host, "fe80::1%lo");
    WRONG_FORWARD(path, "");
    WRONG_FORWARD(path, "@x");
    WRONG_FORWARD(path, longest);
    f.guest_port = 80;
    FAILS(CAPSA_E_HANDLE, capsa_builder_add_forward(NULL, &f, &e));
    f.path = "/x";
    f.host_port = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_forward(b, &f, &e));
    f.host_port = 0;
    f.host = "127.0.0.1";
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_forward(b, &f, &e));
    f.host = NULL;
    f.protocol = CAPSA_FORWARD_UDP;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_forward(b, &f, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_remove_forward(NULL, 1, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_set_link(NULL, 1, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_forwards_json(NULL, NULL, &e));
}

static void json_form(void) {
    static const char want[] =
        "\"network\":{\"mode\":\"user\",\"mac\":\"02:00:5e:10:00:01\",\"mtu\":9000,\"ipv4\":\"192.168.7.0/24\","
        "\"guest\":\"192.168.7.8\",\"gateway\":\"192.168.7.1\",\"ipv6\":\"off\",\"hostname\":\"web\","
        "\"dns\":[\"192.0.2.53:53\",\"[2001:db8::53]:5353\"],\"search\":[\"example.com\"],"
        "\"hosts\":[{\"name\":\"db\",\"addresses\":[\"192.0.2.7\",\"2001:db8::7\"]},{\"name\":\"x\",\"addresses\":["
        "\"192.0.2.8\"]}],\"policy\":{\"default\":\"deny-all\"},\"host_access\":true,\"link_down\":true,"
        "\"forwards\":[{\"protocol\":\"tcp\",\"host\":\"127.0.0.1:0\",\"guest_port\":22},{\"protocol\":\"udp\","
        "\"host\":\"[::1]:5353\",\"guest_port\":53},{\"protocol\":\"tcp\",\"path\":\"/run/web\",\"guest_port\":80}]}";
    static const char *const dns[] = {"192.0.2.53", "[2001:db8::53]:5353"}, *const search[] = {"example.com"};
    static const capsa_host_name hosts[] = {{"db", "192.0.2.7"}, {"x", "192.0.2.8"}, {"db", "2001:db8::7"}};
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_builder *b = NULL, *again = NULL;
    char *one = NULL, *two = NULL;

    OK(capsa_builder_new(&b, &e));
    OK(capsa_builder_to_json(b, &one, &e));
    CHECK(!strstr(one, "network"));
    capsa_mem_free(one);
    f.guest_port = 22;
    OK(capsa_builder_add_forward(b, &f, &e));
    f.protocol = CAPSA_FORWARD_UDP;
    f.host = "::1";
    f.host_port = 5353;
    f.guest_port = 53;
    OK(capsa_builder_add_forward(b, &f, &e));
    f = (capsa_forward_options)CAPSA_FORWARD_OPTIONS_INIT;
    f.path = "/run/web";
    f.guest_port = 80;
    OK(capsa_builder_add_forward(b, &f, &e));
    OK(capsa_builder_set_policy_json(b, deny, sizeof deny - 1, &e));
    o.mode = CAPSA_NETWORK_USER;
    o.flags = CAPSA_NETWORK_NO_IPV6 | CAPSA_NETWORK_HOST_ACCESS | CAPSA_NETWORK_LINK_DOWN;
    o.mtu = 9000;
    o.mac = "02:00:5e:10:00:01";
    o.ipv4 = "192.168.7.0/24";
    o.guest = "192.168.7.8";
    o.gateway = "192.168.7.1";
    o.hostname = "web";
    o.dns = dns;
    o.n_dns = 2;
    o.search = search;
    o.n_search = 1;
    o.hosts = hosts;
    o.n_hosts = 3;
    OK(capsa_builder_set_network(b, &o, &e)); /* forwards and policy stay */
    OK(capsa_builder_to_json(b, &one, &e));
    if (!strstr(one, want)) fprintf(stderr, "%s\n", one);
    CHECK(strstr(one, want));
    OK(capsa_builder_from_json(one, strlen(one), &again, &e));
    OK(capsa_builder_to_json(again, &two, &e));
    CHECK(!strcmp(one, two));
    capsa_mem_free(one);
    capsa_mem_free(two);
    capsa_builder_free(again);
    capsa_builder_free(b);
}

/* What is wrong as a whole is told by the build, all of it. */
static void problems(void) {
    static const char text[] = "{\"boot\":{\"kernel\":\"/k\"},\"network\":{\"mode\":\"user\",\"mtu\":1,\"guest\":"
                               "\"10.0.2.2\",\"policy\":{\"default\":\"x\"},\"forwards\":[{\"protocol\":\"tcp\","
                               "\"guest_port\":0}]}}";
    capsa_builder *b = NULL;
    capsa_vm *vm = NULL;

    OK(capsa_builder_from_json(text, sizeof text - 1, &b, &e));
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_CONFIG && !vm);
    const char *detail = capsa_error_detail_json(e);
    CHECK(strstr(detail, "network.mtu") && strstr(detail, "network.guest") &&
          strstr(detail, "network.policy.default") && strstr(detail, "network.forwards[0].guest_port"));
    capsa_error_free(e);
    e = NULL;
    capsa_builder_free(b);

    /* A policy, or a forward, that nothing would keep. */
    b = guest_builder("spin");
    OK(capsa_builder_set_policy_json(b, deny, sizeof deny - 1, &e));
    FAILS(CAPSA_E_CONFIG, capsa_builder_build(b, &vm, &e));
    capsa_builder_free(b);
}

static capsa_builder *network_builder(void) {
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_builder *b = guest_builder("spin");

    o.mode = CAPSA_NETWORK_USER;
    OK(capsa_builder_set_network(b, &o, &e));
    return b;
}

/* Without a network of its own, or with the platform's, which this backend has not, every call says so. */
static void none(void) {
    capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_vm *vm = build_guest("spin");
    char *json = NULL;

    f.guest_port = 80;
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_add_forward(vm, &f, NULL, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_remove_forward(vm, 1, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_forwards_json(vm, &json, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_set_policy_json(vm, deny, sizeof deny - 1, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_set_link(vm, 1, &e));
    CHECK(!json);
    capsa_vm_free(vm);

    capsa_builder *b = guest_builder("spin");
    o.mode = CAPSA_NETWORK_NAT;
    OK(capsa_builder_set_network(b, &o, &e));
    vm = NULL;
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_UNSUPPORTED && strstr(capsa_error_message(e), "network-nat"));
    capsa_error_free(e);
    e = NULL;
    capsa_builder_free(b);
}

/* Connects to a port of the host's loopback; -1 if nobody listens. */
static int dial(uint16_t port) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
    CHECK(errno == ECONNREFUSED && close(fd) == 0);
    return -1;
}

static capsa_forward_info added(capsa_vm *vm, capsa_forward_options f) {
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;

    OK(capsa_vm_add_forward(vm, &f, &info, &e));
    CHECK(info.id && info.guest_port == f.guest_port && info.protocol == f.protocol);
    return info;
}

static void events(capsa_vm *vm, int64_t port) {
    capsa_event event = CAPSA_EVENT_INIT;
    char *json = NULL;

    do {
        capsa_mem_free(json);
        json = NULL;
        OK(capsa_vm_next_event(vm, 10000, NULL, &event, &json, &e));
    } while (event.type != CAPSA_EVENT_PORT_BOUND);
    CHECK(event.value == port && strstr(json, "\"guest_port\":22"));
    capsa_mem_free(json);
}

static void machine(uint32_t isolation) {
    char dir[] = "/tmp/capsa-abi-net-XXXXXX", path[64], want[128];
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT, at_path = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_device_stats stats = CAPSA_DEVICE_STATS_INIT;
    capsa_builder *b = network_builder();
    capsa_vm *vm = NULL, *second = NULL;
    struct stat st;
    char *json = NULL;
    char byte;
    uint32_t i = 0;

    OK(capsa_builder_set_isolation(b, isolation, 0, &e));
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/web", dir);
    f.guest_port = 22;
    OK(capsa_builder_add_forward(b, &f, &e));
    at_path.path = path;
    at_path.guest_port = 80;
    OK(capsa_builder_add_forward(b, &at_path, &e));
    OK(capsa_builder_build(b, &vm, &e));
    CHECK(lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    FAILS(CAPSA_E_EXISTS, capsa_builder_build(b, &second, &e));
    OK(capsa_vm_forwards_json(vm, &json, &e));
    int port = 0;
    CHECK(sscanf(json, "[{\"id\":1,\"protocol\":\"tcp\",\"host\":\"127.0.0.1:%d\",\"guest_port\":22}", &port) == 1 &&
          port);
    snprintf(want, sizeof want, "{\"id\":2,\"protocol\":\"tcp\",\"path\":\"%s\",\"guest_port\":80}]", path);
    CHECK(strstr(json, want));
    capsa_mem_free(json);
    events(vm, port);
    OK(capsa_vm_start(vm, -1, NULL, &e));

    /* Forwards come and go. */
    capsa_forward_info one = added(vm, f), info = CAPSA_FORWARD_INFO_INIT;
    CHECK(one.id == 3 && one.host_port && one.host_port != port && !strcmp(one.host, "127.0.0.1"));
    f.host_port = one.host_port;
    FAILS(CAPSA_E_EXISTS, capsa_vm_add_forward(vm, &f, &info, &e));
    FAILS(CAPSA_E_EXISTS, capsa_vm_add_forward(vm, &at_path, &info, &e));
    at_path.path = "/no/such/directory/web";
    FAILS(CAPSA_E_NOT_FOUND, capsa_vm_add_forward(vm, &at_path, &info, &e));
    f.protocol = CAPSA_FORWARD_UDP; /* another place */
    capsa_forward_info two = added(vm, f);
    CHECK(two.host_port == one.host_port);
    f.host = "192.0.2.1"; /* not this host's */
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_add_forward(vm, &f, &info, &e));
    f.guest_port = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_add_forward(vm, &f, &info, &e));
    CHECK(info.id == 0);
    int client = dial(one.host_port);
    CHECK(client >= 0); /* it waits for the guest */
    OK(capsa_vm_remove_forward(vm, one.id, &e));
    FAILS(CAPSA_E_NOT_FOUND, capsa_vm_remove_forward(vm, one.id, &e));
    FAILS(CAPSA_E_NOT_FOUND, capsa_vm_remove_forward(vm, 0, &e));
    CHECK(dial(one.host_port) < 0);
    OK(capsa_vm_remove_forward(vm, two.id, &e));
    OK(capsa_vm_remove_forward(vm, 2, &e));
    CHECK(lstat(path, &st) < 0 && errno == ENOENT);

    /* Policies and the link. */
    OK(capsa_vm_set_policy_json(vm, deny, sizeof deny - 1, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_set_policy_json(vm, "{}", 2, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_set_policy_json(vm, "", 0, &e));
    OK(capsa_vm_set_policy_json(vm, NULL, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_set_link(vm, 2, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_set_link(vm, -1, &e));
    OK(capsa_vm_set_link(vm, 0, &e));
    OK(capsa_vm_stats_json(vm, &json, &e));
    CHECK(strstr(json, "\"net\":{\"link\":false"));
    capsa_mem_free(json);
    OK(capsa_vm_set_link(vm, 1, &e));
    while (capsa_vm_device_stats(vm, i, &stats, &e) == CAPSA_OK && strcmp(stats.name, "network")) i++;
    CHECK(!e && stats.virtio_id == 1 && stats.requests == 0);
    OK(capsa_vm_metrics(vm, &json, &e));
    CHECK(strstr(json, "capsa_net_link_up{"));
    capsa_mem_free(json);

    /* The end. */
    int waits = dial((uint16_t)port);
    CHECK(waits >= 0);
    OK(capsa_vm_kill(vm, &e));
    CHECK(read(waits, &byte, 1) <= 0 && read(client, &byte, 1) <= 0);
    CHECK(close(waits) == 0 && close(client) == 0 && dial((uint16_t)port) < 0);
    f = (capsa_forward_options)CAPSA_FORWARD_OPTIONS_INIT;
    f.guest_port = 22;
    FAILS(CAPSA_E_STATE, capsa_vm_add_forward(vm, &f, NULL, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_remove_forward(vm, 1, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_forwards_json(vm, &json, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_set_policy_json(vm, NULL, 0, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_set_link(vm, 1, &e));
    capsa_vm_free(vm);
    capsa_builder_free(b);
    CHECK(rmdir(dir) == 0);
}

int main(void) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new(&b, &e));
    option_sizes(b);
    bad_options(b);
    bad_policies(b);
    bad_forwards(b);
    capsa_builder_free(b);
    json_form();
    problems();
    CHECK(capsa_has("network"));
    need_kvm();
    none();
    machine(CAPSA_ISOLATION_NONE);
    machine(CAPSA_ISOLATION_PROCESS); /* confined, too */
    return 0;
}
