package vm

import "fmt"

// The JSON form of a Share.
//
//	{"tag": "src", "path": "/home/me/src", "read_only": true,
//	 "cache": "always", "writeback": true,      // cache: "none", "always"
//	 "owner": "ranges", "uids": [{"guest": 0, "host": 100000, "count": 65536}], "gids": [...], // or
//	 "owner": "passthrough",                    // or "caller", or
//	 "guest_uid": 1000, "guest_gid": 1000, "host_uid": 1000, "host_gid": 1000,
//	 "xattr": "none", "acl": true,              // xattr: "none", "all"
//	 "guest_locks": true, "one_file_system": true, "allow_set_id": true, "allow_devices": true,
//	 "direct_io": true,
//	 "max_files": 4096, "max_inodes": 65536, "queues": 2}
type shareJSON struct {
	Tag           string     `json:"tag,omitempty"`
	Path          string     `json:"path,omitempty"`
	ReadOnly      bool       `json:"read_only,omitempty"`
	Cache         ShareCache `json:"cache,omitempty"`
	Writeback     bool       `json:"writeback,omitempty"`
	Owner         ShareOwner `json:"owner,omitempty"`
	GuestUID      uint32     `json:"guest_uid,omitempty"`
	GuestGID      uint32     `json:"guest_gid,omitempty"`
	HostUID       *uint32    `json:"host_uid,omitempty"`
	HostGID       *uint32    `json:"host_gid,omitempty"`
	UIDs          []IDRange  `json:"uids,omitempty"`
	GIDs          []IDRange  `json:"gids,omitempty"`
	Xattr         ShareXattr `json:"xattr,omitempty"`
	ACL           bool       `json:"acl,omitempty"`
	GuestLocks    bool       `json:"guest_locks,omitempty"`
	OneFileSystem bool       `json:"one_file_system,omitempty"`
	AllowSetID    bool       `json:"allow_set_id,omitempty"`
	AllowDevices  bool       `json:"allow_devices,omitempty"`
	DirectIO      bool       `json:"direct_io,omitempty"`
	MaxFiles      int        `json:"max_files,omitempty"`
	MaxInodes     int        `json:"max_inodes,omitempty"`
	Queues        int        `json:"queues,omitempty"`
}

// encodeShares makes the JSON form, and adds what it cannot say to p.
func encodeShares(shares []Share, p *Problems) []shareJSON {
	var out []shareJSON
	for i, s := range shares {
		for _, f := range []struct{ name, text string }{
			{"tag", s.Tag}, {"path", s.Path}, {"cache", string(s.Cache)}, {"owner", string(s.Owner)}, {"xattr", string(s.Xattr)},
		} {
			p.utf8(fmt.Sprintf("shares[%d].%s", i, f.name), f.text)
		}
		out = append(out, shareJSON(s))
	}
	return out
}
