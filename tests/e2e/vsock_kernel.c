/* vsock_kernel.c - Linux's own test of AF_VSOCK between a guest and this host: the guest runs it as it is, the host as
 * a function of this program (linux.sh) whose calls about sockets are made with libcapsa's. */
#define _GNU_SOURCE
#include "vsock_kernel.h"

#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

/* ---- The host's sockets ---------------------------------------------------------------------------------------- */

static guest peer;
static const char *when_listening; /* what the guest is told when the control socket listens */

/* What a descriptor of the test's stands for. */
static struct {
    int type; /* SOCK_STREAM, SOCK_SEQPACKET; 0: it is none of AF_VSOCK's */
    uint32_t port;
    int listens;
} sockets[1024];

static int is_vsock(int fd) { return fd >= 0 && fd < 1024 && sockets[fd].type; }
static uint32_t flags_of(int fd) { return sockets[fd].type == SOCK_SEQPACKET ? CAPSA_VSOCK_SEQPACKET : 0; }

/* Puts a descriptor of libcapsa's, which does not block, where the test has its number of a socket, which does. */
static void become(int fd, int made) {
    CHECK(fcntl(made, F_SETFL, 0) == 0 && dup2(made, fd) == fd, "dup2: %s", strerror(errno));
    close(made);
}

int shim_socket(int domain, int type, int protocol) {
    if (domain != AF_VSOCK) return socket(domain, type, protocol);
    int fd = socket(AF_UNIX, type, 0); /* the number, until there is more */
    CHECK(fd >= 0 && fd < 1024, "socket: %d", fd);
    sockets[fd].type = type;
    return fd;
}

int shim_bind(int fd, const struct sockaddr *addr, socklen_t size) {
    if (!is_vsock(fd)) return bind(fd, addr, size);
    sockets[fd].port = ((const struct sockaddr_vm *)addr)->svm_port;
    return 0;
}

int shim_listen(int fd, int backlog) {
    if (!is_vsock(fd)) {
        int result = listen(fd, backlog);
        type(&peer, when_listening);
        return result;
    }
    int made = -1;
    OK(capsa_vm_vsock_listen(peer.vm, sockets[fd].port, flags_of(fd), backlog, &made, &err));
    become(fd, made);
    sockets[fd].listens = 1;
    return 0;
}

int shim_accept(int fd, struct sockaddr *addr, socklen_t *size) {
    if (!is_vsock(fd)) return accept(fd, addr, size);
    int made = accept(fd, NULL, NULL);
    if (made < 0) return made;
    CHECK(made < 1024, "accept: %d", made);
    sockets[made].type = sockets[fd].type;
    if (addr) *(struct sockaddr_vm *)addr = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_port = sockets[fd].port};
    return made;
}

int shim_connect(int fd, const struct sockaddr *addr, socklen_t size) {
    if (!is_vsock(fd)) return connect(fd, addr, size);
    int made = -1;
    if (capsa_vm_vsock_connect(peer.vm, ((const struct sockaddr_vm *)addr)->svm_port, flags_of(fd), patience(30000),
                               NULL, &made, &err) != CAPSA_OK) {
        int reason = capsa_error_os_errno(err);
        CHECK(reason == ECONNREFUSED, "%s", capsa_error_message(err));
        capsa_error_free(err);
        err = NULL;
        errno = ECONNRESET; /* as AF_VSOCK says it */
        return -1;
    }
    become(fd, made);
    return 0;
}

int shim_close(int fd) {
    if (is_vsock(fd)) {
        if (sockets[fd].listens) OK(capsa_vm_vsock_unlisten(peer.vm, sockets[fd].port, &err));
        memset(&sockets[fd], 0, sizeof sockets[fd]);
    }
    return close(fd);
}

/* A buffer that is not there is EFAULT, which AF_VSOCK of Linux 6.1 calls ENOMEM. */
ssize_t shim_read(int fd, void *buf, size_t size) {
    ssize_t n = read(fd, buf, size);

    if (n < 0 && errno == EFAULT && is_vsock(fd)) errno = ENOMEM;
    return n;
}

/* ---- The test -------------------------------------------------------------------------------------------------- */

/* A guest with sockets, a network for the test's control socket, and the programs of build/e2e/guest at /peer. */
static void boot_peer(void) {
    capsa_network_options n = CAPSA_NETWORK_OPTIONS_INIT;
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;
    capsa_builder *b = builder_for(ours);

    n.mode = CAPSA_NETWORK_USER;
    n.flags = CAPSA_NETWORK_HOST_ACCESS;
    o.flags = CAPSA_SHARE_READ_ONLY;
    OK(capsa_builder_set_network(b, &n, &err));
    OK(capsa_builder_set_vsock(b, 1, &err));
    OK(capsa_builder_add_share(b, "peer", image("../e2e/guest"), &o, &err));
    peer = boot(b);
    must(&peer, "mkdir /peer && mount -t virtiofs peer /peer && ip link set lo up && "
                "udhcpc -i eth0 -n -q -f -t 10 -s /etc/udhcpc.sh");
}

/* Says that the guest's side has ended, and how; the shell's echo of the line does not say it. */
#define FINISHED "echo finished''-with $?"

/* Runs the host's side of it, with these arguments, and waits for the guest's. */
static void host_side(char **argv) {
    int argc = 0;

    while (argv[argc]) argc++;
    CHECK_INT(kernel_vsock_test(argc, argv), 0);
    fflush(stdout);
    await_text(&peer, "finished-with 0");
    discard(&peer);
}

/* Test 6 wants the end of a record, MSG_EOR, from one side to the other. The host's sockets are unix sockets, which do
 * not carry it. */
#define SKIP_EOR "--skip=6"
/* Test 10 wants poll(2) to heed SO_RCVLOWAT of its client, which unix sockets do not. */
#define SKIP_LOWAT "--skip=10"

TEST(vsock, kernel_test_in_guest_connects, 120) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char command[160];

    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&any, size) == 0 &&
              getsockname(fd, (struct sockaddr *)&any, &size) == 0,
          "no free port: %s", strerror(errno));
    close(fd);
    unsigned port = ntohs(any.sin_port);
    boot_peer();
    snprintf(command, sizeof command,
             "/peer/vsock_test --control-host=10.0.2.2 --control-port=%u --mode=client --peer-cid=2; " FINISHED, port);
    when_listening = command;
    host_side((char *[]){"vsock_test", "--control-host=127.0.0.1", (char *)host_text("echo --control-port=%u", port),
                         "--mode=server", "--peer-cid=3", SKIP_EOR, NULL});
}

TEST(vsock, kernel_test_on_host_connects, 120) {
    capsa_forward_options f = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;

    boot_peer();
    type(&peer, "/peer/vsock_test --control-port=7 --mode=server --peer-cid=2; " FINISHED);
    await_text(&peer, "Control socket listening");
    f.protocol = CAPSA_FORWARD_TCP;
    f.guest_port = 7;
    OK(capsa_vm_add_forward(peer.vm, &f, &info, &err));
    host_side((char *[]){"vsock_test", "--control-host=127.0.0.1",
                         (char *)host_text("echo --control-port=%u", info.host_port), "--mode=client", "--peer-cid=3",
                         SKIP_EOR, SKIP_LOWAT, NULL});
}
