package host_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/libcapsa/libcapsa/internal/agent/host"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// rig is a Host and where a guest finds it.
type rig struct {
	*host.Host
	path string
	logs chan string
}

func newRig(t testing.TB, setup *wire.ConfigureRequest) *rig {
	t.Helper()
	vmtest.CheckLeaks(t)
	r := &rig{path: filepath.Join(t.TempDir(), "s"), logs: make(chan string, 100)}
	l, err := net.Listen("unix", r.path)
	require.NoError(t, err)
	r.Host = host.New(l, host.Config{Setup: setup, Log: func(s string) {
		select {
		case r.logs <- s:
		default:
		}
	}})
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// dial is a connection of the guest's that has said hello.
func (r *rig) dial(t testing.TB, h wire.Hello) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", r.path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = c.Write(h.Bytes())
	require.NoError(t, err)
	return c
}

// control is a control connection, and the token.
func (r *rig) control(t testing.TB) (net.Conn, wire.Token) {
	t.Helper()
	c := r.dial(t, wire.Hello{Min: 1, Max: 1, Kind: wire.KindControl})
	w, err := wire.ReadWelcome(c)
	require.NoError(t, err)
	require.EqualValues(t, 1, w.Version)
	return c, w.Token
}

// request is the next frame of the host's.
func request(t testing.TB, c net.Conn) (stream uint32, q *ttrpc.Request) {
	t.Helper()
	header := make([]byte, 10)
	_, err := io.ReadFull(c, header)
	require.NoError(t, err)
	body := make([]byte, binary.BigEndian.Uint32(header))
	_, err = io.ReadFull(c, body)
	require.NoError(t, err)
	q = &ttrpc.Request{}
	require.NoError(t, proto.Unmarshal(body, q))
	return binary.BigEndian.Uint32(header[4:]), q
}

// frame is one of the guest's.
func frame(size, stream uint32, kind, flags byte, body []byte) []byte {
	b := make([]byte, 10, 10+len(body))
	binary.BigEndian.PutUint32(b, size)
	binary.BigEndian.PutUint32(b[4:], stream)
	b[8], b[9] = kind, flags
	return append(b, body...)
}

// answer is a correct answer.
func answer(t testing.TB, stream uint32, m proto.Message) []byte {
	t.Helper()
	payload, err := proto.Marshal(m)
	require.NoError(t, err)
	body, err := proto.Marshal(&ttrpc.Response{Payload: payload})
	require.NoError(t, err)
	return frame(uint32(len(body)), stream, 2, 0, body)
}

// ready is a guest that has been set up.
func (r *rig) ready(t testing.TB) (net.Conn, wire.Token) {
	t.Helper()
	c, secret := r.control(t)
	stream, q := request(t, c)
	require.Equal(t, "Configure", q.Method)
	_, err := c.Write(answer(t, stream, &wire.ConfigureReply{Info: &wire.InfoReply{Hostname: "guest"}}))
	require.NoError(t, err)
	info, err := r.Ready(bounded(t))
	require.NoError(t, err)
	require.Equal(t, "guest", info.Hostname)
	return c, secret
}

type result struct {
	reply *wire.InfoReply
	err   error
}

func (r *rig) ask(t testing.TB) <-chan result {
	t.Helper()
	c := make(chan result, 1)
	ctx := bounded(t)
	go func() {
		reply, err := host.Call(ctx, r.Host, "ask", wire.AgentService.Info, &wire.Empty{})
		c <- result{reply, err}
	}()
	return c
}

