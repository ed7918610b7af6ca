/* structs.c - sizes of structures: none, too small, larger with and without content; builder settings and their JSON. */
#include "abi.h"

struct later { /* a structure of a version to come */
    capsa_console_options known;
    uint64_t added;
};

static void option_sizes(capsa_builder *b) {
    struct later later = {CAPSA_CONSOLE_OPTIONS_INIT, 0};
    capsa_console_options o = CAPSA_CONSOLE_OPTIONS_INIT;
    static const uint32_t wrong[] = {0, 1, 4, sizeof o - 1, 4097, 0x80000000u, UINT32_MAX};

    OK(capsa_builder_set_console(b, &o, &e));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        o.size = wrong[i];
        FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_console(b, &o, &e));
    }
    later.known.size = sizeof later;
    OK(capsa_builder_set_console(b, &later.known, &e));
    later.added = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_console(b, &later.known, &e));
    o.size = sizeof o;
    o.ring_size = UINT64_MAX;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_console(b, &o, &e));
}

static void balloon(capsa_builder *b) {
    capsa_balloon_options o = CAPSA_BALLOON_OPTIONS_INIT;
    char *json = NULL;

    OK(capsa_builder_set_balloon(b, NULL, &e));
    OK(capsa_builder_set_balloon(b, &o, &e));
    OK(capsa_builder_to_json(b, &json, &e));
    CHECK(!strstr(json, "balloon")); /* the default */
    capsa_mem_free(json);
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_balloon(NULL, &o, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_set_memory_target(NULL, 0, &e));
    o.flags = CAPSA_BALLOON_NO_REPORTING | CAPSA_BALLOON_NO_DEFLATE_ON_OOM;
    OK(capsa_builder_set_balloon(b, &o, &e));
    o.flags = 8;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_balloon(b, &o, &e));
    o.size = 4;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_balloon(b, &o, &e));
    OK(capsa_builder_to_json(b, &json, &e));
    CHECK(strstr(json, "\"balloon\":{\"enabled\":true,\"reporting\":false,\"deflate_on_oom\":false}"));
    capsa_mem_free(json);
    OK(capsa_builder_set_balloon(b, NULL, &e));
}

