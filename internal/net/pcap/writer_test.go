package pcap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

func frameOf(data ...string) link.Frame {
	var f link.Frame
	for _, d := range data {
		f.Data = append(f.Data, []byte(d))
	}
	return f
}

// ticking is a clock that goes on by a nanosecond at each look.
func ticking() func() time.Time {
	var mu sync.Mutex
	now := golden
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(1)
		return now
	}
}

func TestWriter(t *testing.T) {
	var out bytes.Buffer
	w, err := New(Config{Out: &out, Interface: "machine-eth0", Now: ticking()})
	require.NoError(t, err)
	long := strings.Repeat("long frame ", 5958) // 65538 bytes
	w.Write(Sent, []link.Frame{frameOf("to the", " network"), frameOf(long)})
	w.Write(Received, []link.Frame{frameOf("answer"), {}})
	w.Write(Received, nil)
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	w.Write(Sent, []link.Frame{frameOf("late")})
	f, err := parse(out.Bytes())
	require.NoError(t, err)
	at := uint64(golden.UnixNano())
	require.Equal(t, file{
		name: "machine-eth0", snapLen: MaxSnapLen, ended: true, received: 4,
		packets: []record{
			{when: at + 2, data: "to the network", original: 14, dir: Sent},
			{when: at + 2, data: long, original: len(long), dir: Sent},
			{when: at + 3, data: "answer", original: 6, dir: Received},
			{when: at + 3, dir: Received},
		},
	}, f)
	require.Equal(t, Stats{Frames: 4, Bytes: uint64(out.Len()), Dropped: 1}, w.Stats())
	require.ErrorIs(t, w.Err(), ErrClosed)
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no output":    {},
		"name":         {Out: io.Discard, Interface: strings.Repeat("x", 256)},
		"snap length":  {Out: io.Discard, SnapLen: -1},
		"snap length2": {Out: io.Discard, SnapLen: MaxSnapLen + 1},
		"buffer":       {Out: io.Discard, Buffer: MinBuffer - 1},
		"limit":        {Out: io.Discard, Limit: 100},
	} {
		w, err := New(cfg)
		require.Error(t, err, name)
		require.Nil(t, w, name)
	}
}

func TestSnapLen(t *testing.T) {
	for _, snap := range []int{1, 5, 6, 7, 100} {
		var out bytes.Buffer
		w, err := New(Config{Out: &out, SnapLen: snap})
		require.NoError(t, err)
		w.Write(Sent, []link.Frame{frameOf("ab", "cdef", "g", "")})
		require.NoError(t, w.Close())
		f, err := parse(out.Bytes())
		require.NoError(t, err)
		require.Equal(t, snap, f.snapLen)
		require.Equal(t, "abcdefg"[:min(snap, 7)], f.packets[0].data)
		require.Equal(t, 7, f.packets[0].original)
	}
}

// gate is an output whose writes wait for the test.
type gate struct {
	bytes.Buffer
	entered chan struct{} // a write has begun
	leave   chan error    // what it returns
}

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	if err := <-g.leave; err != nil {
		return 0, err
	}
	return g.Buffer.Write(p)
}

// An output that does not come back: the buffer fills up, the rest is dropped
// and counted, and capturing does not wait. Then it goes on.
func TestSlowOutput(t *testing.T) {
	g := &gate{entered: make(chan struct{}), leave: make(chan error)}
	w, err := New(Config{Out: g, Buffer: MinBuffer})
	require.NoError(t, err)
	<-g.entered // the header
	big := frameOf(strings.Repeat("x", 60000))
	for range 10 {
		w.Write(Sent, []link.Frame{big})
	}
	require.Equal(t, uint64(4), w.Stats().Frames, "as many as the buffer holds")
	require.Equal(t, uint64(6), w.Stats().Dropped)
	w.Write(Sent, []link.Frame{frameOf("small")}) // there is room for it
	g.leave <- nil
	<-g.entered
	w.Write(Sent, []link.Frame{big})
	g.leave <- nil
	<-g.entered
	g.leave <- nil
	closed := make(chan error)
	go func() { closed <- w.Close() }()
	<-g.entered
	g.leave <- nil
	require.NoError(t, <-closed)
	f, err := parse(g.Bytes())
	require.NoError(t, err)
	require.Len(t, f.packets, 6)
	require.Equal(t, []uint64{0, 6, 0}, []uint64{f.packets[3].lost, f.packets[4].lost, f.packets[5].lost})
	require.Equal(t, []uint64{12, 6}, []uint64{f.received, f.missed})
}

// An output that fails ends the capture; the link goes on.
func TestOutputFails(t *testing.T) {
	full := errors.New("no space left on device")
	g := &gate{entered: make(chan struct{}), leave: make(chan error)}
	w, err := New(Config{Out: g})
	require.NoError(t, err)
	<-g.entered
	w.Write(Sent, []link.Frame{frameOf("one")})
	g.leave <- full
	require.ErrorIs(t, w.Close(), full)
	require.ErrorIs(t, w.Err(), full)
	w.Write(Sent, []link.Frame{frameOf("two")})
	require.LessOrEqual(t, uint64(1), w.Stats().Dropped)
	require.Zero(t, g.Len())
}

