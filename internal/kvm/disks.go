//go:build linux

package kvm

import (
	"errors"
	"fmt"
	"time"

	"github.com/libcapsa/libcapsa/internal/block"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/blk"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// disk is one of a machine's disks, first as an image and then as a device.
type disk struct {
	image     block.Disk  // nil once the device has it
	device    *blk.Device // nil until then
	partition int         // with the root file system, if it is the root; 0: the whole disk
}

// fits finds devices that the interrupt controller has no lines for.
func fits(c vm.Config) vm.Problems {
	err := layout.CheckShares(len(c.Shares), len(c.Disks))
	if err == nil {
		return nil
	}
	p := vm.Problem{Field: "disks", Message: err.Error()}
	if len(c.Disks) == 0 {
		p.Field = "shares"
	}
	if e, ok := errors.AsType[*vm.Error](err); ok {
		p.Message, p.Hint = e.Err.Error(), e.Hint
	}
	return vm.Problems{p}
}

// openDisks opens and locks the images. The error tells of all that cannot be
// opened.
func (m *machine) openDisks() error {
	m.undo.add(m.closeImages)
	var bad []error
	var problems vm.Problems
	for i, cfg := range m.cfg.Disks {
		d, err := openDisk(cfg)
		if err != nil {
			bad = append(bad, fmt.Errorf("disk %d: %w", i, err))
			p := vm.Problem{Field: fmt.Sprintf("disks[%d]", i), Message: err.Error()}
			if e, ok := errors.AsType[*vm.Error](err); ok {
				p.Hint = e.Hint
			}
			problems = append(problems, p)
			continue
		}
		m.disks = append(m.disks, d)
	}
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return stepError(bad[0])
	}
	return problems.Err(vm.KindOf(bad[0]), opNew)
}

func openDisk(cfg vm.Disk) (*disk, error) {
	image, err := block.Open(block.Options{
		Path: cfg.Path, Format: block.Format(cfg.Format), ReadOnly: cfg.ReadOnly, Direct: cfg.Direct,
		Overlay: cfg.Overlay, Temporary: cfg.Temporary, ScratchDir: cfg.ScratchDir, BackingDirs: cfg.BackingDirs,
	})
	if err != nil {
		return nil, err
	}
	d := &disk{image: image}
	if cfg.Root {
		if d.partition, err = block.RootPartition(image); err != nil {
			err = vm.Errorf(vm.KindIO, "disk", "its partition table: %w", err).WithPath(cfg.Path)
			return nil, errors.Join(err, image.Close())
		}
	}
	return d, nil
}

// closeImages closes the images that have not become devices.
func (m *machine) closeImages() error {
	var errs []error
	for _, d := range m.disks {
		if d.image != nil {
			errs = append(errs, d.image.Close())
		}
	}
	return errors.Join(errs...)
}

// diskSpecs are the disks as devices.
func diskSpecs(cfg vm.Config) []deviceSpec {
	var specs []deviceSpec
	for i := range cfg.Disks {
		specs = append(specs, deviceSpec{
			place: layout.Disk(i),
			build: func(m *machine) (virtio.Device, error) { return m.buildDisk(i) },
			fill:  func(m *machine, s *vm.DeviceStats) { m.disks[i].fill(s) },
		})
	}
	return specs
}

// buildDisk makes the device, which owns the image from then on.
func (m *machine) buildDisk(i int) (virtio.Device, error) {
	d, cfg := m.disks[i], m.cfg.Disks[i]
	queues := cfg.Queues
	if queues == 0 {
		queues = blk.QueuesFor(m.cfg.CPUs)
	}
	device, err := blk.New(blk.Config{
		Backend:  d.image,
		ReadOnly: cfg.ReadOnly,
		Serial:   cfg.Serial,
		Queues:   queues,
		Limit: blk.Limit{
			IOPS: cfg.Limit.IOPS, IOPSBurst: cfg.Limit.IOPSBurst,
			Bandwidth: cfg.Limit.BytesPerSec, Burst: cfg.Limit.BytesBurst,
		},
		OnError: func(f blk.Failure) { m.diskFailed(i, f) },
	})
	if err != nil {
		return nil, vm.Errorf(vm.KindConfig, "disk", "%w", err).WithPath(cfg.Path)
	}
	d.image, d.device = nil, device
	return device, nil
}

// diskFailed tells of a request that the host could not serve. The guest has seen
// an I/O error, and goes on.
func (m *machine) diskFailed(i int, f blk.Failure) {
	if m.host.Event == nil {
		return
	}
	text := fmt.Sprintf("%s at sector %d of %s: %v", f.Op, f.Sector, m.cfg.Disks[i].Path, f.Err)
	if f.Missed > 0 {
		text += fmt.Sprintf(" (and %d failures before it)", f.Missed)
	}
	m.host.Event(vm.Event{Type: vm.EventDiskError, Component: layout.Disk(i).Name, Disk: i, Message: text})
}

// storageGrace is how long the end of a machine waits for a host's storage that does
// not answer. Storage in order needs as long as it takes to write its cache.
const storageGrace = 10 * time.Second

// abandonDisks lets the end of the machine go on without the requests that are
// still with the host's storage. They keep what they use until they end.
func (m *machine) abandonDisks() {
	for _, d := range m.disks {
		if d.device != nil {
			d.device.Abandon()
		}
	}
}

// fill adds to the counters of every device those of a disk.
func (d *disk) fill(s *vm.DeviceStats) {
	b := d.device.Stats()
	s.BytesIn, s.BytesOut = b.BytesWritten, b.BytesRead
	s.Disk = &vm.DiskStats{
		Reads: b.Reads, Writes: b.Writes, Flushes: b.Flushes, Discards: b.Discards, WriteZeroes: b.WriteZeroes,
		Refused: b.Refused, Stalls: b.Stalls, Throttled: b.Throttled,
	}
}

// root is the block device with the root file system, by the name that Linux gives
// it, or "".
func (m *machine) root() (device string, readOnly bool) {
	for i, cfg := range m.cfg.Disks {
		if !cfg.Root {
			continue
		}
		// Disks are named in the order in which they are found; the layout has
		// fewer than 26.
		device = fmt.Sprintf("/dev/vd%c", 'a'+i)
		if n := m.disks[i].partition; n > 0 {
			device += fmt.Sprint(n)
		}
		return device, cfg.ReadOnly
	}
	return "", false
}
