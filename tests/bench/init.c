/* The guest's first process in the boot benchmark: it ends the machine at once. Both machines see a reset through the
 * keyboard controller (reboot=k, and QEMU's -no-reboot). */
#include <sys/reboot.h>
#include <unistd.h>

int main(void) {
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}
