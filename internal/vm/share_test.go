package vm_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// share is a valid share with a change.
func share(change func(*vm.Share)) vm.Share {
	s := vm.Share{Tag: "src", Path: "/src"}
	if change != nil {
		change(&s)
	}
	return s
}

func TestSharesAccepted(t *testing.T) {
	t.Parallel()
	id := uint32(1000)
	table := []vm.IDRange{{Guest: 0, Host: 100000, Count: 65536}, {Guest: 65536, Host: 7, Count: 1}}
	tests := []struct {
		name   string
		change func(*vm.Share)
	}{
		{"tag and path", nil},
		{"longest tag", func(s *vm.Share) { s.Tag = strings.Repeat("t", vm.MaxTagSize) }},
		{"tag with a space, in Greek", func(s *vm.Share) { s.Tag = "κ ω" }},
		{"path that is not UTF-8", func(s *vm.Share) { s.Path = "/\xff" }},
		{"squash to others", func(s *vm.Share) { s.GuestUID, s.GuestGID, s.HostUID, s.HostGID = 5, 6, &id, &id }},
		{"caller on the host's id", func(s *vm.Share) { s.Owner, s.HostUID = vm.ShareCaller, &id }},
		{"ranges", func(s *vm.Share) { s.Owner, s.UIDs, s.GIDs, s.ACL = vm.ShareRanges, table, table, true }},
		{"all attributes", func(s *vm.Share) { s.Owner, s.Xattr, s.AllowSetID = vm.SharePassthrough, vm.ShareXattrAll, true }},
		{"devices", func(s *vm.Share) { s.Owner, s.AllowDevices = vm.SharePassthrough, true }},
		{"writeback", func(s *vm.Share) { s.Cache, s.Writeback = vm.ShareCacheAlways, true }},
		{"smallest limits", func(s *vm.Share) { s.MaxFiles, s.MaxInodes, s.Queues = vm.MinShareFiles, vm.MinShareInodes, 1 }},
		{"largest limits", func(s *vm.Share) { s.MaxInodes, s.Queues = vm.MaxShareInodes, vm.MaxShareQueues }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			c.Shares = []vm.Share{share(test.change)}
			require.NoError(t, c.Validate())
		})
	}
}

