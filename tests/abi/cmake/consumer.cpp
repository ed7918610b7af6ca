/* consumer.cpp - says which library it runs with; fails unless that is the one whose header it was compiled with. */
#include <capsa.h>
#include <cstdio>
#include <cstring>

int main() {
    std::puts(capsa_version_string());
    return std::strcmp(capsa_version_string(), CAPSA_VERSION_STRING) != 0 || !capsa_has("console");
}
