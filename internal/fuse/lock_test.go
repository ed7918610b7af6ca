//go:build linux

package fuse

import (
	"math"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const toEOF = uint64(math.MaxInt64)

// lock sends GETLK, SETLK or SETLKW.
func (c *client) lock(op uint32, node, fh, owner, start, end uint64, typ, flags uint32) ([]byte, syscall.Errno) {
	return c.call(op, node, cat(u64s(fh, owner, start, end), u32s(typ, 1, flags, 0)), 24)
}

func (c *client) setlk(node, fh, owner, start, end uint64, typ uint32) syscall.Errno {
	_, e := c.lock(opSetlk, node, fh, owner, start, end, typ, 0)
	return e
}

// hostLock tries a lock as a process of the host would.
func hostLock(t testing.TB, path string, typ int16, start, n int64) error {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: typ, Start: start, Len: n})
}

func TestPosixLocks(t *testing.T) {
	noLeaks(t)
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	const a, b = 1, 2
	require.Zero(t, c.setlk(node, fh, a, 0, 9, unix.F_WRLCK))
	require.Zero(t, c.setlk(node, fh, a, 5, 20, unix.F_WRLCK), "its own is not in the way")
	require.Equal(t, syscall.EAGAIN, c.setlk(node, fh, b, 20, 30, unix.F_RDLCK))
	require.Zero(t, c.setlk(node, fh, b, 21, toEOF, unix.F_WRLCK))
	// GETLK names what is in the way, without whose.
	r, e := c.lock(opGetlk, node, fh, b, 0, toEOF, unix.F_WRLCK, 0)
	require.Zero(t, e)
	require.EqualValues(t, 0, get64(r, 0))
	require.EqualValues(t, 20, get64(r, 8))
	require.EqualValues(t, unix.F_WRLCK, get32(r, 16))
	require.Zero(t, get32(r, 20))
	r, e = c.lock(opGetlk, node, fh, a, 0, 20, unix.F_WRLCK, 0)
	require.Zero(t, e)
	require.EqualValues(t, unix.F_UNLCK, get32(r, 16))
	// The host sees them, and they see the host's.
	require.ErrorIs(t, hostLock(t, c.path("file"), unix.F_RDLCK, 0, 1), unix.EAGAIN)
	require.Zero(t, c.setlk(node, fh, a, 0, 4, unix.F_UNLCK))
	require.NoError(t, hostLock(t, c.path("file"), unix.F_WRLCK, 0, 5))
	require.Equal(t, syscall.EAGAIN, c.setlk(node, fh, a, 0, 0, unix.F_RDLCK))
	// A close of the process's takes its locks, and nobody else's.
	_, e = c.call(opFlush, node, cat(u64s(fh), u32s(0, 0), u64s(a)), 0)
	require.Zero(t, e)
	require.NoError(t, hostLock(t, c.path("file"), unix.F_WRLCK, 5, 16))
	require.ErrorIs(t, hostLock(t, c.path("file"), unix.F_WRLCK, 21, 1), unix.EAGAIN)
	// With the last handle all go.
	require.Zero(t, c.release(node, fh))
	require.NoError(t, hostLock(t, c.path("file"), unix.F_WRLCK, 21, 0))
}

// Two shares of one directory are two guests.
func TestLocksBetweenShares(t *testing.T) {
	one := share(t, nil)
	two := shareRaw(t, one.dir, nil)
	two.init()
	node1, fh1 := one.create(rootID, "file")
	node2 := two.lookup(rootID, "file")
	fh2 := two.open(node2, unix.O_RDWR)
	require.Zero(t, one.setlk(node1, fh1, 1, 0, toEOF, unix.F_WRLCK))
	require.Equal(t, syscall.EAGAIN, two.setlk(node2, fh2, 1, 0, 0, unix.F_RDLCK))
	_, e := one.lock(opSetlk, node1, fh1, 1, 0, toEOF, unix.F_WRLCK, lockIsFlock)
	require.Zero(t, e)
	_, e = two.lock(opSetlk, node2, fh2, 1, 0, toEOF, unix.F_RDLCK, lockIsFlock)
	require.Equal(t, syscall.EAGAIN, e)
	require.Zero(t, one.release(node1, fh1))
	require.Zero(t, two.setlk(node2, fh2, 1, 0, 0, unix.F_RDLCK))
	_, e = two.lock(opSetlk, node2, fh2, 1, 0, toEOF, unix.F_RDLCK, lockIsFlock)
	require.Zero(t, e)
}

