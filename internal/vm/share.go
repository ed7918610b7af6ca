package vm

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a Share.
const (
	// MaxShares is the largest number of shares that makes sense. Backends have a
	// lower limit of their own.
	MaxShares = 256

	// MaxTagSize is the longest tag, in bytes: the field tag of struct
	// virtio_fs_config (virtio 1.2 section 5.11.4).
	MaxTagSize = 36

	// MaxShareQueues is the largest number of request queues of a share.
	MaxShareQueues = 16

	// MaxIDRanges is the longest table of ids: as many as a user namespace takes
	// (user_namespaces(7)).
	MaxIDRanges = 340

	// MinShareFiles is the smallest limit of descriptors with which a share works.
	MinShareFiles = 16
	// MinShareInodes is the smallest limit of nodes with which a share works.
	MinShareInodes = 16
	// MaxShareInodes is the largest limit of nodes.
	MaxShareInodes = 4_000_000
)

// ShareCache says how long the guest may answer from its own memory.
type ShareCache string

// The cache policies.
const (
	// ShareCacheAuto: names and attributes for a second, data until an open finds
	// the file changed. Changes made on the host are seen after a second at most.
	ShareCacheAuto ShareCache = ""
	// ShareCacheNone: every access asks the host.
	ShareCacheNone ShareCache = "none"
	// ShareCacheAlways: everything for a day. Right when nobody changes the
	// directory on the host meanwhile.
	ShareCacheAlways ShareCache = "always"
)

// ShareOwner says who the guest's files belong to.
type ShareOwner string

// The ways.
const (
	// ShareSquash: in the guest everything belongs to GuestUID and GuestGID; on the
	// host, what the guest makes belongs to HostUID and HostGID.
	ShareSquash ShareOwner = ""
	// SharePassthrough: ids are the same on both sides. Needs root.
	SharePassthrough ShareOwner = "passthrough"
	// ShareCaller: to each user of the guest everything belongs to that user.
	ShareCaller ShareOwner = "caller"
	// ShareRanges: ids are shifted by the tables UIDs and GIDs.
	ShareRanges ShareOwner = "ranges"
)

// ShareXattr says which extended attributes the guest sees.
type ShareXattr string

// The choices.
const (
	ShareXattrUser ShareXattr = ""     // the namespace user., and ACLs with Share.ACL
	ShareXattrNone ShareXattr = "none" // none
	ShareXattrAll  ShareXattr = "all"  // trusted. and security. too; needs SharePassthrough and AllowSetID
)

// IDRange maps Count ids from Guest on to those from Host on.
type IDRange struct {
	Guest uint32 `json:"guest"`
	Host  uint32 `json:"host"`
	Count uint32 `json:"count"`
}

// Share is a directory of the host that the guest mounts: mount -t virtiofs TAG
// /mnt. Nothing outside of the directory can be reached, whatever the guest does
// and whatever links are in it. The zero value of everything but Tag and Path is a
// writable share whose files all belong to the guest's root.
type Share struct {
	Tag      string // what the guest mounts: up to MaxTagSize bytes of printable UTF-8
	Path     string // directory; bytes as the host's file system has them
	ReadOnly bool   // enforced on the host

	Cache     ShareCache
	Writeback bool // the guest delays writes; right when only it writes. Not with ShareCacheNone

	Owner              ShareOwner
	GuestUID, GuestGID uint32    // of ShareSquash
	HostUID, HostGID   *uint32   // of ShareSquash and ShareCaller; nil: the process's own. Others need root
	UIDs, GIDs         []IDRange // of ShareRanges

	Xattr ShareXattr
	ACL   bool // POSIX access control lists; with SharePassthrough and ShareRanges

	GuestLocks    bool // locks stay in the guest; else they hold between the host and all guests
	OneFileSystem bool // what is mounted below Path is not shared
	AllowSetID    bool // set-user-ID and set-group-ID bits that the guest sets are kept, and hold on the host too
	AllowDevices  bool // device nodes that the guest makes are the host's devices on the host; with SharePassthrough
	DirectIO      bool // O_DIRECT of the guest is passed on to the host, with its demands on alignment

	MaxFiles  int // descriptors of the host; above it the guest gets EMFILE. 0: half of the process's limit
	MaxInodes int // files that are remembered; 0: 262,144
	Queues    int // 0: as suits the number of vCPUs
}

func (s Share) clone() Share {
	id := func(p *uint32) *uint32 {
		if p == nil {
			return nil
		}
		v := *p
		return &v
	}
	s.HostUID, s.HostGID = id(s.HostUID), id(s.HostGID)
	s.UIDs, s.GIDs = slices.Clone(s.UIDs), slices.Clone(s.GIDs)
	return s
}

// Shares checks Config.Shares, each by itself and all together.
func (p *Problems) Shares(shares []Share) {
	if len(shares) > MaxShares {
		p.add("shares", "", "%d are too many; at most %d are possible", len(shares), MaxShares)
		return
	}
	tags := make(map[string]int)
	for i, s := range shares {
		p.Share(i, s)
		if first, given := tags[s.Tag]; given && s.Tag != "" {
			p.add(fmt.Sprintf("shares[%d].tag", i), "", "%q is the tag of share %d too", s.Tag, first)
			continue
		}
		tags[s.Tag] = i
	}
}

