package vm

import (
	"fmt"
	"unicode/utf8"
)

// The JSON form of a Disk. Rates are per second; bytes are bytes.
//
//	{"path": "/images/debian.qcow2", "format": "qcow2", "read_only": false,
//	 "overlay": "/var/lib/web.qcow2",           // or
//	 "temporary": true, "scratch_dir": "/var/tmp",
//	 "backing_dirs": ["/images"], "serial": "root", "direct": true, "queues": 1,
//	 "limit": {"iops": 1000, "iops_burst": 100, "bytes_per_sec": 104857600, "bytes_burst": 10485760},
//	 "root": true}
type diskJSON struct {
	Path        string         `json:"path,omitempty"`
	Format      DiskFormat     `json:"format,omitempty"`
	ReadOnly    bool           `json:"read_only,omitempty"`
	Overlay     string         `json:"overlay,omitempty"`
	Temporary   bool           `json:"temporary,omitempty"`
	ScratchDir  string         `json:"scratch_dir,omitempty"`
	BackingDirs []string       `json:"backing_dirs,omitempty"`
	Serial      string         `json:"serial,omitempty"`
	Direct      bool           `json:"direct,omitempty"`
	Queues      int            `json:"queues,omitempty"`
	Limit       *diskLimitJSON `json:"limit,omitempty"`
	Root        bool           `json:"root,omitempty"`
}

type diskLimitJSON struct {
	IOPS        uint64 `json:"iops,omitempty"`
	IOPSBurst   uint64 `json:"iops_burst,omitempty"`
	BytesPerSec uint64 `json:"bytes_per_sec,omitempty"`
	BytesBurst  uint64 `json:"bytes_burst,omitempty"`
}

// encodeDisks makes the JSON form, and adds what it cannot say to p.
func encodeDisks(disks []Disk, p *Problems) []diskJSON {
	var out []diskJSON
	for i, d := range disks {
		field := func(name string) string { return fmt.Sprintf("disks[%d].%s", i, name) }
		for _, s := range []struct{ name, text string }{
			{"path", d.Path}, {"format", string(d.Format)}, {"overlay", d.Overlay},
			{"scratch_dir", d.ScratchDir}, {"serial", d.Serial},
		} {
			p.utf8(field(s.name), s.text)
		}
		for k, dir := range d.BackingDirs {
			p.utf8(fmt.Sprintf("%s[%d]", field("backing_dirs"), k), dir)
		}
		j := diskJSON{
			Path: d.Path, Format: d.Format, ReadOnly: d.ReadOnly,
			Overlay: d.Overlay, Temporary: d.Temporary, ScratchDir: d.ScratchDir, BackingDirs: d.BackingDirs,
			Serial: d.Serial, Direct: d.Direct, Queues: d.Queues, Root: d.Root,
		}
		if d.Limit != (DiskLimit{}) {
			limit := diskLimitJSON(d.Limit)
			j.Limit = &limit
		}
		out = append(out, j)
	}
	return out
}

// disk is what the JSON form says.
func (j diskJSON) disk() Disk {
	d := Disk{
		Path: j.Path, Format: j.Format, ReadOnly: j.ReadOnly,
		Overlay: j.Overlay, Temporary: j.Temporary, ScratchDir: j.ScratchDir, BackingDirs: j.BackingDirs,
		Serial: j.Serial, Direct: j.Direct, Queues: j.Queues, Root: j.Root,
	}
	if j.Limit != nil {
		d.Limit = DiskLimit(*j.Limit)
	}
	return d
}

// utf8 finds text that JSON cannot carry.
func (p *Problems) utf8(field, s string) {
	if !utf8.ValidString(s) {
		p.add(field, "JSON cannot carry other bytes", "%q is not UTF-8", s)
	}
}
