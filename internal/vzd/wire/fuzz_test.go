package wire

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// FuzzReceive: whatever a peer sends is a frame or an error, and frames come out as
// they went in.
func FuzzReceive(f *testing.F) {
	for kind := KindRequest; kind <= KindLog; kind++ {
		h := header{size: 2, kind: kind, id: 1}.encode()
		f.Add(append(h[:], "{}"...))
	}
	f.Add([]byte("panic: no frame at all"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) > 64<<10 { // what a socket surely holds
			return
		}
		a, b := pair(t)
		_, err := a.c.Write(sent)
		require.NoError(t, err)
		a.Shutdown()
		for {
			frame, err := b.Receive()
			if err != nil {
				return
			}
			require.Empty(t, frame.Files)
			h := header{size: uint32(len(frame.Body)), kind: frame.Kind, id: frame.ID}.encode()
			again := append(h[:], frame.Body...)
			require.Equal(t, sent[:len(again)], again)
			sent = sent[len(again):]
			decodeAll(t, frame.Body)
		}
	})
}

// FuzzBodies: no body is trusted.
func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		`{"config":{"cpus":1,"boot":{"kernel":"\u0000base64:/w=="}},"timeout_ns":7}`,
		`{"error":{"kind":15,"op":"x","cause":{"text":"t","errno":2,"kinds":[7],"panic":{"name":"n"}}},"output":[1,2]}`,
		`{"event":{"type":3,"exit":{"cause":99}},"exited":{"cause":4,"uptime_ns":-1}}`,
		`{"method":"kill","params":{"cause":7}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { decodeAll(t, body) })
}

func decodeAll(t *testing.T, body []byte) {
	var config Config
	if DecodeBody(body, &config) == nil {
		if cfg, err := config.Decode(); err == nil && cfg.Validate() == nil {
			again, err := EncodeConfig(cfg)
			require.NoError(t, err)
			back, err := again.Decode()
			require.NoError(t, err)
			cfg.Vsock.On = cfg.Vsock.Enabled() // the form says so
			normal, err := json.Marshal(cfg)
			if err == nil {
				same, err := json.Marshal(back)
				require.NoError(t, err)
				require.Equal(t, string(normal), string(same))
			}
		}
	}
	var response Response
	if DecodeBody(body, &response) == nil && response.Error != nil {
		err := response.Error.Decode()
		require.NotEmpty(t, err.Error())
		require.Contains(t, vm.Kinds(), vm.KindOf(err))
	}
	var notice Notice
	if DecodeBody(body, &notice) == nil {
		if notice.Exited != nil {
			require.True(t, notice.Exited.Decode().Cause.Known())
		}
		if notice.Event != nil {
			_ = notice.Event.Decode()
		}
	}
	for _, v := range []any{&Request{}, &Hello{}, &Welcome{}, &Kill{}, &Vsock{}, &Closed{}, &Log{}} {
		_ = DecodeBody(body, v)
	}
}
