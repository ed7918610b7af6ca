package main

/*
#include "priv.h"
*/
import "C"

import (
	"github.com/libcapsa/libcapsa/capsa"
)

//export goBuilderAddShare
func goBuilderAddShare(h C.uintptr_t, tag, path *C.char, o *C.capsa_share_options, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.add_share", func(b *capsa.Builder) error {
		share, err := shareOf(o)
		if err != nil {
			return err
		}
		share.Tag, share.Path = C.GoString(tag), C.GoString(path)
		return b.AddShare(share)
	})
}

// The policies by their numbers.
var (
	shareCaches = []capsa.ShareCache{
		C.CAPSA_SHARE_CACHE_AUTO: capsa.ShareCacheAuto, C.CAPSA_SHARE_CACHE_NONE: capsa.ShareCacheNone,
		C.CAPSA_SHARE_CACHE_ALWAYS: capsa.ShareCacheAlways,
	}
	shareOwners = []capsa.ShareOwner{
		C.CAPSA_SHARE_OWNER_SQUASH: capsa.ShareSquash, C.CAPSA_SHARE_OWNER_PASSTHROUGH: capsa.SharePassthrough,
		C.CAPSA_SHARE_OWNER_CALLER: capsa.ShareCaller, C.CAPSA_SHARE_OWNER_RANGES: capsa.ShareRanges,
	}
	shareXattrs = []capsa.ShareXattr{
		C.CAPSA_SHARE_XATTR_USER: capsa.ShareXattrUser, C.CAPSA_SHARE_XATTR_NONE: capsa.ShareXattrNone,
		C.CAPSA_SHARE_XATTR_ALL: capsa.ShareXattrAll,
	}
)

// choice is a policy by its number.
func choice[T any](what string, from []T, n C.uint32_t) (value T, err error) {
	if int64(n) >= int64(len(from)) {
		return value, errorf(capsa.KindInvalidArg, "builder.add_share", "%s %d is not known", what, uint32(n))
	}
	return from[n], nil
}

// shareOf decodes the options of a share.
func shareOf(o *C.capsa_share_options) (s capsa.Share, err error) {
	const known = C.CAPSA_SHARE_READ_ONLY | C.CAPSA_SHARE_WRITEBACK | C.CAPSA_SHARE_ACL | C.CAPSA_SHARE_GUEST_LOCKS |
		C.CAPSA_SHARE_ONE_FILE_SYSTEM | C.CAPSA_SHARE_ALLOW_SET_ID | C.CAPSA_SHARE_DIRECT_IO | C.CAPSA_SHARE_HOST_IDS |
		C.CAPSA_SHARE_ALLOW_DEVICES
	if o.flags&^known != 0 {
		return s, errorf(capsa.KindInvalidArg, "builder.add_share", "flags %#x are not known", uint32(o.flags&^known))
	}
	if s.Cache, err = choice("cache policy", shareCaches, o.cache); err != nil {
		return s, err
	}
	if s.Owner, err = choice("owner", shareOwners, o.owner); err != nil {
		return s, err
	}
	if s.Xattr, err = choice("xattr policy", shareXattrs, o.xattr); err != nil {
		return s, err
	}
	s.ReadOnly = o.flags&C.CAPSA_SHARE_READ_ONLY != 0
	s.Writeback = o.flags&C.CAPSA_SHARE_WRITEBACK != 0
	s.ACL = o.flags&C.CAPSA_SHARE_ACL != 0
	s.GuestLocks = o.flags&C.CAPSA_SHARE_GUEST_LOCKS != 0
	s.OneFileSystem = o.flags&C.CAPSA_SHARE_ONE_FILE_SYSTEM != 0
	s.AllowSetID = o.flags&C.CAPSA_SHARE_ALLOW_SET_ID != 0
	s.AllowDevices = o.flags&C.CAPSA_SHARE_ALLOW_DEVICES != 0
	s.DirectIO = o.flags&C.CAPSA_SHARE_DIRECT_IO != 0
	s.GuestUID, s.GuestGID = uint32(o.guest_uid), uint32(o.guest_gid)
	if o.flags&C.CAPSA_SHARE_HOST_IDS != 0 {
		uid, gid := uint32(o.host_uid), uint32(o.host_gid)
		s.HostUID, s.HostGID = &uid, &gid
	}
	s.UIDs, s.GIDs = idRanges(o.uids, o.n_uids), idRanges(o.gids, o.n_gids)
	s.Queues, s.MaxFiles, s.MaxInodes = int(o.queues), int(o.max_files), int(o.max_inodes)
	return s, nil
}