// waiting starts a request that waits for a lock, on a worker of its own, and
// returns when it has said so.
func (c *client) waiting(node, fh, owner uint64, typ, flags uint32) (unique uint64, result chan syscall.Errno) {
	c.t.Helper()
	parked := make(chan struct{}, 10)
	other := &client{t: c.t, srv: c.srv, dir: c.dir, unique: c.unique + 1000}
	c.unique += 2000
	other.handle = c.srv.Worker(func(p bool) {
		if p {
			parked <- struct{}{}
		}
	}, nil)
	unique = other.unique + 2
	result = make(chan syscall.Errno, 1)
	go func() {
		_, e := other.lock(opSetlkw, node, fh, owner, 0, toEOF, typ, flags)
		result <- e
	}()
	select {
	case <-parked:
	case e := <-result:
		require.Fail(c.t, "it did not wait", "%v", e)
	}
	return unique, result
}

func get(t *testing.T, result chan syscall.Errno) syscall.Errno {
	t.Helper()
	select {
	case e := <-result:
		return e
	case <-time.After(20 * time.Second): // a hang
		require.Fail(t, "the request hangs")
		return 0
	}
}

func TestWaitForLock(t *testing.T) {
	for name, flags := range map[string]uint32{"posix": 0, "flock": lockIsFlock} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			c := share(t, nil)
			node, fh := c.create(rootID, "file")
			fh2 := c.open(node, unix.O_RDWR)
			set := func(fh, owner uint64, typ uint32) syscall.Errno {
				_, e := c.lock(opSetlk, node, fh, owner, 0, toEOF, typ, flags)
				return e
			}
			// Granted when the other lets go.
			require.Zero(t, set(fh, 1, unix.F_WRLCK))
			_, result := c.waiting(node, fh2, 2, unix.F_WRLCK, flags)
			require.Zero(t, set(fh, 1, unix.F_UNLCK))
			require.Zero(t, get(t, result))
			require.Equal(t, syscall.EAGAIN, set(fh, 1, unix.F_WRLCK))
			// Interrupted: EINTR, and the lock is not taken later.
			unique, result := c.waiting(node, fh, 1, unix.F_WRLCK, flags)
			_, e := c.call(opInterrupt, 0, u64s(unique), 0)
			require.Equal(t, noReply, e)
			require.Equal(t, syscall.EINTR, get(t, result))
			require.Zero(t, set(fh2, 2, unix.F_UNLCK))
			settle(t, func() bool { return waitThreads.Load() == 0 })
			require.Zero(t, set(fh2, 2, unix.F_WRLCK), "the interrupted one has given it back")
			require.Zero(t, set(fh2, 2, unix.F_UNLCK))
			// An upgrade that was given up leaves what there was before.
			require.Zero(t, set(fh, 1, unix.F_RDLCK))
			require.Zero(t, set(fh2, 2, unix.F_RDLCK))
			if flags == 0 {
				unique, result = c.waiting(node, fh, 1, unix.F_WRLCK, flags)
				_, _ = c.call(opInterrupt, 0, u64s(unique), 0)
				require.Equal(t, syscall.EINTR, get(t, result))
				require.Zero(t, set(fh2, 2, unix.F_UNLCK))
				settle(t, func() bool { return waitThreads.Load() == 0 })
				require.Zero(t, set(fh2, 2, unix.F_RDLCK))
				require.Equal(t, syscall.EAGAIN, set(fh2, 2, unix.F_WRLCK))
			}
			require.Zero(t, c.release(node, fh))
			require.Zero(t, c.release(node, fh2))
		})
	}
}

// A reset ends requests that wait, though the host keeps the lock.
func TestResetEndsWaits(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	f, err := os.Open(c.path("file"))
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	var results []chan syscall.Errno
	for range 20 {
		_, r := c.waiting(node, fh, 1, unix.F_WRLCK, lockIsFlock)
		results = append(results, r)
	}
	c.srv.Reset()
	for _, r := range results {
		require.Equal(t, syscall.EINTR, get(t, r))
	}
	c.works()
	require.NoError(t, f.Close())
	settle(t, func() bool { return waitThreads.Load() == 0 })
}

