/* vsock.c - sockets between guest and host: options, and what needs no driver in the guest. */
#include "abi.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char dir[] = "/tmp/capsa-abi-XXXXXX", in_path[64], out_path[64];

static void bad_options(capsa_builder *b) {
    static char longest[109];

    memset(longest, 'x', 108);
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_vsock(NULL, 1, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_vsock(b, 2, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_vsock(b, -1, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_vsock_listen(NULL, 1, "/x", 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_listen(b, 1, NULL, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_listen(b, 1, "", 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_listen(b, 1, longest, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_listen(b, UINT32_MAX, "/x", 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_listen(b, 1, "/x", 2, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_vsock_connect(NULL, 1, "/x", 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_connect(b, 1, NULL, 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_connect(b, 1, "@x", 0, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_vsock_connect(b, 1, "/x", UINT32_MAX, &e));
}

static void json_form(capsa_builder *b) {
    capsa_builder *copy = NULL;
    char *json = NULL, *again = NULL;

    OK(capsa_builder_to_json(b, &json, &e));
    CHECK(!strstr(json, "vsock"));
    capsa_mem_free(json);
    OK(capsa_builder_set_vsock(b, 1, &e));
    OK(capsa_builder_to_json(b, &json, &e));
    CHECK(strstr(json, "\"vsock\":{\"enabled\":true}"));
    capsa_mem_free(json);
    OK(capsa_builder_vsock_listen(b, 22, "/in", 0, &e));
    OK(capsa_builder_vsock_connect(b, UINT32_MAX - 1, "/out", CAPSA_VSOCK_SEQPACKET, &e));
    OK(capsa_builder_to_json(b, &json, &e));
    CHECK(strstr(json, "{\"port\":22,\"mode\":\"listen\",\"path\":\"/in\"}"));
    CHECK(strstr(json, "{\"port\":4294967294,\"mode\":\"connect\",\"path\":\"/out\",\"type\":\"seqpacket\"}"));
    OK(capsa_builder_from_json(json, strlen(json), &copy, &e));
    OK(capsa_builder_to_json(copy, &again, &e));
    CHECK(!strcmp(json, again));
    capsa_mem_free(json);
    capsa_mem_free(again);
    capsa_builder_free(copy);
}

/* Without sockets every call says so. */
static void none(void) {
    capsa_vm *vm = build_guest("spin");
    int fd = -7;

    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_vsock_connect(vm, 1, 0, -1, NULL, &fd, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_vsock_listen(vm, 1, 0, 1, &fd, &e));
    FAILS(CAPSA_E_UNSUPPORTED, capsa_vm_vsock_unlisten(vm, 1, &e));
    CHECK(fd == -7);
    capsa_vm_free(vm);
}

static void listening(capsa_vm *vm) {
    int fd = -7, type = 0, listens = 0, unwanted = -7;
    socklen_t len = sizeof type;

    OK(capsa_vm_vsock_listen(vm, 9, CAPSA_VSOCK_SEQPACKET, 4, &fd, &e));
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens);
    CHECK(accept(fd, NULL, NULL) < 0 && errno == EAGAIN);
    FAILS(CAPSA_E_EXISTS, capsa_vm_vsock_listen(vm, 9, 0, 4, &unwanted, &e));
    FAILS(CAPSA_E_EXISTS, capsa_vm_vsock_listen(vm, 80, 0, 4, &unwanted, &e)); /* bound by the builder */
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_listen(vm, 10, 0, 0, &unwanted, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_listen(vm, 10, 0, -1, &unwanted, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_listen(vm, 10, 2, 1, &unwanted, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_listen(vm, UINT32_MAX, 0, 1, &unwanted, &e));
    OK(capsa_vm_vsock_unlisten(vm, 9, &e));
    FAILS(CAPSA_E_NOT_FOUND, capsa_vm_vsock_unlisten(vm, 9, &e));
    OK(capsa_vm_vsock_unlisten(vm, 80, &e));
    CHECK(unwanted == -7 && close(fd) == 0);
}

/* This guest has no driver: nobody answers. */
static void connecting(capsa_vm *vm) {
    capsa_cancel *cancel = NULL;
    int fd = -7;

    FAILS(CAPSA_E_TIMEOUT, capsa_vm_vsock_connect(vm, 1, 0, 0, NULL, &fd, &e));
    FAILS(CAPSA_E_TIMEOUT, capsa_vm_vsock_connect(vm, 1, CAPSA_VSOCK_SEQPACKET, 20, NULL, &fd, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_connect(vm, UINT32_MAX, 0, -1, NULL, &fd, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_vm_vsock_connect(vm, 1, 2, -1, NULL, &fd, &e));
    OK(capsa_cancel_new(&cancel, &e));
    OK(capsa_cancel_trigger(cancel, &e));
    FAILS(CAPSA_E_CANCELLED, capsa_vm_vsock_connect(vm, 1, 0, -1, cancel, &fd, &e));
    capsa_cancel_free(cancel);
    CHECK(fd == -7);
}

static int dial(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", in_path);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

static void *wait_for_answer(void *vm) {
    int fd = -7;
    capsa_status s = capsa_vm_vsock_connect(vm, 1, 0, -1, NULL, &fd, &e);

    CHECK(s == CAPSA_E_CLOSED || s == CAPSA_E_HANDLE); /* the latter if it comes too late */
    CHECK(e && fd == -7);
    capsa_error_free(e);
    return NULL;
}

static void machines(void) {
    capsa_builder *b = guest_builder("spin");
    capsa_vm *vm = NULL, *second = NULL;
    struct stat st;
    pthread_t waiter;
    char byte;
    int fd = -7;

    OK(capsa_builder_vsock_listen(b, 22, in_path, 0, &e));
    OK(capsa_builder_vsock_connect(b, 80, out_path, 0, &e));
    OK(capsa_builder_build(b, &vm, &e));
    CHECK(lstat(in_path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    FAILS(CAPSA_E_EXISTS, capsa_builder_build(b, &second, &e));
    OK(capsa_vm_start(vm, -1, NULL, &e));
    listening(vm);
    connecting(vm);

    int client = dial();
    OK(capsa_vm_kill(vm, &e));
    CHECK(read(client, &byte, 1) <= 0);
    CHECK(close(client) == 0);
    FAILS(CAPSA_E_STATE, capsa_vm_vsock_connect(vm, 1, 0, -1, NULL, &fd, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_vsock_listen(vm, 1, 0, 1, &fd, &e));
    FAILS(CAPSA_E_STATE, capsa_vm_vsock_unlisten(vm, 1, &e));
    capsa_vm_free(vm);
    CHECK(lstat(in_path, &st) < 0 && errno == ENOENT && fd == -7);

    OK(capsa_builder_build(b, &vm, &e));
    OK(capsa_vm_start(vm, -1, NULL, &e));
    CHECK(pthread_create(&waiter, NULL, wait_for_answer, vm) == 0);
    poll(NULL, 0, 50); /* mostly it waits by then */
    capsa_vm_free(vm);
    CHECK(pthread_join(waiter, NULL) == 0);

    OK(capsa_builder_vsock_connect(b, 80, out_path, 0, &e)); /* a second time */
    FAILS(CAPSA_E_CONFIG, capsa_builder_build(b, &second, &e));
    capsa_builder_free(b);
    CHECK(!second);
}

int main(void) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new(&b, &e));
    bad_options(b);
    json_form(b);
    capsa_builder_free(b);
    CHECK(capsa_has("vsock"));

    need_kvm();
    CHECK(mkdtemp(dir));
    snprintf(in_path, sizeof in_path, "%s/in", dir);
    snprintf(out_path, sizeof out_path, "%s/out", dir);
    none();
    machines();
    CHECK(rmdir(dir) == 0);
    return 0;
}
