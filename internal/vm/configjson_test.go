package vm_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

const fullJSON = `{
  "name": "web",
  "boot": {"kernel": "/k", "initrd": "/i", "args": ["quiet", "a=b"]},
  "cpus": 2,
  "memory_mib": 768,
  "console": {"ring_size": 65536, "cols": 100, "rows": 40},
  "disks": [
    {"path": "/a.qcow2", "format": "qcow2", "temporary": true, "scratch_dir": "/fast", "backing_dirs": ["/x", "/y"], "root": true},
    {"path": "/b.img", "format": "raw", "overlay": "/b.qcow2", "serial": "data", "direct": true, "queues": 2,
     "limit": {"iops": 1, "iops_burst": 2, "bytes_per_sec": 3, "bytes_burst": 4}},
    {"path": "/c.qcow2", "read_only": true}
  ],
  "shares": [
    {"tag": "src", "path": "/src", "read_only": true, "cache": "always", "writeback": true, "owner": "ranges",
     "uids": [{"guest": 0, "host": 100000, "count": 65536}], "gids": [{"guest": 1, "host": 2, "count": 3}], "xattr": "none",
     "guest_locks": true, "one_file_system": true, "allow_set_id": true, "direct_io": true, "max_files": 4096, "max_inodes": 65536, "queues": 2},
    {"tag": "out", "path": "/out", "guest_uid": 5, "guest_gid": 6, "host_uid": 0, "host_gid": 7},
    {"tag": "tree", "path": "/tree", "owner": "passthrough", "allow_devices": true}
  ],
  "balloon": {"enabled": true, "reporting": false, "deflate_on_oom": true},
  "vsock": {"enabled": true, "ports": [
    {"port": 1024, "mode": "listen", "path": "/run/web.sock"},
    {"port": 9, "mode": "connect", "path": "/run/log.sock", "type": "seqpacket"}
  ]},
  "network": {"mode": "user", "mac": "02:00:5e:10:00:01", "mtu": 9000, "ipv4": "10.0.3.0/24", "guest": "10.0.3.9", "gateway": "10.0.3.1",
    "ipv6": "fd00:1::/64", "hostname": "web", "dns": ["192.0.2.53:53", "[2001:db8::53]:5353"], "search": ["example.com"],
    "hosts": [{"name": "db.example.com", "addresses": ["192.0.2.7"]}], "policy": {"default":"deny-all","rules":[{"action":"allow","any":true}]},
    "host_access": true, "link_down": true,
    "forwards": [{"protocol": "tcp", "host": "127.0.0.1:8080", "guest_port": 80}, {"protocol": "udp", "guest_port": 53},
      {"protocol": "tcp", "path": "/run/web.sock", "guest_port": 80}]},
  "timeout_ms": 1500,
  "backend": "kvm"
}`

