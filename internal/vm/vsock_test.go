package vm_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestVsockProblems(t *testing.T) {
	t.Parallel()
	listen := func(port uint32, path string) vm.VsockPort {
		return vm.VsockPort{Port: port, Path: path, Mode: vm.VsockListen}
	}
	connect := func(port uint32, path string) vm.VsockPort {
		return vm.VsockPort{Port: port, Path: path, Mode: vm.VsockConnect}
	}
	for _, tt := range []struct {
		name   string
		ports  []vm.VsockPort
		fields []string // vsock.ports[...]
	}{
		{"none", nil, nil},
		{"both sides of a port", []vm.VsockPort{listen(1, "/a"), connect(1, "/b")}, nil},
		{"two ports to one path", []vm.VsockPort{connect(1, "/a"), connect(2, "/a")}, nil},
		{"the highest port and the longest path", []vm.VsockPort{listen(1<<32-2, strings.Repeat("x", 107))}, nil},
		{"any port", []vm.VsockPort{listen(1<<32-1, "/a")}, []string{"[0].port"}},
		{"no path", []vm.VsockPort{listen(1, "")}, []string{"[0].path"}},
		{"long path", []vm.VsockPort{connect(1, strings.Repeat("x", 108))}, []string{"[0].path"}},
		{"abstract", []vm.VsockPort{connect(1, "@x")}, []string{"[0].path"}},
		{"NUL", []vm.VsockPort{connect(1, "/a\x00")}, []string{"[0].path"}},
		{"nothing is said", []vm.VsockPort{{}}, []string{"[0].path", "[0].mode"}},
		{"no such type", []vm.VsockPort{{Port: 1, Path: "/a", Mode: vm.VsockListen, Type: "dgram"}}, []string{"[0].type"}},
		{"one port twice", []vm.VsockPort{connect(1, "/a"), connect(1, "/b")}, []string{"[1].port"}},
		{"one path twice", []vm.VsockPort{listen(1, "/a"), listen(2, "/./a")}, []string{"[1].path"}},
		{"too many", make([]vm.VsockPort, vm.MaxVsockPorts+1), []string{""}},
	} {
		cfg := fullConfig()
		cfg.Vsock.Ports = tt.ports
		var fields []string
		for _, p := range cfg.Check() {
			fields = append(fields, strings.TrimPrefix(p.Field, "vsock.ports"))
		}
		require.Equal(t, tt.fields, fields, tt.name)
	}
}

func TestVsockEnabled(t *testing.T) {
	t.Parallel()
	var c vm.Config
	require.NotContains(t, c.Needs(), vm.FeatureVsock)
	text, err := json.Marshal(c)
	require.NoError(t, err)
	require.NotContains(t, string(text), "vsock")
	require.ErrorIs(t, c.CheckVsock("connect", vm.VsockStream, 1), vm.KindUnsupported)

	require.NoError(t, json.Unmarshal([]byte(`{"vsock": {"enabled": true}}`), &c))
	require.Equal(t, vm.VsockConfig{On: true}, c.Vsock)
	require.Contains(t, c.Needs(), vm.FeatureVsock)
	require.NoError(t, c.CheckVsock("connect", vm.VsockSeqPacket, 1<<32-2))
	require.ErrorIs(t, c.CheckVsock("connect", "dgram", 1), vm.KindInvalidArg)
	require.ErrorIs(t, c.CheckVsock("connect", vm.VsockStream, 1<<32-1), vm.KindInvalidArg)
}

func TestVsockJSONRefuses(t *testing.T) {
	t.Parallel()
	for text, field := range map[string]string{
		`{"vsock": {"on": true}}`:                          "vsock.on",
		`{"vsock": {"ports": [{"Port": 1}]}}`:              "vsock.ports[0].Port",
		`{"vsock": {"ports": [{"port": 1, "port": 2}]}}`:   "vsock.ports[0].port",
		`{"vsock": {"ports": [{"port": 4294967296}]}}`:     "vsock.ports.port",
		`{"vsock": {"ports": [{"port": -1}]}}`:             "vsock.ports.port",
		`{"vsock": {"ports": [{"port": 1, "cid": 1000}]}}`: "vsock.ports[0].cid",
	} {
		var c vm.Config
		err := json.Unmarshal([]byte(text), &c)
		e, ok := errors.AsType[*vm.Error](err)
		require.True(t, ok, "%s: %v", text, err)
		require.Len(t, e.Problems, 1, text)
		require.Equal(t, field, e.Problems[0].Field, text)
	}
	c := fullConfig()
	c.Vsock.Ports[0].Path = "/\xff"
	_, err := json.Marshal(c)
	require.ErrorContains(t, err, "vsock.ports[0].path")
}

func TestVsockClone(t *testing.T) {
	t.Parallel()
	c := fullConfig()
	d := c.Clone()
	d.Vsock.Ports[0].Port = 77
	require.Equal(t, fullConfig(), c)
}