type panics struct{}

func (panics) Write([]byte) (int, error) { panic("no") }

type short struct{}

func (short) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestBadOutput(t *testing.T) {
	w, err := New(Config{Out: panics{}})
	require.NoError(t, err)
	require.ErrorContains(t, w.Close(), "panicked")
	w, err = New(Config{Out: short{}})
	require.NoError(t, err)
	require.ErrorIs(t, w.Close(), io.ErrShortWrite)
}

// A pipe that nobody reads does not keep Close for ever.
func TestCloseOfAPipe(t *testing.T) {
	r, out, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer out.Close()
	w, err := New(Config{Out: out})
	require.NoError(t, err)
	for range 100 {
		w.Write(Sent, []link.Frame{frameOf(strings.Repeat("x", 60000))})
	}
	require.ErrorIs(t, w.Close(), os.ErrDeadlineExceeded)
}

// A file never gets longer than its limit, and is whole.
func TestLimit(t *testing.T) {
	for limit := uint64(300); limit < 700; limit += 7 {
		var out bytes.Buffer
		w, err := New(Config{Out: &out, Limit: limit})
		require.NoError(t, err)
		for i := range 20 {
			w.Write(Sent, []link.Frame{frameOf(strings.Repeat("y", i))})
		}
		require.NoError(t, w.Close())
		require.LessOrEqual(t, uint64(out.Len()), limit)
		f, err := parse(out.Bytes())
		require.NoError(t, err)
		require.True(t, f.ended)
		require.EqualValues(t, 20, f.received)
		require.Len(t, f.packets, 20-int(f.missed))
		require.NotZero(t, f.missed)
	}
}

// Many goroutines capture: every frame is there once, or counted as dropped.
func TestHammer(t *testing.T) {
	var out bytes.Buffer
	w, err := New(Config{Out: &out, Buffer: MinBuffer})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for s := range 4 {
		wg.Go(func() {
			for i := range 500 {
				w.Write(Sent, []link.Frame{frameOf(fmt.Sprintf("%d %d ", s, i), strings.Repeat("z", i))})
			}
		})
	}
	wg.Wait()
	require.NoError(t, w.Close())
	f, err := parse(out.Bytes())
	require.NoError(t, err)
	require.EqualValues(t, 2000, f.received)
	require.Len(t, f.packets, 2000-int(f.missed))
	lost := uint64(0)
	for _, p := range f.packets {
		lost += p.lost
		var s, i int
		_, err := fmt.Sscanf(p.data, "%d %d z", &s, &i)
		require.True(t, err == nil || i == 0, p.data)
		require.Len(t, p.data, len(fmt.Sprintf("%d %d ", s, i))+i)
	}
	require.LessOrEqual(t, lost, f.missed)
}

// What is captured costs no allocation once the buffers have grown.
func TestWriteDoesNotAllocate(t *testing.T) {
	w, err := New(Config{Out: io.Discard})
	require.NoError(t, err)
	frames := []link.Frame{frameOf(strings.Repeat("x", 1400)), frameOf(strings.Repeat("y", 9000))}
	for range 1000 { // both buffers
		w.Write(Sent, frames)
	}
	require.Less(t, testing.AllocsPerRun(1000, func() { w.Write(Sent, frames) }), 1.0)
	require.NoError(t, w.Close())
}

// tcpdump reads what was written, and sees both ways and whole frames.
func TestTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		if strings.Contains(os.Getenv("CAPSA_REQUIRE"), "tcpdump") {
			t.Fatal("CAPSA_REQUIRE names tcpdump, which is not installed (Debian: tcpdump)")
		}
		t.Skip("tcpdump is not installed; the golden test and the parser of the other tests hold the format")
	}
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	out, err := os.Create(path)
	require.NoError(t, err)
	defer out.Close()
	w, err := New(Config{Out: out, Interface: "eth0", Now: ticking()})
	require.NoError(t, err)
	ping := "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06" + // an ARP request
		"\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x01\x0a\x00\x00\x02\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x01"
	long := "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x88\xb5" + strings.Repeat("x", 65000) // a local experiment
	w.Write(Sent, []link.Frame{frameOf(ping)})
	w.Write(Received, []link.Frame{frameOf(long)})
	require.NoError(t, w.Close())
	me, err := user.Current()
	require.NoError(t, err)
	text, err := exec.Command(tcpdump, "-n", "-e", "-tt", "--nano", "-Z", me.Username, "-r", path).CombinedOutput()
	require.NoError(t, err, string(text))
	require.Contains(t, string(text), "1700000000.123456791")
	require.Contains(t, string(text), "Request who-has 10.0.0.1 tell 10.0.0.2")
	require.Contains(t, string(text), "1700000000.123456792")
	require.Contains(t, string(text), "length 65014")
}
