/* consumer.c - says which library it runs with; fails unless that is the one whose header it was compiled with. */
#include <capsa.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    puts(capsa_version_string());
    return strcmp(capsa_version_string(), CAPSA_VERSION_STRING) != 0 || !capsa_has("console");
}
