//go:build linux

package setup

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// Configure sets the guest up as the host says.
func Configure(q *wire.ConfigureRequest) error {
	if q.TimeNs > 0 { // a guest's own clock has whole seconds at best
		t := unix.NsecToTimespec(q.TimeNs)
		_ = unix.ClockSettime(unix.CLOCK_REALTIME, &t)
	}
	if err := unix.Sethostname([]byte(q.Hostname)); err != nil {
		return fmt.Errorf("hostname %q: %w", q.Hostname, err)
	}
	if err := enterRoot(q.Root); err != nil {
		return err
	}
	for _, m := range q.Mounts {
		if err := mountOne(m); err != nil {
			return err
		}
	}
	if err := setUpNetwork(q.Network, q.Hostname); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

func mountOne(m *wire.Mount) error {
	target := string(m.Target)
	flags := uintptr(0)
	if m.ReadOnly {
		flags = unix.MS_RDONLY
	}
	switch m.Kind {
	case "share":
		return mount(m.Source, target, "virtiofs", flags, "")
	case "disk":
		return mountDisk(m.Source, m.Type, target, m.ReadOnly)
	case "tmpfs":
		options := "mode=1777"
		if m.Size > 0 {
			options = fmt.Sprintf("%s,size=%d", options, m.Size)
		}
		return mount("tmpfs", target, "tmpfs", flags, options)
	}
	return fmt.Errorf("no kind of mount %q", m.Kind)
}

// writeIfMissing writes a file that is not there.
func writeIfMissing(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(text) // without it names of this machine are not found
}
