//go:build darwin && (cgo || vzstub)

package framework

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"unsafe"

	vzf "github.com/Code-Hex/vz/v3"
	"golang.org/x/sys/unix"
)

// errTaken is the error of a connection whose descriptor is not its own any more.
var errTaken = errors.New("the connection's descriptor was closed by the framework")

// socketOf takes the socket out of a connection, which has no way to give it: neither
// File nor SyscallConn. The connection is not to be used any more.
func socketOf(c *vzf.VirtioSocketConnection) (*net.UnixConn, error) {
	field, ok := reflect.TypeOf(*c).FieldByName("rawConn")
	if !ok || field.Type != reflect.TypeFor[net.Conn]() {
		_ = c.Close()
		return nil, errors.New("BUG: connections of the bindings have changed")
	}
	// SAFETY: c is a valid pointer to a struct that has at this offset a field of
	// exactly this type, as was just checked; nobody writes it after it was made.
	raw := *(*net.Conn)(unsafe.Add(unsafe.Pointer(c), field.Offset))
	conn, ok := raw.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("%w: it is a %T", errTaken, raw)
	}
	if err := checkStream(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// checkStream makes sure that a connection is still a connected stream socket.
func checkStream(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	kind := 0
	var failed error
	err = raw.Control(func(fd uintptr) {
		if kind, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); failed == nil {
			_, failed = unix.Getpeername(int(fd))
		}
	})
	if err = errors.Join(err, failed); err != nil || kind != unix.SOCK_STREAM {
		return fmt.Errorf("%w (type %d): %w", errTaken, kind, err)
	}
	return nil
}
