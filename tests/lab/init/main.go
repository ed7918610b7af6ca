//go:build linux

// Command init is the first process of the lab's machine (tests/lab/README.md):
// it loads the modules, mounts the host's root directory under a writable
// overlay, brings up the second processor, runs the job that lab-run sends and
// reports how it ended. It never touches the host but through the 9p mounts.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/tests/lab/wire"
)

func main() {
	ctl, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		if ctl != nil {
			// The machine goes away in any case; lab-run prints the console then.
			_ = wire.Send(ctl, wire.FromGuest{Failure: err.Error()})
		}
	}
	// With a job's end reported, lab-run ends the machine; without one, stop it
	// here. QEMU runs with -no-reboot.
	if err != nil && ctl == nil {
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	for {
		_ = unix.Pause()
	}
}

// run does everything; ctl is returned as soon as it is open, for the report.
func run() (ctl *os.File, err error) {
	if err := mountBasics(); err != nil {
		return nil, err
	}
	if err := loadModules(); err != nil {
		return nil, err
	}
	ports, err := openPorts(wire.Ctl, wire.Input, wire.Output, wire.Error)
	if err != nil {
		return nil, err
	}
	ctl = ports[wire.Ctl]
	if err := mountRoot(); err != nil {
		return ctl, err
	}
	kvm := holdKVMKeys()
	if kvm != nil && !errors.Is(kvm, os.ErrNotExist) {
		return ctl, kvm
	}
	cpus, err := onlineCPUs()
	if err != nil {
		return ctl, err
	}
	ready := wire.Ready{UptimeMs: uptimeMs(), KVM: kvm == nil, CPUs: cpus}
	if err := wire.Send(ctl, wire.FromGuest{Ready: &ready}); err != nil {
		return ctl, err
	}
	silence := saySomething(ctl)
	exit, err := runJob(ports)
	silence()
	if err != nil {
		return ctl, err
	}
	unix.Sync()
	return ctl, wire.Send(ctl, wire.FromGuest{Exit: &exit})
}

// saySomething tells lab-run again and again that the machine runs. silence ends
// that, and ctl is the caller's again.
func saySomething(ctl *os.File) (silence func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(wire.AliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				_ = wire.Send(ctl, wire.FromGuest{Alive: true}) // without lab-run the machine is gone
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
	}
}

// onlineCPUs brings up the processors that the kernel left off at boot
// (maxcpus=1) and returns how many there are. The kernel patches its own code
// while it boots, which QEMU's multi-threaded emulation does not do safely.
func onlineCPUs() (int, error) {
	n := 1
	for ; ; n++ {
		file := fmt.Sprintf("/root/sys/devices/system/cpu/cpu%d/online", n)
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return n, nil
		}
		if err := os.WriteFile(file, []byte("1"), 0); err != nil {
			return n, err
		}
	}
}

// uptimeMs is the time since the kernel started, in milliseconds; 0 when /proc
// does not say.
func uptimeMs() int64 {
	b, err := os.ReadFile("/root/proc/uptime")
	if err != nil {
		return 0
	}
	seconds, _, _ := strings.Cut(string(b), " ")
	f, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return 0
	}
	return int64(f * 1000)
}
