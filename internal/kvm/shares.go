//go:build linux

package kvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/fuse"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio"
	fsdev "github.com/libcapsa/libcapsa/internal/virtio/fs"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// openShares opens the shared directories. The error tells of all that cannot be
// opened.
func (m *machine) openShares() error {
	var bad []error
	var problems vm.Problems
	for i, cfg := range m.cfg.Shares {
		server, err := openShare(cfg)
		if err != nil {
			bad = append(bad, fmt.Errorf("share %d (%q): %w", i, cfg.Tag, err))
			p := vm.Problem{Field: fmt.Sprintf("shares[%d]", i), Message: err.Error()}
			if e, ok := errors.AsType[*vm.Error](err); ok {
				p.Hint = e.Hint
			}
			problems = append(problems, p)
			continue
		}
		m.undo.add(func() error { server.Close(); return nil })
		m.shares = append(m.shares, server)
	}
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return stepError(bad[0])
	}
	return problems.Err(vm.KindOf(bad[0]), opNew)
}

func openShare(cfg vm.Share) (*fuse.Server, error) {
	server, err := fuse.New(cfg.Path, shareOptions(cfg))
	if err == nil {
		return server, nil
	}
	if e, ok := errors.AsType[*fuse.OptionError](err); ok {
		// What could be known without the host, Config.Validate has refused.
		kind := vm.KindUnsupported
		if errors.Is(err, fuse.ErrPrivilege) {
			kind = vm.KindPermission
		}
		return nil, vm.Errorf(kind, "share", "%s", e.Problem).WithHint(e.Hint).WithPath(cfg.Path)
	}
	return nil, shareError(cfg.Path, err)
}

// shareError is the error of a directory that the host does not open.
func shareError(path string, err error) error {
	kind, hint := vm.KindIO, ""
	switch {
	case errors.Is(err, unix.ENOENT):
		kind, hint = vm.KindNotFound, "make the directory first"
	case errors.Is(err, unix.ENOTDIR):
		kind, hint = vm.KindConfig, "share the directory that the file is in"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		kind, hint = vm.KindPermission, "this user needs to be allowed to enter the directory"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		kind, hint = vm.KindLimit, hintFDs
	}
	return vm.Errorf(kind, "share", "%w", err).WithPath(path).WithHint(hint)
}

// The policies by the names that a Config has for them.
var (
	shareCaches = map[vm.ShareCache]fuse.CachePolicy{
		vm.ShareCacheAuto: fuse.CacheAuto, vm.ShareCacheNone: fuse.CacheNone, vm.ShareCacheAlways: fuse.CacheAlways,
	}
	shareOwners = map[vm.ShareOwner]fuse.OwnerMode{
		vm.ShareSquash: fuse.Squash, vm.SharePassthrough: fuse.Passthrough, vm.ShareCaller: fuse.DynamicCaller, vm.ShareRanges: fuse.Ranges,
	}
	shareXattrs = map[vm.ShareXattr]fuse.XattrPolicy{
		vm.ShareXattrUser: fuse.XattrUser, vm.ShareXattrNone: fuse.XattrNone, vm.ShareXattrAll: fuse.XattrAll,
	}
)

func shareOptions(cfg vm.Share) fuse.Options {
	o := fuse.Options{
		ReadOnly: cfg.ReadOnly, Cache: shareCaches[cfg.Cache], Writeback: cfg.Writeback,
		Owner: fuse.Ownership{
			Mode: shareOwners[cfg.Owner], GuestUID: cfg.GuestUID, GuestGID: cfg.GuestGID,
			HostUID: cfg.HostUID, HostGID: cfg.HostGID, UIDs: idRanges(cfg.UIDs), GIDs: idRanges(cfg.GIDs),
		},
		Xattr: shareXattrs[cfg.Xattr], ACL: cfg.ACL, AllowSetID: cfg.AllowSetID, AllowDevices: cfg.AllowDevices, DirectIO: cfg.DirectIO,
		MaxFiles: cfg.MaxFiles, MaxInodes: cfg.MaxInodes,
	}
	if cfg.GuestLocks {
		o.Locks = fuse.LocksGuest
	}
	if cfg.OneFileSystem {
		o.Submounts = fuse.SubmountsDeny
	}
	return o
}

func idRanges(table []vm.IDRange) []fuse.IDRange {
	var out []fuse.IDRange
	for _, r := range table {
		out = append(out, fuse.IDRange(r))
	}
	return out
}

// shareSpecs are the shares as devices.
func shareSpecs(cfg vm.Config) []deviceSpec {
	var specs []deviceSpec
	for i := range cfg.Shares {
		specs = append(specs, deviceSpec{
			place: layout.Share(i),
			build: func(m *machine) (virtio.Device, error) { return m.buildShare(i) },
			fill:  func(m *machine, s *vm.DeviceStats) { fillShare(m.shares[i].Stats(), s) },
		})
	}
	return specs
}

// buildShare makes the device of a directory that is open. A request that hangs in
// the host's file system does not hold up the machine's end: the device cuts it off.
func (m *machine) buildShare(i int) (virtio.Device, error) {
	cfg := m.cfg.Shares[i]
	queues := cfg.Queues
	if queues == 0 {
		// Linux sends a CPU's requests to a queue of its own if there are enough
		// (since 6.11); older ones use the first.
		queues = min(m.cfg.CPUs, vm.MaxShareQueues)
	}
	return fsdev.New(fsdev.Config{Tag: cfg.Tag, Queues: queues, Handler: m.shares[i]})
}

// fillShare adds to the counters of every device those of a share.
func fillShare(from fuse.Stats, s *vm.DeviceStats) {
	s.BytesIn, s.BytesOut = from.BytesWrite, from.BytesRead
	s.Share = &vm.ShareStats{
		Calls: from.Requests, Replies: from.Errors, Malformed: from.Malformed + from.Unknown + from.BadNames,
		Files: from.Files, MaxFiles: from.MaxFiles, Refusals: from.FileRefusals,
		Inodes: from.Inodes, MaxInodes: from.MaxInodes,
	}
}