// Waits are bounded.
func TestTooManyWaits(t *testing.T) {
	c := share(t, nil)
	node, fh := c.create(rootID, "file")
	require.Zero(t, c.setlk(node, fh, 1, 0, toEOF, unix.F_WRLCK))
	var results []chan syscall.Errno
	for i := range uint64(maxWaits) {
		_, r := c.waiting(node, fh, 2+i, unix.F_WRLCK, 0)
		results = append(results, r)
	}
	_, e := c.lock(opSetlkw, node, fh, 1000, 0, toEOF, unix.F_WRLCK, 0)
	require.Equal(t, syscall.ENOLCK, e)
	c.srv.Reset()
	for _, r := range results {
		require.Equal(t, syscall.EINTR, get(t, r))
	}
	settle(t, func() bool { return waitThreads.Load() == 0 })
}

func settle(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if done() {
			return
		}
	}
	require.Fail(t, "it does not settle")
}

// Owners and ranges are bounded.
func TestTooManyLocks(t *testing.T) {
	c := share(t, func(o *Options) { o.MaxFiles = 100 })
	node, fh := c.create(rootID, "file")
	granted := 0
	for i := range uint64(200) {
		switch e := c.setlk(node, fh, i, i, i, unix.F_WRLCK); e {
		case 0:
			granted++
		case syscall.EMFILE, syscall.ENOLCK:
		default:
			require.Fail(t, e.Error())
		}
	}
	require.Less(t, granted, 100)
	last := syscall.Errno(0)
	for i := range uint64(maxRangesPerOwner + 10) {
		last = c.setlk(node, fh, 0, 1000+2*i, 1000+2*i, unix.F_RDLCK)
	}
	require.Equal(t, syscall.ENOLCK, last)
	require.Zero(t, c.setlk(node, fh, 0, 0, toEOF, unix.F_UNLCK))
	c.works()
}

// The record of ranges against a plain array of bytes.
func FuzzRanges(f *testing.F) {
	f.Add([]byte{0, 9, 0, 5, 9, 1, 2, 3, 2})
	f.Add([]byte{10, 20, 1, 0, 63, 0, 15, 15, 2, 16, 16, 1})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var rs ranges
		var want [64]int16
		for i := range want {
			want[i] = unix.F_UNLCK
		}
		for ; len(steps) >= 3; steps = steps[3:] {
			a, b, typ := int64(steps[0]%64), int64(steps[1]%64), int16(steps[2]%3)
			a, b = min(a, b), max(a, b)
			rs = rs.set(lockRange{a, b, typ})
			for i := a; i <= b; i++ {
				want[i] = typ
			}
			var got [64]int16
			for i := range got {
				got[i] = unix.F_UNLCK
			}
			last := int64(-1)
			for k, r := range rs {
				require.Greater(t, r.start, last)
				require.GreaterOrEqual(t, r.end, r.start)
				require.False(t, k > 0 && rs[k-1].end+1 == r.start && rs[k-1].typ == r.typ, "not joined")
				last = r.end
				for i := r.start; i <= r.end; i++ {
					got[i] = r.typ
				}
			}
			require.Equal(t, want, got)
		}
	})
}

// Requests that lock, unlock, close and reset at once. Run with -race.
func TestLockHammer(t *testing.T) {
	noLeaks(t)
	c := share(t, nil)
	var wg sync.WaitGroup
	for w := range uint64(4) {
		g := c.other(t)
		g.unique = w << 32
		wg.Go(func() {
			for i := range uint64(300) {
				node, _, e := g.lookupErr(rootID, "file")
				if e != 0 {
					_, _, _ = g.createErr(rootID, "file", unix.O_RDWR|unix.O_CREAT, 0o644)
					continue
				}
				fh, e := g.openErr(node, unix.O_RDWR)
				if e != 0 {
					continue
				}
				_ = g.setlk(node, fh, w, i%50, 60, uint32(i%3))
				_, _ = g.lock(opSetlk, node, fh, w, 0, toEOF, uint32(i%3), lockIsFlock)
				_, _ = g.lock(opGetlk, node, fh, w, 0, toEOF, 1, 0)
				_, _ = g.call(opFlush, node, cat(u64s(fh), u32s(0, 0), u64s(w)), 0)
				_ = g.release(node, fh)
				if i%40 == 0 && w == 0 {
					g.init()
				}
			}
		})
	}
	wg.Wait()
	c.works()
}
