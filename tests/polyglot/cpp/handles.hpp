// handles.hpp - owners of the header's handles, and calls that throw.
#ifndef POLYGLOT_HANDLES_HPP
#define POLYGLOT_HANDLES_HPP

#include <capsa.h>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

template <auto Free> struct Deleter {
    template <class T> void operator()(T *p) const { Free(p); }
};
template <class T, auto Free> using Handle = std::unique_ptr<T, Deleter<Free>>;

using Error = Handle<capsa_error, capsa_error_free>;
using Cancel = Handle<capsa_cancel, capsa_cancel_free>;
using Builder = Handle<capsa_builder, capsa_builder_free>;
using VM = Handle<capsa_vm, capsa_vm_free>;
using Console = Handle<capsa_console, capsa_console_free>;
using Output = Handle<capsa_output, capsa_output_free>;

// A call that failed.
struct Failure : std::runtime_error {
    Failure(capsa_status s, const std::string &message, std::string h)
        : std::runtime_error(message), status(s), hint(std::move(h)) {}
    capsa_status status;
    std::string hint;
};

// Calls a function of the library with a place for its error as the last argument, and throws what it puts there.
template <class... Parameters, class... Arguments>
void call(capsa_status (*function)(Parameters...), Arguments... arguments) {
    capsa_error *raw = nullptr;
    capsa_status status = [&](auto... all) { return function(static_cast<Parameters>(all)...); }(arguments..., &raw);
    if (status == CAPSA_OK) return;
    Error error(raw);
    throw Failure(status, capsa_error_message(raw), capsa_error_hint(raw));
}

// Calls a function that makes an object.
template <class Owner, class... Parameters, class... Arguments>
Owner make(capsa_status (*function)(Parameters...), Arguments... arguments) {
    typename Owner::pointer made = nullptr;
    call(function, arguments..., &made);
    return Owner(made);
}

// Calls a function that gives out a text.
template <class... Parameters, class... Arguments>
std::string from_library(capsa_status (*function)(Parameters...), Arguments... arguments) {
    char *raw = nullptr;
    call(function, arguments..., &raw);
    std::unique_ptr<char, Deleter<capsa_mem_free>> text(raw);
    return raw;
}

// Owns a descriptor.
class Descriptor {
  public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    Descriptor(Descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor &operator=(Descriptor &&other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

#endif