func TestCalls(t *testing.T) {
	r := newRig(t, &wire.ConfigureRequest{Hostname: "x"})
	c, _ := r.ready(t)
	got := r.ask(t)
	stream, q := request(t, c)
	require.Equal(t, "Info", q.Method)
	_, err := c.Write(answer(t, stream, &wire.InfoReply{Kernel: "6.12"}))
	require.NoError(t, err)
	res := <-got
	require.NoError(t, res.err)
	require.Equal(t, "6.12", res.reply.Kernel)

	got = r.ask(t)
	stream, _ = request(t, c)
	_, err = c.Write(answer(t, stream, &wire.InfoReply{Fault: &wire.Fault{Errno: 2, Message: "not\nthere\x1b[31m"}}))
	require.NoError(t, err)
	res = <-got
	require.Equal(t, vm.KindNotFound, vm.KindOf(res.err))
	require.ErrorContains(t, res.err, "not there [31m")
}

// TestSetupFails: everyone learns why the guest is of no use.
func TestSetupFails(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.control(t)
	stream, _ := request(t, c)
	_, err := c.Write(answer(t, stream, &wire.ConfigureReply{Fault: &wire.Fault{Message: "no root"}}))
	require.NoError(t, err)
	_, err = r.Ready(bounded(t))
	require.Equal(t, vm.KindGuest, vm.KindOf(err))
	require.ErrorContains(t, err, "no root")
	res := <-r.ask(t)
	require.ErrorContains(t, res.err, "no root")
}

// TestNonsense: a guest that breaks the protocol loses its connection, and whoever waits
// is told.
func TestNonsense(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes func(stream uint32) []byte
	}{
		{"too long", func(s uint32) []byte { return frame(wire.MaxReply+1, s, 2, 0, nil) }},
		{"longest", func(s uint32) []byte { return frame(1<<32-1, s, 2, 0, nil) }},
		{"not asked", func(s uint32) []byte { return frame(0, s+2, 2, 0, nil) }},
		{"a request", func(s uint32) []byte { return frame(0, s, 1, 0, nil) }},
		{"data", func(s uint32) []byte { return frame(0, s, 3, 0, nil) }},
		{"type", func(s uint32) []byte { return frame(0, s, 77, 0, nil) }},
		{"flags", func(s uint32) []byte { return frame(0, s, 2, 1, nil) }},
		{"garbage", func(s uint32) []byte { return frame(5, s, 2, 0, []byte("\xff\xff\xff\xff\xff")) }},
		{"status", func(s uint32) []byte {
			body := []byte("\x0a\x04\x08\x0d\x12\x00")
			return frame(uint32(len(body)), s, 2, 0, body)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			conn, _ := r.ready(t)
			got := r.ask(t)
			stream, _ := request(t, conn)
			_, err := conn.Write(c.bytes(stream))
			require.NoError(t, err)
			res := <-got
			require.Equal(t, vm.KindProtocol, vm.KindOf(res.err), "%v", res.err)
		})
	}
}

// TestTwice: a second answer to one request ends the connection.
func TestTwice(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.ready(t)
	got := r.ask(t)
	stream, _ := request(t, c)
	a := answer(t, stream, &wire.InfoReply{})
	_, err := c.Write(append(a, a...))
	require.NoError(t, err)
	<-got
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.Contains(t, <-r.logs, "nobody has asked")
}

