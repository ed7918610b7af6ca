//go:build linux

package fuse

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// seeds are requests of every kind, as a kernel sends them.
func seeds() [][]byte {
	c := &client{}
	var all [][]byte
	add := func(op uint32, node uint64, arg ...[]byte) { all = append(all, c.message(op, node, cat(arg...))) }
	add(26, 0, u32s(7, 40, 65536, 0xffffffff, 0xffffffff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	add(1, 1, z("file"))
	add(1, 1, z("dir"))
	add(1, 1, z("link"))
	add(3, 1, u64s(0, 0))
	add(4, 1<<32|2, u32s(math32, 0), u64s(0, 10, 0, 1, 2, 0), u32s(0, 0, 0, 0o640, 0, 0, 0, 0))
	add(14, 1<<32|2, u32s(2, 0))
	add(15, 1<<32|2, u64s(1<<32|1, 0), u32s(4096, 0), u64s(0), u32s(0, 0))
	add(16, 1<<32|2, u64s(1<<32|1, 0), u32s(4, 0), u64s(0), u32s(0, 0), []byte("data"))
	add(35, 1, u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), z("new"))
	add(9, 1, u32s(0o755, 0), z("newdir"))
	add(8, 1, u32s(unix.S_IFIFO|0o644, 0, 0, 0), z("fifo"))
	add(6, 1, z("newlink"), z("../../etc/passwd"))
	add(13, 1, u64s(1<<32|2), z("hard"))
	add(45, 1, u64s(1), u32s(0, 0), z("file"), z("other"))
	add(12, 1, u64s(1), z("other"), z("file"))
	add(10, 1, z("other"))
	add(11, 1, z("dir"))
	add(27, 1, u32s(0, 0))
	add(28, 1, u64s(1<<32|1, 0), u32s(4096, 0), u64s(0), u32s(0, 0))
	add(44, 1, u64s(1<<32|1, 0), u32s(4096, 0), u64s(0), u32s(0, 0))
	add(21, 1, u32s(1, 0), z("user.x"), []byte("v"))
	add(22, 1, u32s(100, 0), z("user.x"))
	add(23, 1, u32s(100, 0))
	add(24, 1, z("user.x"))
	add(31, 1<<32|2, u64s(1<<32|1, 1, 0, 100), u32s(1, 1, 0, 0))
	add(32, 1<<32|2, u64s(1<<32|1, 1, 0, 100), u32s(1, 1, 0, 0))
	add(43, 1<<32|2, u64s(1<<32|1, 0, 4096), u32s(0, 0))
	add(46, 1<<32|2, u64s(1<<32|1, 0), u32s(3, 0))
	add(47, 1<<32|2, u64s(1<<32|1, 0, 1<<32|2, 1<<32|1, 100, 5, 0))
	add(20, 1<<32|2, u64s(1<<32|1), u32s(0, 0))
	add(17, 1)
	add(52, 1, u32s(0, 0), u64s(0), u32s(0, 0xfff))
	add(51, 1, u32s(2, 0o600, 0, 0), z("#1"))
	add(2, 1<<32|2, u64s(1))
	add(42, 0, u32s(2, 0), u64s(1<<32|2, 1, 1, 1))
	add(18, 1<<32|2, u64s(1<<32|1), u32s(0, 0), u64s(0))
	add(36, 0, u64s(2))
	add(38, 0)
	return all
}

// fuzzWorld is a share beside a secret, with a few things in it.
func fuzzWorld(t testing.TB) *world {
	w := newWorld(t)
	w.hostFile("content", "file")
	require.NoError(t, os.Mkdir(w.path("dir"), 0o755))
	require.NoError(t, os.Symlink(w.outside+"/secret", w.path("link")))
	return w
}

// sequence cuts fuzz input into requests: each begins with two bytes of length
// and one of room for the reply. Lengths in headers are put right, so that the
// dispatcher is passed; single requests with lies are FuzzRequest's.
func sequence(b []byte, serve func(m []byte, room int)) {
	for range 64 {
		if len(b) < 3 {
			return
		}
		n, room := int(binary.LittleEndian.Uint16(b)), int(b[2])*64
		b = b[3:]
		n = min(n, len(b))
		m := bytes.Clone(b[:n])
		if len(m) >= 4 {
			copy(m, u32s(uint32(len(m))))
		}
		serve(m, room)
		b = b[n:]
	}
}

func joinSequence(messages [][]byte) []byte {
	var b []byte
	for _, m := range messages {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(m)))
		b = append(b, 255)
		b = append(b, m...)
	}
	return b
}