func fullConfig() vm.Config {
	gid := uint32(7)
	return vm.Config{
		Name:    "web",
		Boot:    vm.LinuxBoot{Kernel: "/k", Initrd: "/i", Args: []string{"quiet", "a=b"}},
		CPUs:    2,
		Memory:  768 * vm.MiB,
		Console: vm.ConsoleConfig{RingSize: 65536, Cols: 100, Rows: 40},
		Disks: []vm.Disk{
			{Path: "/a.qcow2", Format: vm.DiskQcow2, Temporary: true, ScratchDir: "/fast", BackingDirs: []string{"/x", "/y"}, Root: true},
			{Path: "/b.img", Format: vm.DiskRaw, Overlay: "/b.qcow2", Serial: "data", Direct: true, Queues: 2,
				Limit: vm.DiskLimit{IOPS: 1, IOPSBurst: 2, BytesPerSec: 3, BytesBurst: 4}},
			{Path: "/c.qcow2", ReadOnly: true},
		},
		Shares: []vm.Share{
			{Tag: "src", Path: "/src", ReadOnly: true, Cache: vm.ShareCacheAlways, Writeback: true, Owner: vm.ShareRanges,
				UIDs: []vm.IDRange{{Guest: 0, Host: 100000, Count: 65536}}, GIDs: []vm.IDRange{{Guest: 1, Host: 2, Count: 3}},
				Xattr: vm.ShareXattrNone, GuestLocks: true, OneFileSystem: true, AllowSetID: true, DirectIO: true,
				MaxFiles: 4096, MaxInodes: 65536, Queues: 2},
			{Tag: "out", Path: "/out", GuestUID: 5, GuestGID: 6, HostUID: new(uint32), HostGID: &gid},
			{Tag: "tree", Path: "/tree", Owner: vm.SharePassthrough, AllowDevices: true},
		},
		Balloon: vm.BalloonConfig{NoReporting: true},
		Vsock: vm.VsockConfig{On: true, Ports: []vm.VsockPort{
			{Port: 1024, Path: "/run/web.sock", Mode: vm.VsockListen},
			{Port: 9, Path: "/run/log.sock", Mode: vm.VsockConnect, Type: vm.VsockSeqPacket},
		}},
		Network: vm.NetworkConfig{
			Mode: vm.NetworkUser, MAC: "02:00:5e:10:00:01", MTU: 9000, IPv4: prefix("10.0.3.0/24"), Guest: addr("10.0.3.9"),
			Gateway: addr("10.0.3.1"), IPv6: prefix("fd00:1::/64"), Hostname: "web",
			DNS: []netip.AddrPort{addrPort("192.0.2.53:53"), addrPort("[2001:db8::53]:5353")}, Search: []string{"example.com"},
			Hosts:      []vm.HostName{{Name: "db.example.com", Addrs: []netip.Addr{addr("192.0.2.7")}}},
			Policy:     json.RawMessage(`{"default":"deny-all","rules":[{"action":"allow","any":true}]}`),
			HostAccess: true, LinkDown: true,
			Forwards: []vm.Forward{
				{Protocol: vm.ForwardTCP, Host: addrPort("127.0.0.1:8080"), Guest: 80}, {Protocol: vm.ForwardUDP, Guest: 53},
				{Protocol: vm.ForwardTCP, Path: "/run/web.sock", Guest: 80},
			},
		},
		Timeout: 1500 * time.Millisecond,
		Backend: "kvm",
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var c vm.Config
	require.NoError(t, json.Unmarshal([]byte(fullJSON), &c))
	require.Equal(t, fullConfig(), c)
	text, err := json.Marshal(c)
	require.NoError(t, err)
	require.JSONEq(t, fullJSON, string(text))
}

func TestJSONKeepsDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"boot": {"kernel": "/k"}}`, `{"boot": {"kernel": "/k", "cmdline": null}, "console": null, "cpus": null}`} {
		c := vm.DefaultConfig()
		require.NoError(t, json.Unmarshal([]byte(text), &c))
		want := vm.DefaultConfig()
		want.Boot.Kernel = "/k"
		require.Equal(t, want, c)
	}
	var c vm.Config
	require.NoError(t, json.Unmarshal([]byte(`{"boot": {"cmdline": ""}}`), &c))
	require.NotNil(t, c.Boot.Cmdline, "an empty command line is one")
	text, err := json.Marshal(c)
	require.NoError(t, err)
	require.Contains(t, string(text), `"cmdline":""`)
}

func TestJSONRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		field      string // that is complained about
		says       string
	}{
		{"empty", ``, "", "incomplete"},
		{"nothing but space", ` `, "", "incomplete"},
		{"array", `[]`, "", "not a JSON object"},
		{"string", `"x"`, "", "not a JSON object"},
		{"null", `null`, "", "not a JSON object"},
		{"truncated", `{"cpus": 1`, "", "incomplete"},
		{"two objects", `{} {}`, "", "after the JSON object"},
		{"rubbish after", `{} x`, "", "after"},
		{"unknown key", `{"cpu": 1}`, "cpu", "known are"},
		{"unknown inner key", `{"boot": {"kernle": "/k"}}`, "boot.kernle", "known are: kernel"},
		{"other case", `{"CPUs": 1}`, "CPUs", "unknown"},
		{"dotted key", `{"boot.kernel": "/k"}`, "boot.kernel", "unknown"},
		{"empty key", `{"": {"": {"": 1}}}`, "", "unknown"},
		{"twice", `{"cpus": 1, "cpus": 2}`, "cpus", "twice"},
		{"boot twice", `{"boot": {"kernel": "/a"}, "boot": {"kernel": "/b"}}`, "boot", "twice"},
		{"boot is a list", `{"boot": []}`, "", "boot is not an object"},
		{"boot is a number", `{"boot": 1}`, "boot", "number"},
		{"cpus is a string", `{"cpus": "2"}`, "cpus", "string"},
		{"cpus is a fraction", `{"cpus": 1.5}`, "cpus", "1.5"},
		{"negative memory", `{"memory_mib": -1}`, "memory_mib", "-1"},
		{"memory that would wrap", `{"memory_mib": 17592186044417}`, "memory_mib", "at most"},
		{"cols out of range", `{"console": {"cols": 65536}}`, "console.cols", "65536"},
		{"timeout that would wrap", `{"timeout_ms": 9223372036854775807}`, "timeout_ms", "range"},
		{"args is a string", `{"boot": {"args": "quiet"}}`, "boot.args", "string"},
		{"unknown key of a disk", `{"disks": [{}, {"ro": true}]}`, "disks[1].ro", "known are: path"},
		{"unknown key of a limit", `{"disks": [{"limit": {"bps": 1}}]}`, "disks[0].limit.bps", "known are: iops"},
		{"key of a disk twice", `{"disks": [{"path": "a", "path": "b"}]}`, "disks[0].path", "twice"},
		{"disks is an object", `{"disks": {}}`, "", "disks is not a list"},
		{"disk is a list", `{"disks": [[]]}`, "", "disks[0] is not an object"},
		{"disk is a number", `{"disks": [1]}`, "disks", "number"},
		{"disks is text", `{"disks": "a.img"}`, "disks", "string"},
		{"disks is incomplete", `{"disks": [{"path": "a"}`, "", "incomplete"},
		{"unknown key of a share", `{"shares": [{"ro": true}]}`, "shares[0].ro", "known are: tag"},
		{"unknown key of a range", `{"shares": [{"uids": [{"from": 1}]}]}`, "shares[0].uids[0].from", "known are: guest"},
		{"owner that is no id", `{"shares": [{"host_uid": -1}]}`, "shares.host_uid", "-1"},
		{"negative limit", `{"disks": [{"limit": {"iops": -1}}]}`, "disks.limit.iops", "-1"},
		{"not UTF-8", "{\"name\": \"\xff\"}", "", "UTF-8"},
		{"deep", strings.Repeat(`{"boot":`, 100000), "", ""},
		{"deep list", `{"boot": {"args": ` + strings.Repeat(`[`, 100000), "", ""},
		{"huge", `{"name": "` + strings.Repeat("x", vm.MaxConfigJSON) + `"}`, "", "at most"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := fullConfig()
			err := c.UnmarshalJSON([]byte(test.text))
			require.ErrorIs(t, err, vm.KindConfig)
			require.ErrorContains(t, err, test.says)
			if test.field != "" {
				require.Contains(t, fields(t, err), test.field)
			}
			require.Equal(t, fullConfig(), c, "a failed decode changes nothing")
		})
	}
}

func TestJSONReportsEveryKey(t *testing.T) {
	t.Parallel()
	var c vm.Config
	err := c.UnmarshalJSON([]byte(`{"a": [{"cpus": 1}], "cpus": 1, "boot": {"b": {}}, "cpus": 2, "console": {"c": null}}`))
	require.Equal(t, []string{"a", "boot.b", "cpus", "console.c"}, fields(t, err))
}

func TestJSONCannotSay(t *testing.T) {
	t.Parallel()
	c := fullConfig()
	c.Memory++
	c.Boot.Kernel = "/\xff"
	c.Boot.Args = append(c.Boot.Args, "\xfe")
	_, err := c.MarshalJSON()
	require.ErrorIs(t, err, vm.KindConfig)
	require.Equal(t, []string{"memory_mib", "boot.kernel", "boot.args[2]"}, fields(t, err))

	c = fullConfig()
	c.Timeout = time.Nanosecond
	text, err := c.MarshalJSON()
	require.NoError(t, err)
	require.Contains(t, string(text), `"timeout_ms":1,`, "rounded up: 0 would mean none")
}

// FuzzConfigJSON: no input panics; what decodes and is valid encodes to a form that
// decodes to the same.
func FuzzConfigJSON(f *testing.F) {
	for _, seed := range []string{
		fullJSON, `{}`, `{"boot":{"cmdline":""}}`, `{"cpus":1,"cpus":2}`, `{"memory_mib":17592186044417}`,
		`{"boot":null,"console":{"cols":65535}}`, `[`, `{"":{"":1}}`, `{"timeout_ms":-9223372036854}`, `{"name":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := vm.DefaultConfig()
		if err := c.UnmarshalJSON(data); err != nil {
			require.ErrorIs(t, err, vm.KindConfig)
			require.Equal(t, vm.DefaultConfig(), c)
			return
		}
		if c.Validate() != nil {
			return
		}
		text, err := c.MarshalJSON()
		require.NoError(t, err)
		var again vm.Config
		require.NoError(t, again.UnmarshalJSON(text))
		if len(c.Boot.Args) == 0 {
			c.Boot.Args = nil
		}
		require.Equal(t, c, again)
	})
}