/* Sizes are checked before handles are looked at. */
static void other_sizes(void) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_event event = CAPSA_EVENT_INIT;
    capsa_match match = CAPSA_MATCH_INIT;
    capsa_pattern p[2] = {CAPSA_LITERAL("a"), CAPSA_REGEX("b")};

    info.size = event.size = match.size = 3;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_wait(NULL, 0, NULL, &info, &e));
    capsa_stats stats = CAPSA_STATS_INIT;
    capsa_device_stats device = CAPSA_DEVICE_STATS_INIT;
    capsa_stop_options stop = CAPSA_STOP_OPTIONS_INIT;
    capsa_stop_outcome outcome = CAPSA_STOP_OUTCOME_INIT;
    FAILS(CAPSA_E_HANDLE, capsa_vm_stats(NULL, &stats, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_device_stats(NULL, 0, &device, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_stop_in_stages(NULL, &stop, NULL, &outcome, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_stop_in_stages(NULL, NULL, NULL, NULL, &e));
    stats.size = device.size = outcome.size = 8;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_stats(NULL, &stats, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_stats(NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_device_stats(NULL, 0, &device, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_device_stats(NULL, 0, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_stop_in_stages(NULL, &stop, NULL, &outcome, &e));
    stop.size = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_stop_in_stages(NULL, &stop, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_next_event(NULL, 0, NULL, &event, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(NULL, 0, NULL, p, 2, &match, NULL, &e));
    match.size = sizeof match;
    FAILS(CAPSA_E_HANDLE, capsa_console_expect(NULL, 0, NULL, p, 2, &match, NULL, &e));
    p[1].size = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(NULL, 0, NULL, p, 2, &match, NULL, &e));
    p[1].size = sizeof p[1];
    p[1].len = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(NULL, 0, NULL, p, 2, &match, NULL, &e));
    p[0].size = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_console_expect(NULL, 0, NULL, p, 2, &match, NULL, &e));
}

static void settings(capsa_builder *b) {
    char *long_text = malloc(1 << 20);

    CHECK(long_text);
    memset(long_text, 'x', 1 << 20);
    long_text[(1 << 20) - 1] = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_cpus(b, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_cpus(b, UINT32_MAX, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_memory_mib(b, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_memory_mib(b, UINT64_MAX, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_memory_mib(b, 1ull << 44, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_timeout(b, -1, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_timeout(b, INT64_MAX, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_name(b, long_text, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_name(b, "\xff\xfe", &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_cmdline_arg(b, "a\nb", &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_boot_linux(b, "", NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_boot_linux(b, long_text, NULL, &e));
    FAILS(CAPSA_E_NOT_FOUND, capsa_builder_set_backend(b, "no such backend", &e));
    free(long_text);
}

static void json_form(capsa_builder *b) {
    capsa_builder *copy = NULL, *other = NULL;
    char *one = NULL, *two = NULL, *three = NULL;

    OK(capsa_builder_set_name(b, "nord\xc3\xb6st", &e));
    OK(capsa_builder_boot_linux(b, "/boot/kernel", "/boot/initrd", &e));
    OK(capsa_builder_cmdline_arg(b, "quiet", &e));
    OK(capsa_builder_set_cpus(b, 3, &e));
    OK(capsa_builder_set_memory_mib(b, 777, &e));
    OK(capsa_builder_set_timeout(b, 1500, &e));
    OK(capsa_builder_to_json(b, &one, &e));
    CHECK(strstr(one, "\"memory_mib\":777") && strstr(one, "nord\xc3\xb6st"));
    OK(capsa_builder_from_json(one, strlen(one), &other, &e));
    OK(capsa_builder_to_json(other, &two, &e));
    CHECK(strcmp(one, two) == 0);
    OK(capsa_builder_clone(b, &copy, &e));
    OK(capsa_builder_set_cpus(b, 5, &e));
    OK(capsa_builder_to_json(copy, &three, &e));
    CHECK(strcmp(one, three) == 0);
    capsa_builder_free(copy);
    capsa_builder_free(other);
    capsa_mem_free(one);
    capsa_mem_free(two);
    capsa_mem_free(three);
}

static void bad_json(void) {
    static const char *const texts[] = {
        "", "{", "[]", "7", "null x", "{\"cpu\":1}", "{\"cpus\":\"x\"}", "{\"cpus\":1}x", "\xff\xff"};
    capsa_builder *b = NULL;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        FAILS(CAPSA_E_CONFIG, capsa_builder_from_json(texts[i], strlen(texts[i]), &b, &e));
    FAILS(CAPSA_E_CONFIG, capsa_builder_from_json("{}", (size_t)1 << 63, &b, &e));
    CHECK(!b);
    CHECK(capsa_builder_from_json("{\"one\":1,\"two\":2}", 17, &b, &e) == CAPSA_E_CONFIG);
    CHECK(strstr(capsa_error_detail_json(e), "one") && strstr(capsa_error_detail_json(e), "two"));
    capsa_error_free(e);
    e = NULL;
}

/* A build that cannot work names everything that is wrong at once. */
static void all_problems(void) {
    static const char text[] = "{\"cpus\":0,\"memory_mib\":0}";
    capsa_builder *b = NULL;
    capsa_vm *vm = NULL;

    OK(capsa_builder_from_json(text, strlen(text), &b, &e));
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_CONFIG && !vm);
    const char *detail = capsa_error_detail_json(e);
    CHECK(strstr(detail, "\"cpus\"") && strstr(detail, "\"memory_mib\"") && strstr(detail, "\"boot.kernel\""));
    capsa_error_free(e);
    e = NULL;
    capsa_builder_free(b);
}

int main(void) {
    capsa_builder *b = NULL;
    char *doctor = NULL;

    OK(capsa_builder_new(&b, &e));
    option_sizes(b);
    balloon(b);
    other_sizes();
    settings(b);
    capsa_builder_free(b);
    OK(capsa_builder_new(&b, &e));
    json_form(b);
    capsa_builder_free(b);
    bad_json();
    all_problems();
    OK(capsa_doctor(&doctor, &e));
    CHECK(strstr(doctor, "\"kvm\""));
    capsa_mem_free(doctor);
    return 0;
}