func TestStrangers(t *testing.T) {
	r := newRig(t, nil)
	c, secret := r.ready(t)

	second := r.dial(t, wire.Hello{Min: 1, Max: 1, Kind: wire.KindControl})
	w, err := wire.ReadWelcome(second)
	require.NoError(t, err)
	require.Equal(t, wire.Welcome{Reason: wire.ReasonToken}, w)

	s := r.Expect()
	for _, h := range []wire.Hello{
		{Min: 1, Max: 1, Kind: wire.KindStream, Stream: s.ID()},
		{Min: 1, Max: 1, Kind: wire.KindStream, Stream: s.ID() + 2, Token: secret},
	} {
		_, err = r.dial(t, h).Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
	real := r.dial(t, wire.Hello{Min: 1, Max: 1, Kind: wire.KindStream, Stream: s.ID(), Token: secret})
	conn, err := s.Wait(bounded(t), "test")
	require.NoError(t, err)
	defer conn.Close()
	_, err = real.Write([]byte("hi"))
	require.NoError(t, err)
	buf := make([]byte, 2)
	_, err = io.ReadFull(conn, buf)
	require.NoError(t, err)

	garbage, err := net.Dial("unix", r.path)
	require.NoError(t, err)
	defer garbage.Close()
	_, err = garbage.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 10)))
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, garbage)
	require.True(t, err == nil || strings.Contains(err.Error(), "reset"))

	// The agent itself may come again, and takes the old connection's place.
	again := r.dial(t, wire.Hello{Min: 1, Max: 3, Kind: wire.KindControl, Token: secret})
	w, err = wire.ReadWelcome(again)
	require.NoError(t, err)
	require.EqualValues(t, 1, w.Version)
	_, err = c.Read(buf)
	require.Error(t, err)
	got := r.ask(t)
	stream, _ := request(t, again)
	_, err = again.Write(answer(t, stream, &wire.InfoReply{}))
	require.NoError(t, err)
	require.NoError(t, (<-got).err)
}

func TestVersions(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(t, wire.Hello{Min: 2, Max: 9, Kind: wire.KindControl})
	w, err := wire.ReadWelcome(c)
	require.NoError(t, err)
	require.Equal(t, wire.Welcome{Reason: wire.ReasonVersion}, w)
	require.Contains(t, <-r.logs, "2 to 9")
}

func TestWaiting(t *testing.T) {
	r := newRig(t, nil)
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	_, err := r.Ready(expired)
	require.Equal(t, vm.KindTimeout, vm.KindOf(err))
	_, err = host.Call(expired, r.Host, "ask", wire.AgentService.Info, &wire.Empty{})
	require.Equal(t, vm.KindTimeout, vm.KindOf(err))

	c, _ := r.ready(t)
	ctx, stop := context.WithCancel(t.Context())
	lateID := make(chan uint64, 1)
	done := make(chan error, 1)
	go func() {
		_, err := host.CallLate(ctx, r.Host, "start", wire.AgentService.Start, &wire.StartRequest{}, func(s *wire.StartReply) { lateID <- s.Id })
		done <- err
	}()
	stream, _ := request(t, c)
	stop()
	require.Equal(t, vm.KindCancelled, vm.KindOf(<-done))
	_, err = c.Write(answer(t, stream, &wire.StartReply{Id: 7}))
	require.NoError(t, err)
	require.EqualValues(t, 7, <-lateID)

	got := r.ask(t)
	request(t, c)
	require.NoError(t, r.Close())
	require.Equal(t, vm.KindClosed, vm.KindOf((<-got).err))
}

func TestTooLarge(t *testing.T) {
	r := newRig(t, nil)
	_, err := host.Call(bounded(t), r.Host, "start", wire.AgentService.Start, &wire.StartRequest{Dir: make([]byte, wire.MaxRequest+1)})
	require.Equal(t, vm.KindLimit, vm.KindOf(err))
}

// FuzzGuest: whatever a guest sends, calls end, and nothing is left behind.
func FuzzGuest(f *testing.F) {
	f.Add(frame(0, 1, 2, 0, nil))
	f.Add(frame(4, 1, 2, 0, []byte("\x12\x02\x0a\x00")))
	f.Add(frame(1<<31, 1, 2, 0, nil))
	f.Add([]byte("nonsense"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		require.NoError(t, err)
		h := host.New(l, host.Config{})
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		_, _ = c.Write(wire.Hello{Min: 1, Max: 1, Kind: wire.KindControl}.Bytes())
		_, err = wire.ReadWelcome(c)
		require.NoError(t, err)
		_, _ = c.Write(b)
		_ = c.(*net.UnixConn).CloseWrite()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = h.Ready(ctx)
		require.NotEqual(t, vm.KindTimeout, vm.KindOf(err))
		require.NoError(t, h.Close())
		c.Close()
	})
}
