//go:build linux

package setup

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// diskTime is how long a disk may take to appear.
const diskTime = 10 * time.Second

// findDisk is the device of the disk with a serial.
func findDisk(serial string) (string, error) {
	var device string
	find := func() bool {
		names, _ := filepath.Glob("/sys/block/*/serial")
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err == nil && strings.TrimRight(string(data), "\x00\n") == serial {
				device = filepath.Join("/dev", filepath.Base(filepath.Dir(name)))
				_, err = os.Stat(device)
				return err == nil
			}
		}
		return false
	}
	if err := awaitDevice(find); err != nil {
		return "", fmt.Errorf("no disk has the serial %q: %w", serial, err)
	}
	return device, nil
}

// awaitDevice waits until found is true. It looks again whenever a device appears.
func awaitDevice(found func() bool) error {
	if found() {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	watch := os.NewFile(uintptr(fd), "inotify")
	defer watch.Close()
	if _, err := unix.InotifyAddWatch(fd, "/dev", unix.IN_CREATE); err != nil {
		return os.NewSyscallError("inotify_add_watch", err)
	}
	if err := watch.SetReadDeadline(time.Now().Add(diskTime)); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for !found() {
		if _, err := watch.Read(buf); err != nil {
			return err
		}
	}
	return nil
}

// magics are how file systems are told apart: bytes at an offset of the device.
var magics = []struct {
	kind   string
	offset int64
	bytes  string
}{
	{"ext4", 1024 + 0x38, "\x53\xef"},                // EXT4_SUPER_MAGIC (fs/ext4/ext4.h)
	{"erofs", 1024, "\xe2\xe1\xf5\xe0"},              // EROFS_SUPER_MAGIC_V1 (fs/erofs/erofs_fs.h)
	{"squashfs", 0, "hsqs"},                          // SQUASHFS_MAGIC (fs/squashfs/squashfs_fs.h)
	{"xfs", 0, "XFSB"},                               // XFS_SB_MAGIC (fs/xfs/libxfs/xfs_format.h)
	{"btrfs", 0x10040, "_BHRfS_M"},                   // BTRFS_MAGIC (fs/btrfs/fs.h)
	{"iso9660", 0x8001, "CD001"},                     // fs/isofs/rock.h
	{"vfat", 0x52, "FAT32"}, {"vfat", 0x36, "FAT16"}, // fs/fat/inode.c
}

// probe is the type of a device's file system, or "".
func probe(device string) (string, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, m := range magics {
		buf := make([]byte, len(m.bytes))
		if _, err := f.ReadAt(buf, m.offset); err != nil && err != io.EOF {
			return "", err
		}
		if bytes.Equal(buf, []byte(m.bytes)) {
			return m.kind, nil
		}
	}
	return "", nil
}

// fileSystemOf is the device of a disk's file system and its type: the whole disk's, or
// that of the first partition with a known one.
func fileSystemOf(disk string) (device, kind string, err error) {
	devices := []string{disk}
	parts, _ := filepath.Glob(disk + "[0-9]*")
	for _, d := range append(devices, parts...) {
		if kind, err = probe(d); err != nil {
			return "", "", err
		}
		if kind != "" {
			return d, kind, nil
		}
	}
	return "", "", fmt.Errorf("%s has no file system that is known here", disk)
}

// mountDisk mounts the file system of the disk with a serial.
func mountDisk(serial, kind, target string, readOnly bool) error {
	device, err := findDisk(serial)
	if err != nil {
		return err
	}
	if kind == "" {
		if device, kind, err = fileSystemOf(device); err != nil {
			return err
		}
	}
	flags := uintptr(0)
	if readOnly || kind == "erofs" || kind == "squashfs" || kind == "iso9660" {
		flags = unix.MS_RDONLY
	}
	return mount(device, target, kind, flags, "")
}

// mount makes the target and mounts something there.
func mount(source, target, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s (%s) at %s: %w", source, kind, target, err)
	}
	return nil
}
