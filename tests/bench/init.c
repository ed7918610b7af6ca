/* The guest's first process in the boot benchmark: it ends the machine at once, by a reset (QEMU: -no-reboot). */
#include <sys/reboot.h>
#include <unistd.h>

int main(void) {
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}
