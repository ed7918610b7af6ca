// init.h - the test guest's first process and its small tools.
//
// One static program: as process 1 it is init; called by another name it is the
// tool of that name (tools.c).
#ifndef CAPSA_GUEST_INIT_H
#define CAPSA_GUEST_INIT_H

// init.c
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(const char *what);
// Waits until a device file is there; a stock kernel creates it some time after its
// driver's module was loaded.
void wait_for(const char *device);

// modules.c: loads the modules that /etc/modules lists, in that order.
void load_modules(void);

// root.c: does not return when the command line has a root=.
void enter_root(void);

// power.c: a netlink socket that becomes readable when the kernel has an ACPI
// event, or -1 where the kernel has no such events.
int power_open(void);
// Reads one message; 1 when the power button was pressed.
int power_pressed(int fd);
// Ends all processes, unmounts disks and calls reboot(2) with how.
_Noreturn void shut_down(int how);

// tools.c: runs the tool called name; -1 when there is none, else its status.
int tool(const char *name, int argc, char **argv);

// vsock.c: the tool of that name.
int vsock(int argc, char **argv);

// udp.c: the tool of that name.
int udp(int argc, char **argv);

#endif
