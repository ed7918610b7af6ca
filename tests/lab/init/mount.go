//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/guest/image"
	"github.com/libcapsa/libcapsa/tests/lab/wire"
)

// options9p are the mount options of every 9p mount; msize is the largest
// message in bytes, at which QEMU stops complaining about slowness.
const options9p = "trans=virtio,version=9p2000.L,msize=1048576,"

// mount is one mount(2), with its target made when it is missing.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.kind, m.target, err)
	}
	return nil
}

func mountAll(list []mount) error {
	for _, m := range list {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

func mountBasics() error {
	err := mountAll([]mount{
		{source: "proc", target: "/proc", kind: "proc"},
		{source: "sys", target: "/sys", kind: "sysfs"},
	})
	if err != nil {
		return err
	}
	// The kernel may have mounted it already (CONFIG_DEVTMPFS_MOUNT).
	err = mount{source: "dev", target: "/dev", kind: "devtmpfs"}.do()
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// loadModules loads what the image's list names, in that order.
func loadModules() error {
	f, err := os.Open("/" + image.ModuleList)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name := s.Text()
		if err := loadModule(filepath.Join("/", image.ModuleDir, name+".ko"), moduleOptions[name]); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	return nil
}

// moduleOptions: an idle guest must not burn its emulated processor in the
// host's halt polling.
var moduleOptions = map[string]string{"kvm": "halt_poll_ns=0 enable_pmu=0"}

func loadModule(file, options string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), options, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// mountRoot puts a writable overlay over the host's root directory at /root,
// with /proc, /sys and /dev of this machine.
func mountRoot() error {
	err := mountAll([]mount{
		{source: wire.TagRoot, target: "/lower", kind: "9p", flags: unix.MS_RDONLY, data: options9p + "cache=loose"},
		{source: "tmpfs", target: "/rw", kind: "tmpfs", data: "mode=755"},
	})
	if err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir("/rw/upper", 0o755), os.Mkdir("/rw/work", 0o755)); err != nil {
		return err
	}
	list := []mount{{source: "overlay", target: "/root", kind: "overlay", data: "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work"}}
	for _, d := range []string{"/proc", "/sys", "/dev"} {
		list = append(list, mount{source: d, target: "/root" + d, flags: unix.MS_MOVE})
	}
	list = append(list,
		mount{source: "devpts", target: "/root/dev/pts", kind: "devpts", data: "ptmxmode=666,gid=5,mode=620"},
		mount{source: "tmpfs", target: "/root/dev/shm", kind: "tmpfs", data: "mode=1777"},
		mount{source: "tmpfs", target: "/root/run", kind: "tmpfs", data: "mode=755"},
		mount{source: "cgroup2", target: "/root/sys/fs/cgroup", kind: "cgroup2"},
		mount{source: "debugfs", target: "/root/sys/kernel/debug", kind: "debugfs"},
	)
	if err := mountAll(list); err != nil {
		return err
	}
	return finishRoot()
}

// finishRoot makes the usual links
// of /dev and brings the loopback interface up.
func finishRoot() error {
	for _, l := range [][2]string{
		{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"},
		{"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
	} {
		name := "/root/dev/" + l[1]
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(l[0], name); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return err
	}
	return loopbackUp()
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	return nil
}

// mountWritable mounts the directories of the host that the job may change.
func mountWritable(dirs []string) error {
	for i, d := range dirs {
		m := mount{source: fmt.Sprintf("%s%d", wire.TagWritable, i), target: "/root" + strings.TrimSuffix(d, "/"), kind: "9p", data: options9p + "cache=none"}
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}
