/* shares.c - shared directories: options and their JSON, the directory of a machine on /dev/kvm, and its counters. */
#include "abi.h"

#include <sys/stat.h>

struct later { /* a structure of a version to come */
    capsa_share_options known;
    uint64_t added;
};

static void option_sizes(capsa_builder *b) {
    struct later later = {CAPSA_SHARE_OPTIONS_INIT, 0};
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;

    o.size--;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "/a", &o, &e));
    o.size = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "/a", &o, &e));
    later.known.size = sizeof later;
    OK(capsa_builder_add_share(b, "later", "/a", &later.known, &e));
    later.added = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "/a", &later.known, &e));
}

/* One option that is wrong, by itself. */
#define WRONG(field, value)                                                                                           \
    do {                                                                                                              \
        capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;                                                             \
        o.field = (value);                                                                                            \
        FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "/a", &o, &e));                                    \
    } while (0)

static void bad_options(capsa_builder *b) {
    static const capsa_id_range twice[] = {{0, 1000, 10}, {5, 5000, 1}}, wraps[] = {{UINT32_MAX - 1, 0, 2}};
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;

    FAILS(CAPSA_E_HANDLE, capsa_builder_add_share(NULL, "t", "/a", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, NULL, "/a", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "", "/a", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "a\nb", "/a", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "\xff", "/a", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "a tag of thirty-seven characters, yes", "/a", NULL, &e));
    WRONG(flags, 1u << 31);
    WRONG(flags, CAPSA_SHARE_ACL);
    WRONG(flags, CAPSA_SHARE_ALLOW_DEVICES);
    WRONG(cache, 3);
    WRONG(cache, UINT32_MAX);
    WRONG(owner, 4);
    WRONG(owner, CAPSA_SHARE_OWNER_RANGES);
    WRONG(xattr, 3);
    WRONG(xattr, CAPSA_SHARE_XATTR_ALL);
    WRONG(queues, 17);
    WRONG(queues, UINT32_MAX);
    WRONG(guest_uid, UINT32_MAX);
    WRONG(max_files, 1);
    WRONG(max_inodes, UINT32_MAX);
    WRONG(n_uids, 1);
    WRONG(n_gids, SIZE_MAX);
    o.cache = CAPSA_SHARE_CACHE_NONE;
    o.flags = CAPSA_SHARE_WRITEBACK;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "/a", &o, &e));
    o = (capsa_share_options)CAPSA_SHARE_OPTIONS_INIT;
    o.owner = CAPSA_SHARE_OWNER_RANGES;
    o.gids = o.uids = twice;
    o.n_gids = o.n_uids = 2;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "/a", &o, &e));
    o.gids = o.uids = wraps;
    o.n_gids = o.n_uids = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "t", "/a", &o, &e));
    OK(capsa_builder_add_share(b, "taken", "/a", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_share(b, "taken", "/b", NULL, &e));
}

