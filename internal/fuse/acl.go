//go:build linux

package fuse

import "golang.org/x/sys/unix"

// Names of the attributes that hold access control lists.
const (
	aclAccessName  = "system.posix_acl_access"
	aclDefaultName = "system.posix_acl_default"
)

var aclDefault = cstr(aclDefaultName + "\x00")

// Format of an access control list, include/uapi/linux/posix_acl_xattr.h.
const (
	aclVersion   = 2
	aclHeadSize  = 4 // version
	aclEntrySize = 8 // tag, permissions, id
	aclTagUser   = 0x02
	aclTagGroup  = 0x08
)

func isACL(name cstr) bool {
	n := name.String()
	return n == aclAccessName || n == aclDefaultName
}

// hasDefaultACL says whether new files in a directory get their permissions
// from its list and not from the caller's umask.
func hasDefaultACL(dir int) bool {
	var buf [40]byte
	n, e := xattrCall(unix.SYS_GETXATTR, procPath(dir, &buf), aclDefault, nil, 0)
	return e == 0 && n > 0
}

// aclToGuest and aclToHost translate the ids in a list, in place. False: it is
// no list, or names an id that the share does not have.
func (i *ids) aclToGuest(acl []byte) bool {
	return i.aclIDs(acl, func(table []IDRange, id uint32) (uint32, bool) { return toGuest(table, id), true })
}

func (i *ids) aclToHost(acl []byte) bool { return i.aclIDs(acl, toHost) }

func (i *ids) aclIDs(acl []byte, translate func([]IDRange, uint32) (uint32, bool)) bool {
	if i.Mode != Ranges {
		return true
	}
	if len(acl) < aclHeadSize || le.Uint32(acl) != aclVersion || (len(acl)-aclHeadSize)%aclEntrySize != 0 {
		return false
	}
	for e := acl[aclHeadSize:]; len(e) > 0; e = e[aclEntrySize:] {
		table := i.UIDs
		switch le.Uint16(e) {
		case aclTagUser:
		case aclTagGroup:
			table = i.GIDs
		default:
			continue
		}
		id, ok := translate(table, le.Uint32(e[4:]))
		if !ok {
			return false
		}
		le.PutUint32(e[4:], id)
	}
	return true
}
