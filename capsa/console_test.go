package capsa_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestConsole(t *testing.T) {
	m := running(t, vmtest.KernelEcho)
	c := m.Console()
	r, other := c.NewReader(), c.NewReader()
	n, err := c.Write(bounded(t), []byte("hello\n"))
	require.NoError(t, err)
	require.Equal(t, 6, n)
	match, err := r.Expect(bounded(t), []capsa.Pattern{capsa.Literal("nothing"), capsa.MustRegexp(`l+o`)})
	require.NoError(t, err)
	require.Equal(t, 1, match.Pattern)
	require.Equal(t, "llo", string(match.Text))
	_, err = other.Expect(bounded(t), []capsa.Pattern{capsa.Literal("hello\n")})
	require.NoError(t, err, "readers have positions of their own")
	require.NoError(t, c.SendInterrupt(bounded(t)))
	require.NoError(t, c.SendEOF(bounded(t)))
	_, err = other.Expect(bounded(t), []capsa.Pattern{capsa.Literal("\x03\x04")})
	require.NoError(t, err)
	require.Equal(t, "\x03\x04", string(c.Tail(2)))
	require.NoError(t, c.Resize(100, 30))
	late := c.NewReaderAtEnd()
	require.NoError(t, m.Kill())
	n, err = late.Read(bounded(t), make([]byte, 1))
	require.Zero(t, n)
	require.Equal(t, io.EOF, err, "io.EOF itself")
	require.Zero(t, late.Lost())
	require.NoError(t, late.Close())
}

func TestConsoleErrors(t *testing.T) {
	m := running(t, vmtest.KernelPrint)
	expect(t, m, vmtest.PrintText)
	c := m.Console()
	r := c.NewReader()

	_, err := r.Expect(expired(), []capsa.Pattern{capsa.Literal("no such text")})
	refused(t, vm.KindTimeout, err)
	var why *capsa.ExpectError
	require.ErrorAs(t, err, &why)
	require.Contains(t, string(why.Last), strings.TrimSpace(vmtest.PrintText))
	_, err = r.Expect(cancelled(), []capsa.Pattern{capsa.Literal("no such text")})
	refused(t, vm.KindCancelled, err)
	_, err = r.Expect(expired(), []capsa.Pattern{capsa.Literal(vmtest.PrintText)})
	require.NoError(t, err, "nothing was consumed, and what is there needs no waiting")
	_, err = r.Expect(bounded(t), nil)
	refused(t, vm.KindInvalidArg, err)
	_, err = r.Expect(bounded(t), []capsa.Pattern{capsa.Literal("")})
	refused(t, vm.KindInvalidArg, err)
	_, err = capsa.Regexp("(")
	refused(t, vm.KindInvalidArg, err)
	_, err = r.Read(expired(), make([]byte, 1))
	refused(t, vm.KindTimeout, err)
	_, err = c.Write(cancelled(), make([]byte, 1<<20))
	refused(t, vm.KindCancelled, err)
	_, err = c.Run(bounded(t), "a\x00b")
	refused(t, vm.KindInvalidArg, err)

	require.NoError(t, r.Close())
	_, err = r.Read(bounded(t), make([]byte, 1))
	refused(t, vm.KindClosed, err)

	require.NoError(t, m.Kill())
	_, err = c.Write(bounded(t), []byte("x"))
	refused(t, vm.KindClosed, err)
	_, err = c.NewReader().Expect(bounded(t), []capsa.Pattern{capsa.Literal("no such text")})
	refused(t, vm.KindClosed, err)
	require.True(t, errors.Is(err, io.EOF))
}

// TestUnreadOutput: output that nobody reads neither stalls the guest nor grows.
func TestUnreadOutput(t *testing.T) {
	const chunk, chunks = 64 << 10, 1600 // 100 MiB
	m := buildOn(t, program(func(g *vmtest.Guest) {
		text := strings.Repeat("x", chunk)
		for range chunks {
			g.Print(text)
		}
	}), "/guest")
	require.NoError(t, m.Start(t.Context()))
	require.Equal(t, vm.CauseGuestShutdown, ended(t, m).Cause)
	require.Len(t, m.Console().Tail(chunk*chunks), vm.DefaultRingSize)
}

// TestLastOutput: what was printed right before the end is there when the end is
// known.
func TestLastOutput(t *testing.T) {
	for range 100 {
		m := buildOn(t, program(func(g *vmtest.Guest) { g.Print("last words") }), "/guest")
		r := m.Console().NewReader()
		require.NoError(t, m.Start(t.Context()))
		ended(t, m)
		_, err := r.Expect(expired(), []capsa.Pattern{capsa.Literal("last words")})
		require.NoError(t, err)
	}
}
