package terminal

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestParseKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "ctrl-]": "\x1d", "ctrl-p,ctrl-q": "\x10\x11", "ctrl-A": "\x01", "x": "x", "ctrl-@": "\x00"} {
		keys, err := ParseKeys(text)
		require.NoError(t, err, text)
		require.Equal(t, want, string(keys))
	}
	for _, text := range []string{"ctrl-", "ctrl-1", "abc", ",", "ctrl-p,"} {
		_, err := ParseKeys(text)
		require.ErrorIs(t, err, vm.KindInvalidArg, text)
	}
}

func TestDetacher(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ keys, typed, read string }{
		{"\x1d", "abc\x1dmore", "abc"},
		{"pq", "apbpp" + "qx", "apbp"},
		{"", "a\x1db", "a\x1db"},
		{"ab", "aab", "a"},
	} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		d := NewDetacher(r, []byte(test.keys))
		var got []byte
		for i := range len(test.typed) {
			_, err := w.Write([]byte{test.typed[i]})
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		buf := make([]byte, 16)
		for err == nil {
			var n int
			n, err = d.Read(buf)
			got = append(got, buf[:n]...)
		}
		if test.keys == "" {
			require.ErrorIs(t, err, io.EOF)
		} else {
			require.True(t, errors.Is(err, ErrDetached), "%q", test.typed)
		}
		require.Equal(t, test.read, string(got))
		r.Close()
	}
}

func TestRawAndSize(t *testing.T) {
	t.Parallel()
	master, slave, err := pty.Open()
	require.NoError(t, err)
	defer master.Close()
	defer slave.Close()
	require.True(t, Is(slave))
	before, err := term.GetState(int(slave.Fd()))
	require.NoError(t, err)
	restore, err := Raw(slave)
	require.NoError(t, err)
	raw, err := term.GetState(int(slave.Fd()))
	require.NoError(t, err)
	require.NotEqual(t, before, raw)
	restore()
	after, err := term.GetState(int(slave.Fd()))
	require.NoError(t, err)
	require.Equal(t, before, after)

	require.NoError(t, pty.Setsize(master, &pty.Winsize{Cols: 77, Rows: 33}))
	sizes := make(chan [2]uint16, 1)
	stop := Follow(slave, func(cols, rows uint16) { sizes <- [2]uint16{cols, rows} })
	require.Equal(t, [2]uint16{77, 33}, <-sizes)
	stop()
	_, err = Raw(os.NewFile(^uintptr(0), "nothing"))
	require.Error(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	require.False(t, Is(r))
	_, err = Raw(r)
	require.ErrorIs(t, err, vm.KindIO)
}
