package hold

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// pair is two ends of a connection.
func pair(t testing.TB) (a, b *conn) {
	t.Helper()
	x, y, err := sockpair.New()
	require.NoError(t, err)
	end := func(fd int) *conn {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		require.NoError(t, err)
		f.Close()
		t.Cleanup(func() { _ = c.Close() })
		return &conn{c: c.(*net.UnixConn)}
	}
	return end(x), end(y)
}

func TestFrames(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	long := request{Op: strings.Repeat("x", 1<<20)}
	sent := make(chan error, 1)
	go func() {
		err := a.send(request{Op: "first"}, w)
		if err == nil {
			err = a.send(long)
		}
		a.hangUp()
		sent <- err
	}()
	var q request
	files, err := b.receive(&q)
	require.NoError(t, err)
	require.Equal(t, "first", q.Op)
	require.Len(t, files, 1)
	w.Close()
	_, err = files[0].WriteString("through it")
	require.NoError(t, err)
	files[0].Close()
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "through it", string(text))
	r.Close()
	files, err = b.receive(&q)
	require.NoError(t, err)
	require.Equal(t, long, q)
	require.Empty(t, files)
	_, err = b.receive(&q)
	require.Equal(t, io.EOF, err)
	require.NoError(t, <-sent)
}

func TestErrorsTravel(t *testing.T) {
	t.Parallel()
	want := vm.Errorf(vm.KindLimit, "build", "too much").WithHint("less").WithPath("/x").WithComponent("kvm")
	got := faultOf(want).err()
	require.Equal(t, want.Error(), got.Error())
	require.ErrorIs(t, got, vm.KindLimit)
	require.NoError(t, faultOf(nil).err())
	require.ErrorIs(t, faultOf(os.ErrNotExist).err(), vm.KindNotFound)
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "web-1", "A.b_c", strings.Repeat("x", MaxName)} {
		require.NoError(t, CheckName(name), name)
	}
	for _, name := range []string{"", ".", "..", ".a", "-a", "a/b", "a b", "ü", strings.Repeat("x", MaxName+1)} {
		require.ErrorIs(t, CheckName(name), vm.KindInvalidArg, name)
	}
}

// FuzzReceive: whatever comes, receiving ends, and announces no more than it takes.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x05{}"))
	f.Add(binary.BigEndian.AppendUint32(nil, maxFrame+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := pair(t)
		if len(data) > 1<<12 {
			return // more than a socket holds that nobody reads
		}
		_, err := a.c.Write(data)
		require.NoError(t, err)
		a.hangUp()
		for err == nil {
			var q request
			_, err = b.receive(&q)
		}
	})
}
