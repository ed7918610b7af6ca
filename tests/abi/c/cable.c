/* cable.c - shared networks, descriptors, limits, captures: options, handles, and what needs no driver in the guest. */
#include "abi.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void bad_shared(void) {
    static const char *const nothing[] = {NULL};
    capsa_shared_options o = CAPSA_SHARED_OPTIONS_INIT;
    capsa_network *n = NULL;

    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(NULL, NULL, &e));
    o.size--;
    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(&o, &n, &e));
    o.size++;
    o.flags = 32;
    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(&o, &n, &e));
    o.flags = CAPSA_SHARED_NO_NAT | CAPSA_SHARED_HOST_ACCESS;
    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(&o, &n, &e));
    o.flags = 0;
    o.reserved = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(&o, &n, &e));
    o.reserved = 0;
    o.ipv4 = "10.0.0.0/31";
    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(&o, &n, &e));
    o.ipv4 = NULL;
    o.n_dns = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(&o, &n, &e));
    o.dns = nothing;
    FAILS(CAPSA_E_INVALID_ARG, capsa_network_new(&o, &n, &e));
    CHECK(n == NULL);
    capsa_network_free(NULL);
}

static void attach(capsa_builder *b) {
    capsa_attach_options o = CAPSA_ATTACH_OPTIONS_INIT;
    capsa_network *n = NULL;

    FAILS(CAPSA_E_HANDLE, capsa_builder_attach_network(b, NULL, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_attach_network(b, (capsa_network *)b, NULL, &e));
    OK(capsa_network_new(NULL, &n, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_attach_network(NULL, n, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_builder_set_name((capsa_builder *)n, "x", &e));
    OK(capsa_builder_attach_network(b, n, NULL, &e));
    o.hostname = "a.b";
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_attach_network(b, n, &o, &e));
    o.hostname = NULL;
    o.framing = 3;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_attach_fd(b, 5, &o, &e));
    o.framing = 0;
    o.flags = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_attach_fd(b, 5, &o, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_attach_fd(b, 0, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_attach_fd(b, -1, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_attach_tap(b, NULL, NULL, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_attach_tap(b, "a/b", NULL, &e));
    OK(capsa_builder_attach_tap(b, "tap0", NULL, &e));
    capsa_network_free(n);
    capsa_network_free(n);
    FAILS(CAPSA_E_HANDLE, capsa_builder_attach_network(b, n, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_attach_fd(NULL, 5, &e));
}

static void bounds(capsa_builder *b) {
    capsa_network_limits l = CAPSA_NETWORK_LIMITS_INIT;
    capsa_capture_options c = CAPSA_CAPTURE_OPTIONS_INIT;

    OK(capsa_builder_set_network_limits(b, NULL, &e));
    l.to_guest_bytes_burst = 1; /* without a rate */
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network_limits(b, &l, &e));
    l.to_guest_bytes = 1;
    OK(capsa_builder_set_network_limits(b, &l, &e));
    l.flags = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_network_limits(b, &l, &e));
    l.flags = 0;
    FAILS(CAPSA_E_HANDLE, capsa_vm_set_network_limits(NULL, &l, &e));
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_capture(b, &c, &e)); /* to nowhere */
    c.path = "/tmp/x";
    c.fd = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_capture(b, &c, &e));
    c.path = NULL;
    c.fd = 0;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_capture(b, &c, &e));
    c.fd = 1;
    c.reserved = 1;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_capture(b, &c, &e));
    c.reserved = 0;
    c.max_size = 7;
    FAILS(CAPSA_E_INVALID_ARG, capsa_builder_set_capture(b, &c, &e));
    c.max_size = 0;
    OK(capsa_builder_set_capture(b, &c, &e));
    OK(capsa_builder_set_capture(b, NULL, &e));
    FAILS(CAPSA_E_HANDLE, capsa_vm_set_capture(NULL, NULL, &e));
}

int main(void) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new(&b, &e));
    bad_shared();
    attach(b);
    bounds(b);
    capsa_builder_free(b);
    return 0;
}
