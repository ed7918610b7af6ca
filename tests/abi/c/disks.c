/* disks.c - disks: options and their JSON, images of machines on /dev/kvm, locks, and the counters of devices. */
#include "abi.h"

struct later { /* a structure of a version to come */
    capsa_disk_options known;
    uint64_t added;
};

static void option_sizes(capsa_builder *b) {
    struct later later = {CAPSA_DISK_OPTIONS_INIT, 0};
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;

    o.size--;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.size = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    later.known.size = sizeof later;
    OK(capsa_builder_add_disk(b, "/a", &later.known, &e));
    later.added = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &later.known, &e));
}

static void bad_options(capsa_builder *b) {
    static const char *const holes[] = {"/x", NULL};
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;

    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "", NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_add_disk(NULL, "/a", NULL, &e));
    o.flags = 1u << 31;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.flags = CAPSA_DISK_READ_ONLY | CAPSA_DISK_TEMPORARY;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.flags = 0;
    o.format = 3;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.format = UINT32_MAX;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.format = 0;
    o.queues = UINT32_MAX;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.queues = 0;
    o.serial = "a serial number of more than 20 bytes";
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.serial = NULL;
    o.iops_burst = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.iops_burst = 0;
    o.n_backing_dirs = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.backing_dirs = holes;
    o.n_backing_dirs = 2;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
    o.n_backing_dirs = SIZE_MAX;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_add_disk(b, "/a", &o, &e));
}

static void json_form(void) {
    static const char *const dirs[] = {"/x", "/y"};
    static const char want[] = "\"disks\":[{\"path\":\"/a\"},{\"path\":\"/b\",\"format\":\"raw\",\"temporary\":true,"
                               "\"scratch_dir\":\"/s\",\"backing_dirs\":[\"/x\",\"/y\"],\"serial\":\"data\","
                               "\"direct\":true,\"queues\":2,\"limit\":{\"iops\":1,\"iops_burst\":2,"
                               "\"bytes_per_sec\":3,\"bytes_burst\":4},\"root\":true}]";
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;
    capsa_builder *b = NULL, *again = NULL;
    char *one = NULL, *two = NULL;

    OK(capsa_builder_new(&b, &e));
    OK(capsa_builder_add_disk(b, "/a", NULL, &e));
    o.flags = CAPSA_DISK_TEMPORARY | CAPSA_DISK_DIRECT | CAPSA_DISK_ROOT;
    o.format = CAPSA_DISK_FORMAT_RAW;
    o.queues = 2;
    o.scratch_dir = "/s";
    o.serial = "data";
    o.backing_dirs = dirs;
    o.n_backing_dirs = 2;
    o.iops = 1;
    o.iops_burst = 2;
    o.bytes_per_sec = 3;
    o.bytes_burst = 4;
    OK(capsa_builder_add_disk(b, "/b", &o, &e));
    OK(capsa_builder_to_json(b, &one, &e));
    CHECK(strstr(one, want));
    OK(capsa_builder_from_json(one, strlen(one), &again, &e));
    OK(capsa_builder_to_json(again, &two, &e));
    CHECK(strcmp(one, two) == 0);
    capsa_mem_free(one);
    capsa_mem_free(two);
    capsa_builder_free(again);
    capsa_builder_free(b);
}

/* A raw image of 1 MiB; the caller unlinks it. */
static void make_image(char *path) {
    int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
    close(fd);
}

static capsa_builder *with_disk(const char *path, uint32_t flags) {
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;
    capsa_builder *b = guest_builder("spin");

    o.flags = flags;
    o.format = CAPSA_DISK_FORMAT_RAW;
    OK(capsa_builder_add_disk(b, path, &o, &e));
    return b;
}

/* Who writes an image has it alone; readers share it. */
static void locks(void) {
    char path[] = "/tmp/capsa-abi-disk-XXXXXX";
    capsa_vm *one = NULL, *two = NULL;

    make_image(path);
    capsa_builder *writer = with_disk(path, 0), *reader = with_disk(path, CAPSA_DISK_READ_ONLY),
                  *over = with_disk(path, CAPSA_DISK_TEMPORARY);
    OK(capsa_builder_build(writer, &one, &e));
    FAILS(CAPSA_E_UNAVAILABLE, capsa_builder_build(writer, &two, &e));
    FAILS(CAPSA_E_UNAVAILABLE, capsa_builder_build(reader, &two, &e));
    FAILS(CAPSA_E_UNAVAILABLE, capsa_builder_build(over, &two, &e));
    capsa_vm_free(one);
    OK(capsa_builder_build(reader, &one, &e));
    OK(capsa_builder_build(over, &two, &e));
    capsa_vm_free(two);
    OK(capsa_builder_build(over, &two, &e));
    capsa_vm_free(two);
    FAILS(CAPSA_E_UNAVAILABLE, capsa_builder_build(writer, &two, &e));
    capsa_vm_free(one);
    capsa_builder_free(writer);
    capsa_builder_free(reader);
    capsa_builder_free(over);
    CHECK(unlink(path) == 0);
}