// Share checks the i-th of Config.Shares by itself.
func (p *Problems) Share(i int, s Share) {
	field := func(name string) string { return fmt.Sprintf("shares[%d].%s", i, name) }
	p.tag(field("tag"), s.Tag)
	if s.Path == "" {
		p.add(field("path"), "set the path of a directory", "no directory is given")
	}
	p.path(field("path"), s.Path)
	p.shareCache(field, s)
	p.shareOwner(field, s)
	p.shareOwned(field, s)
	if s.MaxFiles != 0 && s.MaxFiles < MinShareFiles {
		p.add(field("max_files"), "use 0 for half of the process's limit", "%d is less than %d", s.MaxFiles, MinShareFiles)
	}
	if s.MaxInodes != 0 && (s.MaxInodes < MinShareInodes || s.MaxInodes > MaxShareInodes) {
		p.add(field("max_inodes"), "use 0 for the default", "%d is not from %d to %d", s.MaxInodes, MinShareInodes, MaxShareInodes)
	}
	if s.Queues < 0 || s.Queues > MaxShareQueues {
		p.add(field("queues"), "use 0 for as many as suit the machine", "%d; up to %d are possible", s.Queues, MaxShareQueues)
	}
}

func (p *Problems) tag(field, tag string) {
	switch {
	case tag == "":
		p.add(field, "the guest mounts it by that name", "no tag is given")
	case len(tag) > MaxTagSize:
		p.add(field, "", "is %d bytes long; at most %d are allowed", len(tag), MaxTagSize)
	case !utf8.ValidString(tag) || strings.ContainsFunc(tag, func(r rune) bool { return !unicode.IsPrint(r) }):
		p.add(field, "", "%q is not printable UTF-8", tag)
	}
}

func (p *Problems) shareCache(field func(string) string, s Share) {
	switch s.Cache {
	case ShareCacheAuto, ShareCacheNone, ShareCacheAlways:
	default:
		p.add(field("cache"), `"none" and "always" are; without one it is automatic`, "%q is not known", string(s.Cache))
	}
	if s.Writeback && s.Cache == ShareCacheNone {
		p.add(field("writeback"), "choose another cache policy", "writes cannot be delayed when nothing is cached")
	}
}

func (p *Problems) shareOwner(field func(string) string, s Share) {
	switch s.Owner {
	case ShareSquash, SharePassthrough, ShareCaller, ShareRanges:
	default:
		p.add(field("owner"), `"passthrough", "caller" and "ranges" are; without one all belongs to one user`,
			"%q is not known", string(s.Owner))
		return
	}
	const noID = 1<<32 - 1 // (uid_t)-1 means no change to chown(2)
	if s.GuestUID == noID || s.GuestGID == noID {
		p.add(field("guest_uid"), "", "%d is no id", uint32(noID))
	}
	if s.Owner != ShareSquash && (s.GuestUID != 0 || s.GuestGID != 0) {
		p.add(field("guest_uid"), `leave "owner" out`, "one owner in the guest, and %q decides who it is", string(s.Owner))
	}
	if (s.HostUID != nil || s.HostGID != nil) && s.Owner != ShareSquash && s.Owner != ShareCaller {
		p.add(field("host_uid"), "", "one owner on the host, and %q decides who it is", string(s.Owner))
	}
	if s.Owner == ShareRanges {
		p.ranges(field("uids"), s.UIDs)
		p.ranges(field("gids"), s.GIDs)
	} else if len(s.UIDs)+len(s.GIDs) > 0 {
		p.add(field("uids"), `set owner to "ranges"`, "tables of ids are of no use to this owner")
	}
}

// ranges refuses tables that are empty, wrap around or overlap.
func (p *Problems) ranges(field string, table []IDRange) {
	if len(table) == 0 || len(table) > MaxIDRanges {
		p.add(field, "", "%d ranges; from 1 to %d are possible", len(table), MaxIDRanges)
		return
	}
	const end = 1<<32 - 1
	overlap := func(a, countA, b, countB uint32) bool {
		return uint64(a) < uint64(b)+uint64(countB) && uint64(b) < uint64(a)+uint64(countA)
	}
	for i, r := range table {
		if r.Count == 0 || uint64(r.Guest)+uint64(r.Count) > end || uint64(r.Host)+uint64(r.Count) > end {
			p.add(fmt.Sprintf("%s[%d]", field, i), "", "is empty or goes beyond %d", uint32(end-1))
		}
		for k, q := range table[:i] {
			if overlap(r.Guest, r.Count, q.Guest, q.Count) || overlap(r.Host, r.Count, q.Host, q.Count) {
				p.add(fmt.Sprintf("%s[%d]", field, i), "", "overlaps range %d", k)
			}
		}
	}
}

func (p *Problems) shareOwned(field func(string) string, s Share) {
	switch s.Xattr {
	case ShareXattrUser, ShareXattrNone, ShareXattrAll:
	default:
		p.add(field("xattr"), `"none" and "all" are; without one it is the namespace user.`, "%q is not known", string(s.Xattr))
	}
	if s.Xattr == ShareXattrAll && (s.Owner != SharePassthrough || !s.AllowSetID) {
		p.add(field("xattr"), `set owner to "passthrough", and allow_set_id`,
			"file capabilities grant what set-user-ID grants, and are not allowed without it")
	}
	if s.AllowDevices && s.Owner != SharePassthrough {
		p.add(field("allow_devices"), `set owner to "passthrough"`, "devices are for whom their owner and mode on the host say")
	}
	if s.ACL && s.Owner != SharePassthrough && s.Owner != ShareRanges {
		p.add(field("acl"), `set owner to "passthrough" or "ranges"`, "access control lists name ids, which this owner does not keep")
	}
	if s.ACL && s.Xattr == ShareXattrNone {
		p.add(field("acl"), "", "access control lists are extended attributes, and there are none")
	}
}
