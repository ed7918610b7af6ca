// Package initrd makes initial file systems with the guest's agent in them. The agent is
// embedded into the library, so that its users need no other file.
package initrd

import (
	"bytes"
	"embed"
	"io"
	"os"
	"runtime"

	"github.com/libcapsa/libcapsa/guest/image"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// PathVariable is the environment variable with the path of an agent to be used instead
// of the embedded one.
const PathVariable = "CAPSA_AGENT_PATH"

// AddedPath is where the agent is in a user's own initial file system.
const AddedPath = "capsa-agent"

// maxAgent is the largest agent that is read, in bytes.
const maxAgent = 64 << 20

//go:embed bin
var embedded embed.FS

// modules are what a guest's kernel may need for its devices, its file systems, and the
// power button; what a kernel has built in is not among its modules.
var modules = []string{
	"virtio_mmio", "virtio_console", "virtio_rng", "virtio_blk", "virtio_balloon", "virtio_net",
	"vmw_vsock_virtio_transport", "virtiofs", "overlay", "erofs", "squashfs", "ext4", "button", "evdev",
}

// Agent is the program. The error is of KindUnavailable.
func Agent() ([]byte, error) {
	const op = "guest agent"
	if path := os.Getenv(PathVariable); path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, vm.Wrap(op, err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxAgent+1))
		if err == nil && len(data) > maxAgent {
			err = vm.Errorf(vm.KindLimit, op, "it has more than %d bytes", maxAgent).WithPath(path)
		}
		return data, vm.Wrap(op, err)
	}
	data, err := embedded.ReadFile("bin/agent-" + runtime.GOARCH)
	if err != nil {
		return nil, vm.Errorf(vm.KindUnavailable, op, "this library was built without it").
			WithComponent("agent").WithHint("build it with make, or set " + PathVariable + " to the path of one")
	}
	return data, nil
}

// Config says what the file system is made of.
type Config struct {
	Base    string // path of another, to which the agent is added; "": none
	Modules string // directory of modules; "": none
}

// Write writes an initial file system for Linux: one whose /init is the agent, or
// Base with the agent at AddedPath.
func Write(w io.Writer, c Config) error {
	const op = "initial file system"
	agent, err := Agent()
	if err != nil {
		return err
	}
	name := "init"
	if c.Base != "" {
		name = AddedPath
		if err := copyBase(w, c.Base); err != nil {
			return vm.Wrap(op, err)
		}
	}
	i := image.Initrd{Files: []image.File{{Name: name, Data: agent, Perm: 0o755}}}
	if c.Modules != "" {
		if i.Modules, err = resolve(c.Modules); err != nil {
			return vm.Errorf(vm.KindNotFound, op, "kernel modules: %w", err).WithPath(c.Modules)
		}
	}
	return vm.Wrap(op, i.Write(w))
}

// copyBase copies a file, and zeroes up to the next multiple of four bytes, where the
// kernel expects what follows (init/initramfs.c).
func copyBase(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(w, f)
	if err != nil {
		return err
	}
	_, err = w.Write(make([]byte, -n&3))
	return err
}

// resolve is those of the modules that are in a directory.
func resolve(dir string) ([]image.Module, error) {
	m, err := image.OpenModules(dir)
	if err != nil {
		return nil, err
	}
	var there []string
	for _, name := range modules {
		if m.Has(name) {
			there = append(there, name)
		}
	}
	return m.Resolve(there...)
}

// Temp writes one to a file of its own and returns its path. The caller removes it.
func Temp(c Config) (path string, err error) {
	const op = "initial file system"
	f, err := os.CreateTemp("", "capsa-initrd-*")
	if err != nil {
		return "", vm.Wrap(op, err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = vm.Wrap(op, closeErr)
		}
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	var b bytes.Buffer
	if err := Write(&b, c); err != nil {
		return "", err
	}
	if _, err := f.Write(b.Bytes()); err != nil {
		return "", vm.Wrap(op, err)
	}
	return f.Name(), nil
}