/* Everything that is wrong with the disks is told at once. */
static void problems(void) {
    char path[] = "/tmp/capsa-abi-disk-XXXXXX";
    capsa_vm *vm = NULL;

    make_image(path);
    capsa_builder *b = guest_builder("spin");
    OK(capsa_builder_add_disk(b, "/no/such/image", NULL, &e));
    OK(capsa_builder_add_disk(b, path, NULL, &e)); /* raw, and nobody says so */
    capsa_status s = capsa_builder_build(b, &vm, &e);
    CHECK(s == CAPSA_E_NOT_FOUND || s == CAPSA_E_CONFIG);
    const char *detail = capsa_error_detail_json(e);
    CHECK(strstr(detail, "disks[0]") && strstr(detail, "disks[1]") && strstr(detail, "/no/such/image"));
    capsa_error_free(e);
    e = NULL;
    OK(capsa_builder_add_disk(b, path, NULL, &e)); /* the same again, and written by both */
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_CONFIG && strstr(capsa_error_detail_json(e), "disks[2].path"));
    capsa_error_free(e);
    e = NULL;
    capsa_builder_free(b);
    b = guest_builder("spin");
    for (int i = 0; i < 15; i++) {
        char name[32];
        snprintf(name, sizeof name, "/disk%d", i);
        OK(capsa_builder_add_disk(b, name, NULL, &e));
    }
    CHECK(capsa_builder_build(b, &vm, &e) == CAPSA_E_LIMIT && strstr(capsa_error_message(e), "disk 14"));
    capsa_error_free(e);
    e = NULL;
    capsa_builder_free(b);
    CHECK(unlink(path) == 0);
}

static void counters(void) {
    char path[] = "/tmp/capsa-abi-disk-XXXXXX";
    capsa_stats stats = CAPSA_STATS_INIT;
    capsa_vm *vm = NULL;
    char *text = NULL;
    int found = 0;

    make_image(path);
    capsa_builder *b = with_disk(path, 0);
    OK(capsa_builder_set_name(b, "counted", &e));
    OK(capsa_builder_set_cmdline(b, "print:hello off", &e));
    OK(capsa_builder_build(b, &vm, &e));
    OK(capsa_vm_stats(vm, &stats, &e));
    CHECK(stats.size == sizeof stats && stats.state == CAPSA_STATE_CREATED && stats.cpus == 1);
    CHECK(stats.memory_bytes == 32u << 20 && stats.created_ns > 0 && stats.started_ns == 0 && stats.exits == 0);
    OK(capsa_vm_start(vm, -1, NULL, &e));
    OK(capsa_vm_wait(vm, 30000, NULL, NULL, &e));
    OK(capsa_vm_stats(vm, &stats, &e));
    CHECK(stats.state == CAPSA_STATE_STOPPED && stats.exits == stats.exits_io + stats.exits_mmio + stats.exits_other);
    CHECK(stats.exits_io > 0 && stats.exits_mmio > 0 && stats.oom_kills == 0);
    CHECK(stats.created_ns <= stats.first_instruction_ns && stats.first_instruction_ns <= stats.first_exit_ns);
    CHECK(stats.first_exit_ns <= stats.drivers_up_ns && stats.drivers_up_ns <= stats.console_open_ns);
    CHECK(stats.console_open_ns <= stats.ended_ns);
    for (uint32_t i = 0; i < stats.devices; i++) {
        capsa_device_stats d = CAPSA_DEVICE_STATS_INIT;
        OK(capsa_vm_device_stats(vm, i, &d, &e));
        if (strcmp(d.name, "console") == 0) {
            CHECK(d.virtio_id == 3 && d.bytes_in == 6 && d.requests > 0 && d.faults == 0);
            found++;
        }
        if (strcmp(d.name, "disk 0") == 0) {
            CHECK(d.virtio_id == 2 && d.requests == 0);
            found++;
        }
    }
    CHECK(found == 2);
    capsa_device_stats none = CAPSA_DEVICE_STATS_INIT;
    FAILS(CAPSA_E_NOT_FOUND, capsa_vm_device_stats(vm, stats.devices, &none, &e));
    FAILS(CAPSA_E_NOT_FOUND, capsa_vm_device_stats(vm, UINT32_MAX, &none, &e));

    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_metrics(vm, NULL, &e));
    OK(capsa_vm_metrics(vm, &text, &e));
    CHECK(strstr(text, "capsa_device_bytes_total{") &&
          strstr(text, "vm=\"counted\",device=\"console\",direction=\"in\"} 6\n"));
    capsa_mem_free(text);
    FAILS(CAPSA_E_INVALID_ARG, capsa_metrics(NULL, &e));
    OK(capsa_metrics(&text, &e));
    CHECK(strstr(text, "vm=\"counted\",state=\"stopped\"} 1\n"));
    capsa_mem_free(text);
    capsa_vm_free(vm);
    OK(capsa_metrics(&text, &e));
    CHECK(!strstr(text, "counted"));
    capsa_mem_free(text);
    capsa_builder_free(b);
    CHECK(unlink(path) == 0);
}

int main(void) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new(&b, &e));
    option_sizes(b);
    bad_options(b);
    capsa_builder_free(b);
    json_form();
    need_kvm();
    locks();
    problems();
    counters();
    return 0;
}
