package legacy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPanic(t *testing.T) {
	for _, tt := range []struct {
		name            string
		offset          uint16
		bytes           []byte
		panicked, crash int
	}{
		{"panicked", 0, []byte{1}, 1, 0},
		{"crash loaded", 0, []byte{2}, 0, 1},
		{"both", 0, []byte{3}, 1, 1},
		{"not offered", 0, []byte{0xFC}, 0, 0},
		{"nothing", 0, []byte{0}, 0, 0},
		{"wide", 0, []byte{1, 2, 2, 2}, 1, 0},
		{"empty", 0, nil, 0, 0},
		{"beyond", 1, []byte{3}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var panicked, crash int
			d := NewPanic(PanicConfig{Panicked: func() { panicked++ }, CrashLoaded: func() { crash++ }})
			require.EqualValues(t, 3, in(d, 0), "what can be reported")
			require.EqualValues(t, floating, in(d, 1))
			d.Write(tt.offset, tt.bytes)
			require.Equal(t, tt.panicked, panicked)
			require.Equal(t, tt.crash, crash)
		})
	}
}
