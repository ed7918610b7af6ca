package fs

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestConfig(t *testing.T) {
	h := newEcho()
	for _, cfg := range []Config{
		{Handler: h}, {Tag: "x"},
		{Tag: strings.Repeat("x", 37), Handler: h}, {Tag: "a\x00b", Handler: h},
		{Tag: "x", Handler: h, Queues: -1}, {Tag: "x", Handler: h, Queues: MaxQueues + 1},
	} {
		_, err := New(cfg)
		require.Error(t, err, "%+v", cfg)
	}
}

func TestIdentity(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string // configuration space
		queues int
		offers uint64
	}{
		{"plain", nil, "share" + strings.Repeat("\x00", 31) + "\x01\x00\x00\x00" + "\x00\x00\x00\x00", 2, 0},
		{"long tag, queues, notifications", func(c *Config) {
			c.Tag, c.Queues, c.Notifications = strings.Repeat("t", 36), 4, true
		}, strings.Repeat("t", 36) + "\x04\x00\x00\x00" + "\x00\x10\x00\x00", 6, FeatureNotification},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.change)
			require.EqualValues(t, 26, r.Reg(virtiotest.RegDeviceID)) // virtio 1.2 section 5.11.1
			require.Equal(t, tt.offers|virtio.TransportFeatures, r.Offered())
			require.Equal(t, tt.want+"\x00\x00", string(r.ReadConfig(0, configSize+2)))
			require.Len(t, r.dev.QueueSizes(), tt.queues)
			before := r.ReadConfig(0, configSize)
			r.AddStatus(virtiotest.StatusAcknowledge | virtiotest.StatusDriver)
			r.transport.Write(virtiotest.RegConfig, []byte("evil"))
			require.Equal(t, before, r.ReadConfig(0, configSize))
		})
	}
}

func TestRequests(t *testing.T) {
	for _, features := range []uint64{0, ringFeatures} {
		t.Run(fmt.Sprintf("features %#x", features), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Queues = 2 })
			r.Start(features, small...)
			for i := range 3 {
				for _, size := range []int{1, 40, 4096, 100_000} {
					request := strings.Repeat("r", size)
					require.Equal(t, request, string(r.Queue(i).Do([]byte(request), size)))
				}
				// FORGET: nothing to write to.
				require.Empty(t, r.Queue(i).Do([]byte("forget"), 0))
			}
			require.Equal(t, uint64(15), r.transport.Stats().Requests)
		})
	}
}

// Requests that wait, and do or do not say so, do not keep others.
func TestOthersGoOn(t *testing.T) {
	for says, name := range []string{"found out by the timer", "says so", "parked"} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, nil)
			begun, open := r.echo.gate('w', says)
			q := r.Queue(1)
			const waiting = 10
			heads := map[uint16]bool{}
			for range waiting {
				heads[q.Post([]byte("wait"), 8)] = true
				<-begun
				require.Equal(t, "quick", string(q.Do([]byte("quick"), 5)))
			}
			workers, busy, _ := r.counts(1)
			require.Greater(t, workers, waiting)
			if says == 2 {
				require.LessOrEqual(t, busy, 1+keepIdle)
			}
			open()
			for range waiting {
				u := q.Wait()
				require.True(t, heads[u.Head])
				require.Equal(t, "wait", string(u.Data[:4]))
			}
			require.Equal(t, "quick", string(q.Do([]byte("quick"), 5)))
			require.Zero(t, r.transport.Stats().Faults)
		})
	}
}

// However many requests hang, threads are bounded; when one returns, the next
// is served.
func TestBoundedWorkers(t *testing.T) {
	r := newRig(t, nil)
	r.Start(ringFeatures, 64, 256)
	begun, open := r.echo.gate('w', 1)
	q := r.Queue(1)
	for range maxWorkers + 20 {
		q.Post([]byte("w"), 1)
	}
	for range maxWorkers {
		<-begun
	}
	workers, busy, _ := r.counts(1)
	require.Equal(t, maxWorkers, workers)
	require.Equal(t, maxWorkers, busy)
	open()
	for range maxWorkers + 20 {
		require.Equal(t, "w", string(q.Wait().Data))
	}
	require.Equal(t, "quick", string(q.Do([]byte("quick"), 5)))
}

// A reset does not wait for requests that hang, and what they do later reaches
// nobody.
func TestResetCutsOff(t *testing.T) {
	before := runtime.NumGoroutine()
	r := startRig(t, nil)
	begun, open := r.echo.gate('w', 0)
	for range 5 {
		r.Queue(1).Post([]byte("w"), 64)
		<-begun
	}
	r.Start(ringFeatures, small...)
	require.Equal(t, 1, r.echo.get(&r.echo.resets))
	require.Equal(t, "quick", string(r.Queue(1).Do([]byte("quick"), 5)))
	require.NoError(t, r.mem.WriteAt(make([]byte, 1<<16), virtiotest.Main.Base+4<<20))
	r.transport.Close()
	require.NoError(t, r.mem.Close())
	open()
	settle(t, "goroutines", func() bool { return runtime.NumGoroutine() <= before })
	require.Equal(t, 5, r.echo.get(&r.echo.refused))
	require.Zero(t, threads.Load())
}

// Requests that are parked end with the reset.
func TestResetEndsParked(t *testing.T) {
	r := startRig(t, nil)
	begun, _ := r.echo.gate('w', 2)
	r.Queue(1).Post([]byte("w"), 64)
	<-begun
	r.Start(ringFeatures, small...)
	settle(t, "the request", func() bool { return r.echo.get(&r.echo.refused)+r.echo.get(&r.echo.served) == 1 })
	require.Equal(t, "quick", string(r.Queue(1).Do([]byte("quick"), 5)))
}

// settle gives goroutines that are on their way out their turns.
func settle(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 5_000_000 {
		if done() {
			return
		}
		runtime.Gosched()
	}
	require.Fail(t, "still there: "+what)
}

func TestNotifications(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Notifications = true })
	require.False(t, r.dev.Notify([]byte("nobody listens")))
	r.Start(FeatureNotification|ringFeatures, small...)
	q := r.Queue(queueNotify)
	require.True(t, r.dev.Notify([]byte("first")))
	require.Equal(t, "first", string(q.Do(nil, 4096)))
	q.Post(nil, 4096)
	require.True(t, r.dev.Notify([]byte("second")))
	require.Equal(t, "second", string(q.Wait().Data))
	// Without buffers they wait, up to a bound.
	for i := range maxPending {
		require.True(t, r.dev.Notify([]byte{byte(i)}))
	}
	require.False(t, r.dev.Notify([]byte("too many")))
	require.False(t, r.dev.Notify(make([]byte, notifyBuffer+1)))
	for i := range maxPending {
		require.Equal(t, []byte{byte(i)}, q.Do(nil, 64))
	}
	// The request queue is the one behind it.
	require.Equal(t, "request", string(r.Queue(2).Do([]byte("request"), 7)))
	// A driver that does not want them has its first request queue at 1.
	r.Start(ringFeatures, small...)
	require.False(t, r.dev.Notify([]byte("nobody listens")))
	require.Equal(t, "request", string(r.Queue(1).Do([]byte("request"), 7)))
}
