//go:build linux

// Command run is lab-run: it runs a command in a machine that has a real
// /dev/kvm. README.md, one directory up, is its manual.
//
// The command's output is passed on byte for byte, its input and signals are
// passed in, and its exit status becomes lab-run's own. 125 means that the lab
// failed, 124 that time was up; neither is ever guessed from text.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Exit statuses of lab-run itself, as of timeout(1).
const (
	statusTimeUp    = 124
	statusLabFailed = 125
)

func main() {
	// QEMU is to die with this thread (PDEATHSIG goes by thread, not process).
	runtime.LockOSThread()
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab-run:", err)
	}
	os.Exit(status)
}

func run(args []string) (int, error) {
	if len(args) == 0 {
		return statusLabFailed, errors.New("usage: lab-run COMMAND [ARGUMENT...]")
	}
	if args[0] == "--where" {
		fmt.Println(where())
		return 0, nil
	}
	c, err := settings()
	if err != nil {
		return statusLabFailed, err
	}
	if hostHasKVM() && !c.force {
		return statusLabFailed, execute(args)
	}
	for try := 1; ; try++ {
		status, err := once(c, args)
		if status != statusLabFailed || try == c.tries {
			return status, err
		}
		fmt.Fprintf(os.Stderr, "lab-run: again, in another machine: %v\n", err)
	}
}

// once runs the command in a machine of its own.
func once(c config, args []string) (int, error) {
	m, err := c.boot()
	if err != nil {
		return statusLabFailed, err
	}
	defer m.close()
	return m.run(args)
}

// where says where a command would run: "host" or "lab".
func where() string {
	if hostHasKVM() && os.Getenv("LAB_FORCE") == "" {
		return "host"
	}
	return "lab"
}

// execute replaces lab-run by the command.
func execute(args []string) error {
	file, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return os.NewSyscallError("execve", syscall.Exec(file, args, os.Environ()))
}
