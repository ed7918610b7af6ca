//go:build linux

// Command agent is libcapsa's program in a guest. As process 1 it sets the guest up and
// ends it; else it serves the host as any program of the guest's own system may.
//
//	capsa-agent [-socket PATH]
//
// -socket connects to a unix socket instead of the host's port, for tests.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/guest/agent"
	"github.com/libcapsa/libcapsa/guest/setup"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// version is set by the linker.
var version = "0.0.0"

func main() {
	err := run()
	say("%v", err)
	os.Exit(1) // process 1: the kernel panics, and the host hears of it
}

func run() error {
	cfg := agent.Config{Version: version, Dial: dialHost, Log: say, Init: os.Getpid() == 1, Shutdown: askInit}
	switch {
	case len(os.Args) == 3 && os.Args[1] == "-socket":
		cfg.Dial = func() (agent.Conn, error) { return dialUnix(os.Args[2]) }
		cfg.Init, cfg.Shutdown = false, nil
	case len(os.Args) != 1 && os.Getpid() != 1:
		return errors.New("usage: capsa-agent [-socket PATH]")
	}
	reaper := agent.NewReaper()
	if cfg.Init {
		if err := setup.Early(); err != nil {
			return err
		}
		end := setup.NewEnd(reaper.Childless)
		cfg.Console = "/dev/hvc0"
		cfg.Configure = func(q *wire.ConfigureRequest) error {
			defer end.Listen()
			return setup.Configure(q)
		}
		cfg.Shutdown = func() error { end.Begin(unix.LINUX_REBOOT_CMD_POWER_OFF); return nil }
	}
	return agent.New(cfg, reaper).Run(context.Background())
}

// hostPort is vm.AgentPort of the library.
const hostPort = 51802

func dialHost() (agent.Conn, error) { return vsock.Dial(vsock.Host, hostPort, nil) }

func dialUnix(path string) (agent.Conn, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// askInit asks the guest's own process 1 to power the machine off.
func askInit() error {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return unix.Kill(1, 34+4) // SIGRTMIN+4: systemd(1)
	}
	return unix.Kill(1, unix.SIGUSR2) // busybox, sysvinit from 2.9x on
}

// say writes to the kernel's log.
func say(format string, a ...any) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		f = os.Stderr
	} else {
		defer f.Close()
	}
	_, _ = fmt.Fprintf(f, "<4>capsa-agent: "+format+"\n", a...)
}
