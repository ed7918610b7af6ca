package client

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// VsockConnect implements vm.Sockets.
func (m *machine) VsockConnect(ctx context.Context, t vm.VsockType, port uint32) (int, error) {
	return m.socket(ctx, wire.MethodVsockConnect, wire.Vsock{Type: t, Port: port})
}

// VsockListen implements vm.Sockets.
func (m *machine) VsockListen(t vm.VsockType, port uint32, backlog int) (int, error) {
	return m.socket(context.Background(), wire.MethodVsockListen, wire.Vsock{Type: t, Port: port, Backlog: backlog})
}

// VsockUnlisten implements vm.Sockets.
func (m *machine) VsockUnlisten(port uint32) error {
	return m.ask(wire.MethodVsockUnlisten, wire.Vsock{Port: port})
}

// socket makes a call that gives a socket.
func (m *machine) socket(ctx context.Context, method string, p wire.Vsock) (int, error) {
	files, err := m.send(ctx, method, p, nil)
	if err != nil {
		return -1, err
	}
	if files, err = files.Take(1); err != nil {
		return -1, err
	}
	if err := checkSocket(files[0], p.Type, method == wire.MethodVsockListen); err != nil {
		files.Close()
		return -1, vm.Errorf(vm.KindProtocol, method, "the daemon gave a descriptor that is no such socket: %w", err).WithComponent(component)
	}
	return files[0], nil
}

// checkSocket makes sure that a descriptor is a unix socket of a type, blocking, as
// the caller takes it for one.
func checkSocket(fd int, t vm.VsockType, listening bool) error {
	want := unix.SOCK_STREAM
	if t == vm.VsockSeqPacket {
		want = unix.SOCK_SEQPACKET
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	_, isUnix := addr.(*unix.SockaddrUnix)
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if !isUnix || kind != want || (accepts != 0) != listening {
		return syscall.EPROTOTYPE
	}
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, false))
}

// socketFile is a unix socket in the file system.
type socketFile struct {
	path     string
	dev, ino uint64
}

// number is a device's: an int32 on macOS.
func number[T int32 | uint64](dev T) uint64 { return uint64(dev) }

// madeSockets are the sockets that a daemon has just made: for it, nothing may have
// been at their paths before.
func madeSockets(cfg vm.Config) (made []socketFile) {
	var paths []string
	for _, p := range cfg.Vsock.Ports {
		if p.Mode == vm.VsockListen {
			paths = append(paths, p.Path)
		}
	}
	for _, f := range cfg.Network.Forwards {
		if f.Path != "" {
			paths = append(paths, f.Path)
		}
	}
	for _, p := range paths {
		path, err := filepath.Abs(p)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			made = append(made, socketFile{path, number(st.Dev), st.Ino})
		}
	}
	return made
}

// removeSockets removes what a daemon that died has left, if it is still that.
func removeSockets(made []socketFile) {
	for _, s := range made {
		var st unix.Stat_t
		if unix.Lstat(s.path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
			continue
		}
		if number(st.Dev) == s.dev && st.Ino == s.ino {
			_ = os.Remove(s.path)
		}
	}
}