// FuzzRequest: any bytes as a request. No panic, a reply that is one, nothing
// outside touched.
func FuzzRequest(f *testing.F) {
	for _, m := range seeds() {
		f.Add(m, uint16(4096))
		f.Add(m, uint16(0))
		f.Add(m[:len(m)-1], uint16(64))
	}
	f.Fuzz(func(t *testing.T, m []byte, room uint16) {
		w := fuzzWorld(t)
		w.lookup(rootID, "file")
		if len(m) >= 8 && m[4] == opSetlkw {
			m = bytes.Clone(m)
			m[4] = opSetlk // may wait for ever
		}
		check(t, w, m, int(room))
		w.intact()
	})
}

func check(t *testing.T, w *world, m []byte, room int) {
	t.Helper()
	out := make([]byte, 16+room)
	n := w.handle([][]byte{m}, [][]byte{out})
	require.LessOrEqual(t, n, len(out))
	if n > 0 {
		require.GreaterOrEqual(t, n, 16)
		require.EqualValues(t, n, get32(out, 0))
		require.LessOrEqual(t, int32(get32(out, 4)), int32(0))
		require.Greater(t, int32(get32(out, 4)), int32(-512))
	}
	require.NotContains(t, string(out), secretText)
	require.Zero(t, w.srv.stats.panics.Load())
}

// FuzzSequence: sequences of requests, so that nodes and handles come to be.
func FuzzSequence(f *testing.F) {
	f.Add(joinSequence(seeds()))
	all := seeds()
	for i := range all {
		f.Add(joinSequence([][]byte{all[0], all[1], all[6], all[i], all[i]}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := fuzzWorld(t)
		sequence(b, func(m []byte, room int) {
			if len(m) >= 8 && m[4] == opSetlkw {
				m[4] = opSetlk // would wait for itself
			}
			check(t, w, m, room)
		})
		w.intact()
		w.works()
	})
}

// FuzzPair: two sequences at once. What the race detector has to say counts.
func FuzzPair(f *testing.F) {
	all := seeds()
	f.Add(joinSequence(all), joinSequence(all))
	f.Add(joinSequence(all[1:20]), joinSequence(all[15:]))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		w := fuzzWorld(t)
		other := &world{client: w.other(t), outside: w.outside, inos: w.inos}
		var wg sync.WaitGroup
		for _, side := range []struct {
			w *world
			b []byte
		}{{w, a}, {other, b}} {
			wg.Go(func() {
				sequence(side.b, func(m []byte, room int) {
					if len(m) >= 8 && m[4] == opSetlkw {
						m[4] = opSetlk
					}
					out := make([]byte, 16+room)
					side.w.handle([][]byte{m}, [][]byte{out})
				})
			})
		}
		wg.Wait()
		require.Zero(t, w.srv.stats.panics.Load())
		w.intact()
		w.works()
	})
}

// FuzzName: what nextName lets through is one component.
func FuzzName(f *testing.F) {
	for _, n := range hostileNames {
		f.Add([]byte(n.name))
	}
	f.Add([]byte("good\x00rest"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, rest, e := nextName(b)
		if e != 0 {
			return
		}
		s := name.String()
		require.True(t, filepath.IsLocal(s) && filepath.Base(s) == s && s != ".", "%q", s)
		require.LessOrEqual(t, len(s), 255)
		require.Equal(t, string(b), s+"\x00"+string(rest))
		require.NotContains(t, s, "\x00")
	})
}