static void json_form(void) {
    static const char want[] =
        "\"shares\":[{\"tag\":\"src\",\"path\":\"/a\"},{\"tag\":\"all\",\"path\":\"/b\",\"read_only\":true,"
        "\"cache\":\"always\",\"owner\":\"ranges\",\"uids\":[{\"guest\":0,\"host\":1000,\"count\":1}],"
        "\"gids\":[{\"guest\":1,\"host\":1001,\"count\":2}],\"xattr\":\"none\",\"guest_locks\":true,"
        "\"one_file_system\":true,\"allow_set_id\":true,\"direct_io\":true,\"max_files\":64,\"max_inodes\":1000,"
        "\"queues\":2},{\"tag\":\"own\",\"path\":\"/c\",\"writeback\":true,\"guest_uid\":1,\"guest_gid\":2,"
        "\"host_uid\":0,\"host_gid\":4}]";
    static const capsa_id_range uids[] = {{0, 1000, 1}}, gids[] = {{1, 1001, 2}};
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT, own = CAPSA_SHARE_OPTIONS_INIT;
    capsa_builder *b = NULL, *again = NULL;
    char *one = NULL, *two = NULL;

    OK(capsa_builder_new(&b, &e));
    OK(capsa_builder_add_share(b, "src", "/a", NULL, &e));
    o.flags = CAPSA_SHARE_READ_ONLY | CAPSA_SHARE_GUEST_LOCKS | CAPSA_SHARE_ONE_FILE_SYSTEM |
              CAPSA_SHARE_ALLOW_SET_ID | CAPSA_SHARE_DIRECT_IO;
    o.cache = CAPSA_SHARE_CACHE_ALWAYS;
    o.owner = CAPSA_SHARE_OWNER_RANGES;
    o.xattr = CAPSA_SHARE_XATTR_NONE;
    o.queues = 2;
    o.max_files = 64;
    o.max_inodes = 1000;
    o.uids = uids;
    o.gids = gids;
    o.n_uids = o.n_gids = 1;
    OK(capsa_builder_add_share(b, "all", "/b", &o, &e));
    own.flags = CAPSA_SHARE_WRITEBACK | CAPSA_SHARE_HOST_IDS;
    own.guest_uid = 1;
    own.guest_gid = 2;
    own.host_gid = 4;
    OK(capsa_builder_add_share(b, "own", "/c", &own, &e));
    OK(capsa_builder_to_json(b, &one, &e));
    CHECK(strstr(one, want));
    OK(capsa_builder_from_json(one, strlen(one), &again, &e));
    OK(capsa_builder_to_json(again, &two, &e));
    CHECK(!strcmp(one, two));
    capsa_mem_free(one);
    capsa_mem_free(two);
    capsa_builder_free(again);
    capsa_builder_free(b);
}

/* What is wrong with the directories is told at once, when the machine is built. */
static void problems(void) {
    capsa_builder *b = guest_builder("spin");
    capsa_vm *vm = NULL;

    OK(capsa_builder_add_share(b, "none", "/no/such/directory", NULL, &e));
    FAILS(CAPSA_E_NOT_FOUND, capsa_builder_build(b, &vm, &e));
    OK(capsa_builder_add_share(b, "file", "/proc/self/exe", NULL, &e));
    CHECK(capsa_builder_build(b, &vm, &e) != CAPSA_OK);
    const char *detail = capsa_error_detail_json(e);
    CHECK(strstr(detail, "shares[0]") && strstr(detail, "shares[1]") && strstr(detail, "/no/such/directory"));
    capsa_error_free(e);
    e = NULL;
    capsa_builder_free(b);
    b = guest_builder("spin");
    OK(capsa_builder_add_share(b, "kernel", "/proc", NULL, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_builder_build(b, &vm, &e));
    capsa_builder_free(b);
    b = guest_builder("spin");
    for (int i = 0; i < 15; i++) {
        char name[32];
        snprintf(name, sizeof name, "share%d", i);
        OK(capsa_builder_add_share(b, name, "/tmp", NULL, &e));
    }
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_LIMIT && strstr(capsa_error_detail_json(e), "shares"));
    capsa_error_free(e);
    e = NULL;
    capsa_builder_free(b);
}

/* A machine has its directory open from the build to the end, and counts what the guest does there. */
static void machine(void) {
    char dir[] = "/tmp/capsa-abi-share-XXXXXX";
    capsa_device_stats stats = CAPSA_DEVICE_STATS_INIT;
    capsa_builder *b = guest_builder("spin");
    capsa_vm *vm = NULL;
    char *text = NULL;
    uint32_t i = 0;

    CHECK(mkdtemp(dir));
    OK(capsa_builder_add_share(b, "dir", dir, NULL, &e));
    OK(capsa_builder_build(b, &vm, &e));
    CHECK(rmdir(dir) == 0); /* the machine keeps it, and nobody is in the way */
    OK(capsa_vm_start(vm, 10000, NULL, &e));
    while (capsa_vm_device_stats(vm, i, &stats, &e) == CAPSA_OK && strcmp(stats.name, "share 0")) i++;
    CHECK(!e && stats.virtio_id == 26 && stats.requests == 0);
    OK(capsa_vm_stats_json(vm, &text, &e));
    CHECK(strstr(text, "\"share\":{") && strstr(text, "\"max_files\":"));
    capsa_mem_free(text);
    capsa_vm_free(vm);
    capsa_builder_free(b);
}

int main(void) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new(&b, &e));
    option_sizes(b);
    bad_options(b);
    capsa_builder_free(b);
    json_form();
    need_kvm();
    problems();
    machine();
    return 0;
}
