// client.cpp - a client of the ABI in C++17: handles as unique_ptr, errors as exceptions, a bare guest from start to end.
#include "capsa.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <vector>

namespace {

template <auto Free> struct Deleter {
    template <class T> void operator()(T *p) const { Free(p); }
};
template <class T, auto Free> using Handle = std::unique_ptr<T, Deleter<Free>>;
using Error = Handle<capsa_error, capsa_error_free>;
using Builder = Handle<capsa_builder, capsa_builder_free>;
using VM = Handle<capsa_vm, capsa_vm_free>;
using Console = Handle<capsa_console, capsa_console_free>;
using Cancel = Handle<capsa_cancel, capsa_cancel_free>;

static_assert(std::is_standard_layout_v<capsa_exit_info> && sizeof(capsa_exit_info) == 32);
static_assert(std::is_standard_layout_v<capsa_event> && sizeof(capsa_event) == 24);
static_assert(sizeof(capsa_pattern) == 24 && sizeof(capsa_match) == 24 && sizeof(capsa_console_options) == 16);

struct Failure : std::runtime_error {
    capsa_status status;
    explicit Failure(const capsa_error *e) : std::runtime_error(capsa_error_message(e)), status(capsa_error_code(e)) {}
};

template <class Function, class... Arguments> void call(Function function, Arguments... arguments) {
    capsa_error *raw = nullptr;
    if (function(arguments..., &raw) == CAPSA_OK) return;
    Error error(raw);
    throw Failure(raw);
}

template <class F> capsa_status failure(F f) {
    try {
        f();
    } catch (const Failure &e) {
        if (!*e.what()) throw std::logic_error("a failure without a message");
        return e.status;
    }
    return CAPSA_OK;
}

void check(bool ok, const char *what) {
    if (!ok) throw std::logic_error(what);
}

Builder new_builder() {
    capsa_builder *b = nullptr;
    call(capsa_builder_new, &b);
    return Builder(b);
}

void errors() {
    Builder b = new_builder();
    check(failure([&] { call(capsa_builder_set_cpus, b.get(), 0u); }) == CAPSA_E_INVALID_ARG, "no processors");
    check(failure([&] { call(capsa_builder_set_name, nullptr, "x"); }) == CAPSA_E_HANDLE, "no builder");
    capsa_console_options options = CAPSA_CONSOLE_OPTIONS_INIT;
    options.columns = 132;
    call(capsa_builder_set_console, b.get(), &options);
}

void machine(const char *guest) {
    Builder b = new_builder();
    call(capsa_builder_boot_linux, b.get(), guest, nullptr);
    call(capsa_builder_set_cmdline, b.get(), "print:ready echo spin");
    call(capsa_builder_set_memory_mib, b.get(), 32u);
    capsa_vm *raw_vm = nullptr;
    call(capsa_builder_build, b.get(), &raw_vm);
    VM vm(raw_vm);
    b.reset();
    capsa_console *raw_console = nullptr;
    call(capsa_vm_console, vm.get(), &raw_console);
    Console console(raw_console);
    call(capsa_vm_start, vm.get(), -1, nullptr);

    const std::vector<capsa_pattern> patterns = {CAPSA_LITERAL("ready\n"), CAPSA_REGEX("never")};
    capsa_match match = CAPSA_MATCH_INIT;
    call(capsa_console_expect, console.get(), 60000, nullptr, patterns.data(), patterns.size(), &match, nullptr);
    check(match.pattern == 0 && match.len == 6, "the match");

    // One thread waits until another one cancels it; a second wait sees the end.
    capsa_cancel *raw_cancel = nullptr;
    call(capsa_cancel_new, &raw_cancel);
    Cancel cancel(raw_cancel);
    capsa_status cancelled = CAPSA_OK;
    std::thread waiter(
        [&] { cancelled = failure([&] { call(capsa_vm_wait, vm.get(), -1, cancel.get(), nullptr); }); });
    call(capsa_cancel_trigger, cancel.get());
    waiter.join();
    check(cancelled == CAPSA_E_CANCELLED, "cancelled");

    call(capsa_vm_kill, vm.get());
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    call(capsa_vm_wait, vm.get(), -1, nullptr, &info);
    check(info.cause == CAPSA_CAUSE_KILLED, "the cause");
}

} // namespace

int main() try {
    errors();
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        const char *required = std::getenv("CAPSA_REQUIRE");
        std::fprintf(stderr, "no KVM: /dev/kvm cannot be opened\n");
        return required && std::strstr(required, "kvm") ? 1 : 77;
    }
    machine(std::getenv("CAPSA_TEST_GUEST"));
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
