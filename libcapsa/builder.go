package main

/*
#include "priv.h"
*/
import "C"

import (
	"math"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

// maxJSON bounds the text that is looked at at all, in bytes; package capsa has a
// lower limit of its own.
const maxJSON = 1 << 30

// builder runs an export on the builder of a handle.
func builder(h C.uintptr_t, c *C.priv_call, name string, fn func(b *capsa.Builder) error) C.capsa_status {
	return on(kindBuilder, h, c, name, fn)
}

//export goBuilderNew
func goBuilderNew(out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return guard(c, "builder.new", func() error { return give(out, kindBuilder, capsa.NewBuilder()) })
}

//export goBuilderClone
func goBuilderClone(h C.uintptr_t, out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.clone", func(b *capsa.Builder) error { return give(out, kindBuilder, b.Clone()) })
}

//export goBuilderFree
func goBuilderFree(h C.uintptr_t) {
	free("builder.free", func() { handles.take(kindBuilder, uintptr(h)) })
}

//export goBuilderSetName
func goBuilderSetName(h C.uintptr_t, s *C.char, n C.size_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_name", func(b *capsa.Builder) error { return b.SetName(callerString(s, n)) })
}

//export goBuilderSetBackend
func goBuilderSetBackend(h C.uintptr_t, s *C.char, n C.size_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_backend", func(b *capsa.Builder) error { return b.SetBackend(callerString(s, n)) })
}

//export goBuilderBootLinux
func goBuilderBootLinux(h C.uintptr_t, kernel *C.char, kernelLen C.size_t, initrd *C.char, initrdLen C.size_t,
	c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.boot_linux", func(b *capsa.Builder) error {
		return setBoot(b, callerString(kernel, kernelLen), callerString(initrd, initrdLen))
	})
}

// setBoot sets both paths or, when one is wrong, none.
func setBoot(b *capsa.Builder, kernel, initrd string) error {
	trial := capsa.NewBuilder()
	for _, target := range []*capsa.Builder{trial, b} {
		if err := target.SetKernel(kernel); err != nil {
			return err
		}
		if err := target.SetInitrd(initrd); err != nil {
			return err
		}
	}
	return nil
}

//export goBuilderCmdlineArg
func goBuilderCmdlineArg(h C.uintptr_t, s *C.char, n C.size_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.cmdline_arg", func(b *capsa.Builder) error { return b.AddArg(callerString(s, n)) })
}

//export goBuilderSetCmdline
func goBuilderSetCmdline(h C.uintptr_t, s *C.char, n C.size_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_cmdline", func(b *capsa.Builder) error {
		if s == nil {
			b.ClearCmdline()
			return nil
		}
		return b.SetCmdline(callerString(s, n))
	})
}

//export goBuilderSetCPUs
func goBuilderSetCPUs(h C.uintptr_t, n C.uint32_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_cpus", func(b *capsa.Builder) error { return b.SetCPUs(int(n)) })
}

//export goBuilderSetMemoryMiB
func goBuilderSetMemoryMiB(h C.uintptr_t, mib C.uint64_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_memory_mib", func(b *capsa.Builder) error { return b.SetMemoryMiB(uint64(mib)) })
}

//export goBuilderSetTimeout
func goBuilderSetTimeout(h C.uintptr_t, ms C.int64_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_timeout", func(b *capsa.Builder) error {
		if ms > math.MaxInt64/C.int64_t(time.Millisecond) || ms < 0 {
			return errorf(capsa.KindInvalidArg, "builder.set_timeout", "%d ms is no timeout", ms)
		}
		return b.SetTimeout(time.Duration(ms) * time.Millisecond)
	})
}

//export goBuilderSetConsole
func goBuilderSetConsole(h C.uintptr_t, o *C.capsa_console_options, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_console", func(b *capsa.Builder) error {
		return b.SetConsole(capsa.ConsoleConfig{
			RingSize: int(min(o.ring_size, math.MaxInt)),
			Cols:     uint16(o.columns),
			Rows:     uint16(o.rows),
		})
	})
}

//export goBuilderAddDisk
func goBuilderAddDisk(h C.uintptr_t, path *C.char, o *C.capsa_disk_options, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.add_disk", func(b *capsa.Builder) error {
		disk, err := diskOf(C.GoString(path), o)
		if err != nil {
			return err
		}
		return b.AddDisk(disk)
	})
}

// diskFormats are the formats by their numbers.
var diskFormats = []capsa.DiskFormat{
	C.CAPSA_DISK_FORMAT_AUTO: capsa.DiskAuto, C.CAPSA_DISK_FORMAT_RAW: capsa.DiskRaw, C.CAPSA_DISK_FORMAT_QCOW2: capsa.DiskQcow2,
}

// diskOf decodes the options of a disk.
func diskOf(path string, o *C.capsa_disk_options) (capsa.Disk, error) {
	const known = C.CAPSA_DISK_READ_ONLY | C.CAPSA_DISK_TEMPORARY | C.CAPSA_DISK_DIRECT | C.CAPSA_DISK_ROOT
	if o.flags&^known != 0 {
		return capsa.Disk{}, errorf(capsa.KindInvalidArg, "builder.add_disk", "flags %#x are not known", uint32(o.flags&^known))
	}
	if int(o.format) >= len(diskFormats) {
		return capsa.Disk{}, errorf(capsa.KindInvalidArg, "builder.add_disk", "format %d is not known", uint32(o.format))
	}
	disk := capsa.Disk{
		Path:      path,
		Format:    diskFormats[o.format],
		ReadOnly:  o.flags&C.CAPSA_DISK_READ_ONLY != 0,
		Temporary: o.flags&C.CAPSA_DISK_TEMPORARY != 0,
		Direct:    o.flags&C.CAPSA_DISK_DIRECT != 0,
		Root:      o.flags&C.CAPSA_DISK_ROOT != 0,
		Queues:    int(o.queues),
		Limit: capsa.DiskLimit{
			IOPS: uint64(o.iops), IOPSBurst: uint64(o.iops_burst),
			BytesPerSec: uint64(o.bytes_per_sec), BytesBurst: uint64(o.bytes_burst),
		},
	}
	// GoString makes "" of NULL.
	disk.Overlay, disk.ScratchDir, disk.Serial = C.GoString(o.overlay), C.GoString(o.scratch_dir), C.GoString(o.serial)
	for _, dir := range callerStrings(o.backing_dirs, o.n_backing_dirs) {
		disk.BackingDirs = append(disk.BackingDirs, C.GoString(dir))
	}
	return disk, nil
}

//export goBuilderToJSON
func goBuilderToJSON(h C.uintptr_t, out **C.char, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.to_json", func(b *capsa.Builder) error {
		text, err := b.JSON()
		if err != nil {
			return err
		}
		return newText(out, text)
	})
}

//export goBuilderFromJSON
func goBuilderFromJSON(s *C.char, n C.size_t, out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return guard(c, "builder.from_json", func() error {
		if n > maxJSON {
			return errorf(capsa.KindConfig, "builder.from_json", "%d bytes are no JSON text", n)
		}
		b, err := capsa.FromJSON([]byte(callerString(s, n)))
		if err != nil {
			return err
		}
		return give(out, kindBuilder, b)
	})
}

//export goBuilderBuild
func goBuilderBuild(h C.uintptr_t, out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.build", func(b *capsa.Builder) error {
		machine, err := b.Build()
		if err != nil {
			return err
		}
		v := newMachine(machine)
		if err := give(out, kindVM, v); err != nil {
			_ = machine.Close()
			return err
		}
		return nil
	})
}
