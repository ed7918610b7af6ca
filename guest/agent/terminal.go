//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Size of a terminal that is not told another: the VT100's.
const (
	defaultCols = 80
	defaultRows = 24
)

// openTerminal makes a pseudo-terminal (pty(7)).
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	raw, err := ours.SyscallConn()
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	var number int
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		if ioctl = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctl == nil {
			number, ioctl = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err == nil {
		err = ioctl
	}
	if err == nil {
		theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
		return nil, nil, fmt.Errorf("terminal: %w", err)
	}
	return ours, theirs, nil
}

// onTerminal puts a program on a terminal of its own.
func (l *launch) onTerminal(conn Conn) error {
	ours, theirs, err := openTerminal()
	if err != nil {
		return err
	}
	l.tty = ours
	l.close = append(l.close, theirs)
	cols, rows := l.q.Cols, l.q.Rows
	if cols == 0 {
		cols = defaultCols
	}
	if rows == 0 {
		rows = defaultRows
	}
	if err := setSize(ours, cols, rows); err != nil {
		return fmt.Errorf("size of the terminal: %w", err)
	}
	if l.user.uid != os.Getuid() {
		if err := theirs.Chown(l.user.uid, -1); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
	}
	l.sys.Setsid, l.sys.Setctty, l.sys.Ctty = true, true, 0
	l.descriptors(theirs, theirs, theirs)
	if conn == nil {
		return fmt.Errorf("a terminal without a stream: %w", syscall.EINVAL)
	}
	l.pumps = append(l.pumps,
		func() { copyStream(ours, conn) },
		func() {
			copyStream(conn, ours) // ends with EIO when nobody has the other end
			ours.Close()
			_ = conn.CloseWrite()
			conn.Close()
		})
	return nil
}

// openConsole opens the machine's console. Its driver makes the file a moment before it
// can be opened (ENODEV until then), and no event tells when that ends.
func openConsole(path string) (*os.File, error) {
	const moment, tries = 5 * time.Millisecond, 1000
	for i := 0; ; i++ {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if !errors.Is(err, unix.ENODEV) || i == tries {
			return f, err
		}
		time.Sleep(moment)
	}
}

// onConsole puts a program on the machine's console.
func (l *launch) onConsole(path string) error {
	console, err := openConsole(path)
	if err != nil {
		return err
	}
	l.close = append(l.close, console)
	l.sys.Setsid = true
	if l.q.Tty {
		l.sys.Setctty, l.sys.Ctty = true, 0
	}
	l.descriptors(console, console, console)
	return nil
}