func TestSharesRefused(t *testing.T) {
	t.Parallel()
	const none = 1<<32 - 1
	id := uint32(7)
	good := []vm.IDRange{{Guest: 0, Host: 0, Count: 10}}
	ranges := func(uids ...vm.IDRange) func(*vm.Share) {
		return func(s *vm.Share) { s.Owner, s.UIDs, s.GIDs = vm.ShareRanges, uids, good }
	}
	tests := []struct {
		name   string
		change func(*vm.Share)
		want   []string
	}{
		{"nothing", func(s *vm.Share) { *s = vm.Share{} }, []string{"shares[0].tag", "shares[0].path"}},
		{"long tag", func(s *vm.Share) { s.Tag = strings.Repeat("t", vm.MaxTagSize+1) }, []string{"shares[0].tag"}},
		{"tag with a line's end", func(s *vm.Share) { s.Tag = "a\n" }, []string{"shares[0].tag"}},
		{"tag that is not UTF-8", func(s *vm.Share) { s.Tag = "\xff" }, []string{"shares[0].tag"}},
		{"NUL in the path", func(s *vm.Share) { s.Path = "a\x00" }, []string{"shares[0].path"}},
		{"unknown words", func(s *vm.Share) { s.Cache, s.Owner, s.Xattr = "some", "me", "few" },
			[]string{"shares[0].cache", "shares[0].owner", "shares[0].xattr"}},
		{"writeback without a cache", func(s *vm.Share) { s.Cache, s.Writeback = vm.ShareCacheNone, true }, []string{"shares[0].writeback"}},
		{"no id", func(s *vm.Share) { s.GuestGID = none }, []string{"shares[0].guest_uid"}},
		{"one owner beside passthrough", func(s *vm.Share) { s.Owner, s.GuestUID, s.HostUID = vm.SharePassthrough, 1, &id },
			[]string{"shares[0].guest_uid", "shares[0].host_uid"}},
		{"tables for one owner", func(s *vm.Share) { s.UIDs = good }, []string{"shares[0].uids"}},
		{"no tables", func(s *vm.Share) { s.Owner = vm.ShareRanges }, []string{"shares[0].uids", "shares[0].gids"}},
		{"empty range", ranges(vm.IDRange{}), []string{"shares[0].uids[0]"}},
		{"range that wraps", ranges(vm.IDRange{Guest: 2, Count: none - 1}), []string{"shares[0].uids[0]"}},
		{"range that wraps on the host", ranges(vm.IDRange{Host: none, Count: 1}), []string{"shares[0].uids[0]"}},
		{"ranges that overlap in the guest", ranges(vm.IDRange{Guest: 0, Host: 0, Count: 10}, vm.IDRange{Guest: 9, Host: 90, Count: 10}),
			[]string{"shares[0].uids[1]"}},
		{"ranges that overlap on the host", ranges(vm.IDRange{Guest: 0, Host: 5, Count: 10}, vm.IDRange{Guest: 20, Host: 0, Count: 6}),
			[]string{"shares[0].uids[1]"}},
		{"too many ranges", ranges(make([]vm.IDRange, vm.MaxIDRanges+1)...), []string{"shares[0].uids"}},
		{"all attributes without set-id", func(s *vm.Share) { s.Owner, s.Xattr = vm.SharePassthrough, vm.ShareXattrAll }, []string{"shares[0].xattr"}},
		{"all attributes of one owner", func(s *vm.Share) { s.Xattr, s.AllowSetID = vm.ShareXattrAll, true }, []string{"shares[0].xattr"}},
		{"devices of one owner", func(s *vm.Share) { s.AllowDevices = true }, []string{"shares[0].allow_devices"}},
		{"lists of ids that are not kept", func(s *vm.Share) { s.ACL = true }, []string{"shares[0].acl"}},
		{"lists without attributes", func(s *vm.Share) { s.Owner, s.ACL, s.Xattr = vm.SharePassthrough, true, vm.ShareXattrNone },
			[]string{"shares[0].acl"}},
		{"limits too small", func(s *vm.Share) { s.MaxFiles, s.MaxInodes, s.Queues = 1, 1, -1 },
			[]string{"shares[0].max_files", "shares[0].max_inodes", "shares[0].queues"}},
		{"limits too large", func(s *vm.Share) { s.MaxInodes, s.Queues = vm.MaxShareInodes+1, vm.MaxShareQueues+1 },
			[]string{"shares[0].max_inodes", "shares[0].queues"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := valid()
			c.Shares = []vm.Share{share(test.change)}
			err := c.Validate()
			require.ErrorIs(t, err, vm.KindConfig)
			require.Equal(t, test.want, fields(t, err))
		})
	}
}

func TestSharesTogether(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Shares = []vm.Share{{Tag: "a", Path: "/x"}, {Tag: "b", Path: "/x"}, {Tag: "a", Path: "/y"}, {}, {}}
	require.Equal(t, []string{"shares[2].tag", "shares[3].tag", "shares[3].path", "shares[4].tag", "shares[4].path"},
		fields(t, c.Validate()), "a directory may be shared twice, a tag may not be given twice")
	c.Shares = make([]vm.Share, vm.MaxShares+1)
	require.Equal(t, []string{"shares"}, fields(t, c.Validate()), "one problem, not hundreds")
	require.Equal(t, []string{"shares"}, fields(t, c.ValidateFor("kvm", vm.Capabilities{
		Fits: func(vm.Config) vm.Problems { panic("not asked about what is absurd") },
	})))
}

func TestNeedsShares(t *testing.T) {
	t.Parallel()
	c := valid()
	caps := vm.Capabilities{Features: map[vm.Feature]bool{vm.FeatureBootLinux: true}}
	c.Shares = []vm.Share{share(nil)}
	err := caps.Lacks(c, "build", "vz")
	require.ErrorIs(t, err, vm.KindUnsupported)
	require.ErrorContains(t, err, `"share"`)
}

func TestCloneOfShares(t *testing.T) {
	t.Parallel()
	make := func() []vm.Share {
		uid, gid := uint32(1), uint32(2)
		return []vm.Share{{Tag: "a", HostUID: &uid, HostGID: &gid, UIDs: []vm.IDRange{{Count: 1}}, GIDs: []vm.IDRange{{Count: 2}}}}
	}
	c := valid()
	c.Shares = make()
	s := c.Clone().Shares[0]
	*s.HostUID, *s.HostGID, s.UIDs[0].Count, s.GIDs[0].Count = 8, 9, 8, 9
	require.Equal(t, make(), c.Shares)
}

func TestJSONOfSharesRefusesBytes(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Shares = []vm.Share{{Tag: "\xff", Path: "/\xff"}}
	_, err := c.MarshalJSON()
	require.Equal(t, []string{"shares[0].tag", "shares[0].path"}, fields(t, err))
}
