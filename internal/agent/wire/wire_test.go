package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

func token() (t wire.Token) {
	for i := range t {
		t[i] = byte(i + 1)
	}
	return t
}

// TestBytes holds the wire form of both greetings.
func TestBytes(t *testing.T) {
	t.Parallel()
	secret := "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
	h := wire.Hello{Min: 1, Max: 2, Kind: wire.KindStream, Stream: 0x0102030405060708, Token: token()}
	require.Equal(t, "4341505341474e54"+"0100"+"0200"+"02"+"000000"+"0807060504030201"+secret+"0000000000000000", hex.EncodeToString(h.Bytes()))
	w := wire.Welcome{Version: 1, Reason: 2, Token: token()}
	require.Equal(t, "4341505341485354"+"0100"+"0200"+"00000000"+secret+strings.Repeat("00", 16), hex.EncodeToString(w.Bytes()))

	gotH, err := wire.ReadHello(iotest.OneByteReader(bytes.NewReader(h.Bytes())))
	require.NoError(t, err)
	require.Equal(t, h, gotH)
	gotW, err := wire.ReadWelcome(iotest.OneByteReader(bytes.NewReader(w.Bytes())))
	require.NoError(t, err)
	require.Equal(t, w, gotW)
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	good := wire.Hello{Min: 1, Max: 1, Kind: wire.KindControl}.Bytes()
	for _, c := range []struct {
		name string
		at   int
		to   byte
	}{
		{"magic", 0, 'X'}, {"kind", 12, 3}, {"no kind", 12, 0}, {"versions", 8, 9}, {"stream of control", 16, 1},
		{"reserved", 13, 1}, {"reserved end", 63, 1},
	} {
		b := bytes.Clone(good)
		b[c.at] = c.to
		_, err := wire.ParseHello(b)
		require.ErrorIs(t, err, wire.ErrMalformed, c.name)
	}
	_, err := wire.ReadHello(bytes.NewReader(good[:63]))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = wire.ParseWelcome(good)
	require.ErrorIs(t, err, wire.ErrMalformed)
}

func TestChunks(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	var b bytes.Buffer
	n, err := wire.WriteChunks(&b, bytes.NewReader(data))
	require.NoError(t, err)
	require.EqualValues(t, len(data), n)
	got, err := io.ReadAll(&wire.Chunks{R: iotest.HalfReader(bytes.NewReader(b.Bytes()))})
	require.NoError(t, err)
	require.Equal(t, data, got)

	for _, cut := range []int{0, 3, 4, 10, b.Len() - 4, b.Len() - 1} {
		_, err = io.ReadAll(&wire.Chunks{R: bytes.NewReader(b.Bytes()[:cut])})
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut at %d", cut)
	}
	_, err = io.ReadAll(&wire.Chunks{R: strings.NewReader("\xff\xff\xff\xff")})
	require.ErrorIs(t, err, wire.ErrMalformed)

	source := errors.New("source")
	_, err = wire.WriteChunks(&b, iotest.ErrReader(source))
	require.Equal(t, source, err)
	var ours *wire.WriteError
	_, err = wire.WriteChunks(failing{}, strings.NewReader("x"))
	require.ErrorAs(t, err, &ours)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzHello(f *testing.F) {
	f.Add(wire.Hello{Min: 1, Max: 1, Kind: wire.KindControl, Token: token()}.Bytes())
	f.Add(wire.Welcome{Version: 1}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := wire.ParseHello(b); err == nil {
			require.Equal(t, b, h.Bytes())
		}
		if w, err := wire.ParseWelcome(b); err == nil {
			require.Equal(t, b, w.Bytes())
		}
	})
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("\x03\x00\x00\x00abc\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		data, err := io.ReadAll(&wire.Chunks{R: bytes.NewReader(b)})
		require.LessOrEqual(t, len(data), len(b))
		if err == nil {
			require.GreaterOrEqual(t, len(b), len(data)+4)
		}
	})
}