// FuzzExtension: header extensions.
func FuzzExtension(f *testing.F) {
	f.Add(cat(u32s(16, 32, 1, 555)), uint32(555))
	f.Add(cat(u32s(8, 31), u32s(20, 32, 2, 1, 2), u32s(0)), uint32(2))
	f.Add(u32s(0xffffffff, 32, 0xffffffff, 1), uint32(1))
	f.Fuzz(func(_ *testing.T, ext []byte, gid uint32) {
		r := &request{ext: ext}
		r.suppGroup(gid)
	})
}

// FuzzDirent: entries as a file system below might make them.
func FuzzDirent(f *testing.F) {
	f.Add(cat(u64s(7, 8), []byte{32, 0, 8}, z("name"), make([]byte, 8)))
	f.Add(cat(u64s(7, 8), []byte{255, 255, 8}, z("name")))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, ok := parseDirent(b)
		if ok {
			require.LessOrEqual(t, d.size, len(b))
			require.Greater(t, d.size, direntHead)
			require.NotContains(t, d.name.String(), "/")
		}
	})
}

// FuzzACL: access control lists.
func FuzzACL(f *testing.F) {
	f.Add(cat(u32s(2), []byte{2, 0, 4, 0}, u32s(5)))
	i := newIDs(Ownership{Mode: Ranges, UIDs: []IDRange{{0, 1000, 100}}, GIDs: []IDRange{{0, 2000, 100}}})
	f.Fuzz(func(t *testing.T, b []byte) {
		orig := bytes.Clone(b)
		if i.aclToHost(b) {
			require.True(t, i.aclToGuest(b))
			require.Equal(t, orig, b)
		}
	})
}

// TestRandomRequests: requests of every kind with their bytes changed, one
// after the other in one world. CAPSA_FUSE_RANDOM is how many.
func TestRandomRequests(t *testing.T) {
	count := 20_000
	if v, err := strconv.Atoi(os.Getenv("CAPSA_FUSE_RANDOM")); err == nil {
		count = v
	}
	w := fuzzWorld(t)
	all := seeds()
	rng := rand.New(rand.NewPCG(3, 4))
	interesting := []byte{0, 1, 2, 3, 4, 8, 0x7f, 0x80, 0xff, '.', '/'}
	out := make([]byte, 16+64<<10)
	for i := range count {
		if i%5000 == 0 {
			w.init()
		}
		m := bytes.Clone(all[1+rng.IntN(len(all)-2)]) // neither INIT nor DESTROY, which end everything
		for range rng.IntN(5) {
			switch at := rng.IntN(len(m)); rng.IntN(6) {
			case 0:
				m[at] = interesting[rng.IntN(len(interesting))]
			case 1:
				m[at] ^= 1 << rng.IntN(8)
			case 2:
				m = m[:at+1]
			case 3: // another node or handle that there may be
				if len(m) >= 48 {
					copy(m[16+24*rng.IntN(2):], u64s(uint64(rng.IntN(40))|uint64(rng.IntN(200))<<32))
				}
			case 4: // another name
				if i := bytes.LastIndexByte(m[:len(m)-1], 0); i > 40 {
					m = append(m[:i+1], z([]string{"file", "dir", "link", "new", "a/b", ".."}[rng.IntN(6)])...)
				}
			case 5:
				m = append(m, make([]byte, rng.IntN(64))...)
			}
		}
		if rng.IntN(50) != 0 && len(m) >= 4 {
			copy(m, u32s(uint32(len(m))))
		}
		if len(m) >= 8 && (m[4] == opSetlkw || m[4] == opFallocate) {
			continue // may wait for ever; may fill the disk
		}
		room := len(out)
		if rng.IntN(20) == 0 {
			room = rng.IntN(300)
		}
		n := w.handle([][]byte{m}, [][]byte{out[:room]})
		require.False(t, bytes.Contains(out[:n], []byte(secretText)))
	}
	require.Zero(t, w.srv.stats.panics.Load())
	w.intact()
	w.init()
	t.Logf("%d requests, %v", count, w.srv.Stats().Errors)
}
