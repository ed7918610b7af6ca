//go:build linux

package fuse

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// OwnerMode says who the client's files belong to.
type OwnerMode int

const (
	// Squash: to the client everything belongs to GuestUID and GuestGID; on
	// the host what it makes belongs to HostUID and HostGID. Changes of the
	// owner succeed and are not kept.
	Squash OwnerMode = iota
	// Passthrough: ids are the same on both sides. Needs root.
	Passthrough
	// DynamicCaller: to each caller everything belongs to itself. Attributes
	// are not cached, which costs speed.
	DynamicCaller
	// Ranges: ids are shifted by the tables UIDs and GIDs. Ids of the host
	// that are in no range show as 65534, ids of the client are refused.
	Ranges
)

// IDRange maps Count ids from Guest on to those from Host on.
type IDRange struct{ Guest, Host, Count uint32 }

// Ownership is an OwnerMode with its parameters.
type Ownership struct {
	Mode OwnerMode
	// GuestUID and GuestGID are what the client sees with Squash.
	GuestUID, GuestGID uint32
	// HostUID and HostGID own new files with Squash and DynamicCaller. Nil:
	// the process's effective id. Another one needs root.
	HostUID, HostGID *uint32
	// UIDs and GIDs are the tables of Ranges.
	UIDs, GIDs []IDRange
}

const (
	noID       = math.MaxUint32 // (uid_t)-1 means no change to chown(2)
	overflowID = 65534          // nobody; what Linux shows for ids that have no mapping
	maxRanges  = 340            // as many as a user namespace takes, user_namespaces(7)
)

// validate checks what needs no look at the process.
func (o Ownership) validate() []error {
	var problems []error
	bad := func(field, problem, hint string, err error) {
		problems = append(problems, &OptionError{Field: "Owner." + field, Problem: problem, Hint: hint, Err: err})
	}
	if o.Mode < Squash || o.Mode > Ranges {
		bad("Mode", fmt.Sprintf("there is no value %d", o.Mode), "", ErrRange)
	}
	if o.GuestUID == noID || o.GuestGID == noID {
		bad("GuestUID", "2^32-1 is no id", "", ErrRange)
	}
	if (o.HostUID != nil || o.HostGID != nil) && o.Mode != Squash && o.Mode != DynamicCaller {
		bad("HostUID", "the mode decides who owns new files", "HostUID and HostGID are for Squash and DynamicCaller", ErrConflict)
	}
	if o.Mode != Ranges && len(o.UIDs)+len(o.GIDs) > 0 {
		bad("UIDs", "tables are for the mode Ranges", "set Mode to Ranges", ErrConflict)
	}
	if o.Mode == Ranges {
		problems = append(problems, checkRanges("UIDs", o.UIDs)...)
		problems = append(problems, checkRanges("GIDs", o.GIDs)...)
	}
	return problems
}

// checkRanges refuses tables that are empty, wrap around or overlap.
func checkRanges(field string, table []IDRange) []error {
	var problems []error
	bad := func(format string, a ...any) {
		problems = append(problems, &OptionError{Field: "Owner." + field, Problem: fmt.Sprintf(format, a...), Err: ErrRange})
	}
	if len(table) == 0 || len(table) > maxRanges {
		bad("has %d entries and not 1 to %d", len(table), maxRanges)
	}
	overlap := func(a, b, countA, countB uint32) bool {
		return uint64(a) < uint64(b)+uint64(countB) && uint64(b) < uint64(a)+uint64(countA)
	}
	for i, r := range table {
		if r.Count == 0 || uint64(r.Guest)+uint64(r.Count) > noID || uint64(r.Host)+uint64(r.Count) > noID {
			bad("entry %d is empty or goes beyond 2^32-2", i)
		}
		for k, q := range table[:i] {
			if overlap(r.Guest, q.Guest, r.Count, q.Count) || overlap(r.Host, q.Host, r.Count, q.Count) {
				bad("entries %d and %d overlap", k, i)
			}
		}
	}
	return problems
}

