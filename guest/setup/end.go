//go:build linux

package setup

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// politeness is how long programs have to end after SIGTERM.
const politeness = 3 * time.Second

// End ends the machine, once.
type End struct {
	childless func() <-chan struct{}
	once      sync.Once
}

// NewEnd makes one. childless is closed when there are no programs any more.
func NewEnd(childless func() <-chan struct{}) *End { return &End{childless: childless} }

// Begin ends the machine in an orderly way; it returns when that has begun. how is of
// reboot(2): LINUX_REBOOT_CMD_POWER_OFF and its like.
func (e *End) Begin(how int) {
	e.once.Do(func() { safe.Go("end", nil, func() { e.run(how) }) })
}

func (e *End) run(how int) {
	time.Sleep(time.Millisecond) // the answer to whoever asked goes first
	_ = unix.Kill(-1, unix.SIGTERM)
	_ = unix.Kill(-1, unix.SIGCONT)
	select {
	case <-e.childless():
	case <-time.After(politeness):
		_ = unix.Kill(-1, unix.SIGKILL)
		select {
		case <-e.childless():
		case <-time.After(politeness): // in the kernel, for good
		}
	}
	unix.Sync()
	unmountAll()
	_ = unix.Reboot(how)
}

// unmountAll unmounts what can be, and makes the rest read-only, so that disks are whole.
func unmountAll() {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return
	}
	var targets []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 {
			targets = append(targets, unescape.Replace(fields[1]))
		}
	}
	f.Close()
	for _, t := range slices.Backward(targets) {
		switch t {
		case "/proc", "/dev", "/sys":
			continue
		}
		if t == "/" || unix.Unmount(t, 0) != nil {
			_ = unix.Mount("", t, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
	if changes >= 0 { // after the overlay that writes to it
		_ = unix.Mount("", fmt.Sprintf("/proc/self/fd/%d", changes), "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	unix.Sync()
}

// unescape undoes what the kernel does to names in mounts (mangle, fs/seq_file.c).
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// The signals by which programs ask process 1 for the end: busybox's halt, poweroff and
// reboot; the kernel's Ctrl-Alt-Del; systemd's, from SIGRTMIN+3 on (systemd(1)), 34 being
// the first real-time signal of programs.
var ends = map[unix.Signal]int{
	unix.SIGUSR1: unix.LINUX_REBOOT_CMD_POWER_OFF, unix.SIGUSR2: unix.LINUX_REBOOT_CMD_POWER_OFF,
	unix.SIGTERM: unix.LINUX_REBOOT_CMD_RESTART, unix.SIGINT: unix.LINUX_REBOOT_CMD_RESTART,
	34 + 3: unix.LINUX_REBOOT_CMD_POWER_OFF, 34 + 4: unix.LINUX_REBOOT_CMD_POWER_OFF, 34 + 5: unix.LINUX_REBOOT_CMD_RESTART,
}

// Listen ends the machine when a program or its power button asks for it.
func (e *End) Listen() {
	signals := make(chan os.Signal, 8)
	for s := range ends {
		signal.Notify(signals, s)
	}
	safe.Go("signals", nil, func() {
		for s := range signals {
			if n, ok := s.(unix.Signal); ok {
				e.Begin(ends[n])
			}
		}
	})
	events, _ := filepath.Glob("/dev/input/event*")
	for _, path := range events {
		safe.Go("power button", nil, func() { e.button(path) })
	}
}

// button reads an input device: struct input_event is two words of time, type, code and
// value (include/uapi/linux/input.h).
func (e *End) button(path string) {
	const (
		size     = 24
		typeKey  = 1   // EV_KEY
		keyPower = 116 // KEY_POWER
	)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	buf := make([]byte, 64*size)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= size; b = b[size:] {
			kind, code := binary.NativeEndian.Uint16(b[16:]), binary.NativeEndian.Uint16(b[18:])
			if kind == typeKey && code == keyPower && binary.NativeEndian.Uint32(b[20:]) == 1 {
				e.Begin(unix.LINUX_REBOOT_CMD_POWER_OFF)
			}
		}
	}
}