// possible checks that this process can own files the way that is asked for.
// root says whether it has the privileges to change owners.
func (o Ownership) possible(root bool) error {
	need := func(field string, table string, r IDRange, own uint32) error {
		if !root && (r.Host != own || r.Count != 1) {
			return &OptionError{
				Field: "Owner." + field, Problem: "only root may give files to other ids",
				Hint: fmt.Sprintf("run as root, or use id %d alone", own), Err: ErrPrivilege,
			}
		}
		if !inUserNamespace(table, r) {
			return &OptionError{
				Field: "Owner." + field, Problem: fmt.Sprintf("id %d is not mapped in the user namespace of the process", r.Host),
				Hint: "see /proc/self/uid_map and gid_map", Err: ErrPrivilege,
			}
		}
		return nil
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	switch o.Mode {
	case Passthrough:
		if !root {
			return &OptionError{
				Field: "Owner.Mode", Problem: "Passthrough gives files to any id, which only root may",
				Hint: "use Squash, or Ranges with your own id", Err: ErrPrivilege,
			}
		}
	case Squash, DynamicCaller:
		for _, id := range []struct {
			field, table string
			host         *uint32
			own          uint32
		}{{"HostUID", "uid_map", o.HostUID, uid}, {"HostGID", "gid_map", o.HostGID, gid}} {
			if id.host == nil {
				continue
			}
			if err := need(id.field, id.table, IDRange{Host: *id.host, Count: 1}, id.own); err != nil {
				return err
			}
		}
	case Ranges:
		for _, r := range o.UIDs {
			if err := need("UIDs", "uid_map", r, uid); err != nil {
				return err
			}
		}
		for _, r := range o.GIDs {
			if err := need("GIDs", "gid_map", r, gid); err != nil {
				return err
			}
		}
	}
	return nil
}

// inUserNamespace says whether all host ids of r are mapped in the process's
// user namespace, whose table is /proc/self/uid_map or gid_map. Without proc
// it does not know, and lets chown(2) decide.
func inUserNamespace(table string, r IDRange) bool {
	text, err := os.ReadFile("/proc/self/" + table)
	if err != nil {
		return true
	}
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.ParseUint(string(f[0]), 10, 32)
		count, err2 := strconv.ParseUint(string(f[2]), 10, 32)
		if err1 == nil && err2 == nil && uint64(r.Host) >= first && uint64(r.Host)+uint64(r.Count) <= first+count {
			return true
		}
	}
	return false
}

// privileged says whether the process may change owners of files, use files of
// others, and keep set-ID bits while it does.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	const need = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
	return data[0].Effective&need == need
}

// ids translates owners for one share.
type ids struct {
	Ownership
	hostUID, hostGID uint32 // noID: as the kernel makes them
}

func newIDs(o Ownership) ids {
	i := ids{Ownership: o, hostUID: noID, hostGID: noID}
	if o.HostUID != nil {
		i.hostUID = *o.HostUID
	}
	if o.HostGID != nil {
		i.hostGID = *o.HostGID
	}
	return i
}

// guest returns what a caller sees of a file that belongs to (uid, gid) on the host.
func (i *ids) guest(r *request, uid, gid uint32) (uint32, uint32) {
	switch i.Mode {
	case Squash:
		return i.GuestUID, i.GuestGID
	case DynamicCaller:
		return r.uid, r.gid
	case Ranges:
		return toGuest(i.UIDs, uid), toGuest(i.GIDs, gid)
	default:
		return uid, gid
	}
}

// host returns the host's ids for the client's. ok is false for ids that the
// share does not have. An id of noID is returned as it is: no change.
func (i *ids) host(uid, gid uint32) (u, g uint32, ok bool) {
	if i.Mode != Ranges {
		return uid, gid, true
	}
	u, ok1 := toHost(i.UIDs, uid)
	g, ok2 := toHost(i.GIDs, gid)
	return u, g, ok1 && ok2
}

// creator returns the host's owner of a file that a caller makes; noID leaves
// what the kernel chose.
func (i *ids) creator(r *request) (uid, gid uint32, ok bool) {
	switch i.Mode {
	case Passthrough, Ranges:
		if r.uid == noID || r.gid == noID {
			return 0, 0, false
		}
		return i.host(r.uid, r.gid)
	default:
		return i.hostUID, i.hostGID, true
	}
}

// keeps says whether changes of the owner are carried out.
func (i *ids) keeps() bool { return i.Mode == Passthrough || i.Mode == Ranges }

func toGuest(table []IDRange, id uint32) uint32 {
	for _, r := range table {
		if id >= r.Host && id-r.Host < r.Count {
			return r.Guest + (id - r.Host)
		}
	}
	return overflowID
}

func toHost(table []IDRange, id uint32) (uint32, bool) {
	if id == noID {
		return noID, true
	}
	for _, r := range table {
		if id >= r.Guest && id-r.Guest < r.Count {
			return r.Host + (id - r.Guest), true
		}
	}
	return 0, false
}
