//go:build linux

package fuse

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// snapshot is everything there is to see below a directory: names, types,
// modes, owners, times of change, contents.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		text := fmt.Sprintf("%o %d:%d %d %v", st.Mode, st.Uid, st.Gid, st.Nlink, st.Ctim)
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(b)
		}
		all[path] = text
		return nil
	}))
	return all
}

const (
	secretText = "this text is outside of the share"
	secretSize = uint64(len(secretText))
)

// world is a share beside things that it must not reach.
type world struct {
	*client
	outside string
	before  map[string]string
	cases   int
	inos    map[uint64]bool // inodes outside
}

func newWorld(t testing.TB) *world {
	top := t.TempDir()
	w := &world{outside: filepath.Join(top, "outside"), inos: map[uint64]bool{}}
	inside := filepath.Join(top, "inside")
	require.NoError(t, os.MkdirAll(filepath.Join(w.outside, "dir"), 0o755))
	require.NoError(t, os.Mkdir(inside, 0o755))
	for _, name := range []string{"secret", "dir/secret"} {
		require.NoError(t, os.WriteFile(filepath.Join(w.outside, name), []byte(secretText), 0o644))
	}
	w.before = snapshot(t, w.outside)
	for path := range w.before {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(path, &st))
		w.inos[st.Ino] = true
	}
	w.client = shareRaw(t, inside, nil)
	w.init()
	return w
}

// escaped fails the test when a reply shows anything of outside. Callers check
// at the end that nothing changed there.
func (w *world) escaped(what string, body []byte) {
	w.t.Helper()
	w.cases++
	require.NotContains(w.t, string(body), secretText, what)
	for i := 0; i+8 <= len(body); i += 8 {
		require.False(w.t, w.inos[get64(body, i)], "%s: an inode of outside", what)
	}
}

func (w *world) intact() {
	w.t.Helper()
	require.Equal(w.t, w.before, snapshot(w.t, w.outside), "something outside changed")
	require.Zero(w.t, w.srv.stats.panics.Load())
}

// escapeNames are ways to say something outside, from inside.
func (w *world) escapeNames() []string {
	return []string{
		"..", ".", "", "../outside", "../outside/secret", "../outside/dir", "../../outside/secret", "x/../../outside/secret",
		"dir/../../outside/secret", w.outside, w.outside + "/secret", "/etc/passwd", "/", "//", "/proc/self/root",
		"/proc/self/cwd", "link/secret", "link/../secret", "toroot/etc/passwd", "up/outside/secret", "link/", "self/fd",
		"..\x00", "..\x00/x", "secret\x00/../..", "\x00..", "....//", "..;/", "..\\outside", "%2e%2e/outside", "\u2024\u2024/x",
	}
}

// links puts symbolic links to outside into the share.
func (w *world) links() map[string]string {
	targets := map[string]string{
		"link": w.outside, "file": w.outside + "/secret", "up": "..", "relative": "../outside/secret", "toroot": "/",
		"proc": "/proc/self/root", "cwd": "/proc/self/cwd", "self": "/proc/self", "loop": "loop", "dir": w.outside + "/dir",
		"chain": "link", "fd": "/proc/self/fd/0", "mem": "/proc/self/mem",
	}
	for name, target := range targets {
		require.NoError(w.t, os.Symlink(target, w.path(name)))
	}
	return targets
}

// D4 and D2: every operation with every name, in the root, in a directory, and
// in nodes that are links.
func TestEscapeNames(t *testing.T) {
	w := newWorld(t)
	w.links()
	require.NoError(t, os.Mkdir(w.path("x"), 0o755))
	w.hostFile("inside", "plain")
	plain, x := w.lookup(rootID, "plain"), w.lookup(rootID, "x")
	parents := []uint64{rootID, x, plain}
	for name := range w.links2() {
		parents = append(parents, w.lookup(rootID, name))
	}
	for _, parent := range parents {
		for _, name := range w.escapeNames() {
			for _, op := range nameOps {
				body, e := w.call(op.op, parent, op.arg(plain, z(name)), 256)
				first, _, _ := strings.Cut(name, "\x00")
				if first == "" || first == "." || first == ".." || strings.Contains(first, "/") {
					require.NotZero(t, e, "%s %q", op.name, name)
				}
				w.escaped(op.name, body)
				body, _ = w.call(op.op, parent, op.arg(plain, []byte(name)), 256) // no NUL
				w.escaped(op.name, body)
			}
		}
	}
	w.intact()
	t.Logf("escape suite: %d cases of operations and names, 0 escapes", w.cases)
}

// links2 are the names of links.
func (w *world) links2() map[string]bool {
	return map[string]bool{"link": true, "up": true, "toroot": true, "proc": true, "self": true, "chain": true, "dir": true, "file": true}
}

// D4: every operation on nodes that are links to outside acts on the link, or
// on nothing.
func TestEscapeLinks(t *testing.T) {
	w := newWorld(t)
	for name := range w.links() {
		node := w.lookup(rootID, name)
		for op := range uint32(numOps) {
			if operations[op].serve == nil || op == opInit || op == opDestroy || op == opForget || op == opBatchForget {
				continue
			}
			for _, arg := range [][]byte{
				z("secret"), make([]byte, 200), u32s(unix.O_RDWR, 0), u32s(unix.O_RDONLY, 0), cat(u32s(0o777, 0), z("new")),
				cat(u32s(math32, 0), u64s(0, 0, 0, 0, 0, 0), u32s(0, 0, 0, 0o777, 0, 1, 1, 0)),
				cat(u64s(node), z("hard")), cat(u64s(rootID), u32s(0, 0), z("secret"), z("stolen")),
				cat(u32s(unix.O_RDWR|unix.O_CREAT, 0o644, 0, 0), z("secret")), cat(u32s(10, 0), z("user.x"), []byte("0123456789")),
				cat(u32s(100, 0), z("user.x")), cat(u64s(0, 0), u32s(4096, 0), make([]byte, 16)),
			} {
				body, _ := w.call(op, node, arg, 64<<10)
				if op != opReadlink {
					w.escaped(operationNames[op], body)
				}
			}
		}
	}
	w.intact()
	t.Logf("escape suite: %d cases of operations on links, 0 escapes", w.cases)
}

const math32 = setMode | setUID | setGID | setSize | setAtime | setMtime

// D4: directories and files become links to outside, and back, while requests
// use them: by another guest or by the host.
func TestEscapeRaces(t *testing.T) {
	t.Run("by descriptor", func(t *testing.T) { escapeRaces(t, false) })
	t.Run("by name", func(t *testing.T) { escapeRaces(t, true) })
}

func escapeRaces(t *testing.T, byName bool) {
	w := newWorld(t)
	w.srv.byName = byName
	require.NoError(t, os.MkdirAll(w.path("a", "b"), 0o755))
	require.NoError(t, os.MkdirAll(w.path("spare"), 0o755))
	for _, p := range []string{"a/secret", "a/b/secret", "f"} {
		w.hostFile("inside text, as long as the other", p)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	racer := func(step func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					step(i)
				}
			}
		})
	}
	// A directory goes elsewhere and back while it is walked through.
	// The racer itself goes by descriptors, or it would move it out of the share.
	a, err := unix.Open(w.path("a"), unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(a)
	spare, err := unix.Open(w.path("spare"), unix.O_PATH|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(spare)
	racer(func(int) {
		_ = unix.Renameat(a, "b", spare, "b")
		_ = unix.Renameat(spare, "b", a, "b")
	})
	// A directory and a link to outside take turns, atomically.
	require.NoError(t, os.Symlink(w.outside, w.path("evil")))
	racer(func(int) {
		_ = unix.Renameat2(unix.AT_FDCWD, w.path("a"), unix.AT_FDCWD, w.path("evil"), unix.RENAME_EXCHANGE)
	})
	// So do a file and a link.
	require.NoError(t, os.Symlink(w.outside+"/secret", w.path("evilf")))
	racer(func(int) {
		_ = unix.Renameat2(unix.AT_FDCWD, w.path("f"), unix.AT_FDCWD, w.path("evilf"), unix.RENAME_EXCHANGE)
	})
	rounds := 3000
	if v, err := strconv.Atoi(os.Getenv("CAPSA_FUSE_RACE")); err == nil {
		rounds = v // a minute is 10 million or so
	}
	var guests sync.WaitGroup
	var mu sync.Mutex
	cases := 0
	for seed := range uint64(2) {
		g := &world{client: w.other(t), outside: w.outside, inos: w.inos}
		guests.Go(func() {
			g.race(rand.New(rand.NewPCG(seed, 7)), rounds)
			mu.Lock()
			cases += g.cases
			mu.Unlock()
		})
	}
	guests.Wait()
	close(stop)
	wg.Wait()
	w.intact()
	t.Logf("escape suite: %d cases in races, 0 escapes", cases)
}

// race is one guest of TestEscapeRaces.
func (w *world) race(rng *rand.Rand, rounds int) {
	nodes := []uint64{rootID}
	names := []string{"a", "b", "f", "secret", "evil", "evilf", "spare", "new"}
	for range rounds {
		node, name := nodes[rng.IntN(len(nodes))], names[rng.IntN(len(names))]
		switch rng.IntN(9) {
		case 0, 1, 2:
			if id, a, e := w.lookupErr(node, name); e == 0 {
				require.False(w.t, w.inos[a.ino], "LOOKUP reaches outside")
				if nodes = append(nodes, id); len(nodes) > 40 {
					nodes = nodes[len(nodes)-20:]
				}
			}
			w.cases++
		case 3:
			if fh, e := w.openErr(node, unix.O_RDWR); e == 0 {
				b, _ := w.read(node, fh, 0, 4096)
				w.escaped("READ", b)
				_, _ = w.writeErr(node, fh, 0, []byte("written by a guest"), 0, 0)
				_ = w.release(node, fh)
			}
			w.cases++
		case 4:
			if id, fh, e := w.createErr(node, name, unix.O_RDWR|unix.O_CREAT, 0o644); e == 0 {
				b, _ := w.read(id, fh, 0, 4096)
				w.escaped("CREATE", b)
				_ = w.release(id, fh)
			}
			w.cases++
		case 5:
			a, e := w.setattr(node, setattrIn{valid: setMode, mode: 0o755})
			require.False(w.t, e == 0 && w.inos[a.ino], "SETATTR reaches outside")
			w.cases++
		case 6:
			if b, e := w.call(27, node, u32s(0, 0), 16); e == 0 {
				fh := get64(b, 0)
				list, _ := w.readdir(node, fh, 0, true, 8192)
				for _, d := range list {
					require.False(w.t, d.name != ".." && w.inos[d.ino], "READDIRPLUS reaches outside")
				}
				_, _ = w.call(29, node, cat(u64s(fh), u32s(0, 0), u64s(0)), 0)
			}
			w.cases++
		case 7:
			_ = w.unlink(node, "new")
			_ = w.link(node, rootID, "new")
			w.cases++
		case 8:
			_, _ = w.call(21, node, cat(u32s(1, 0), z("user.x"), []byte("v")), 0)
			_, _ = w.call(9, node, cat(u32s(0o755, 0), z("made")), 128)
			_ = w.rmdir(node, "made")
			w.cases++
		}
	}
}

// D4: a node stays what it was when its name comes to mean something else.
func TestNodeIsNotItsName(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.Mkdir(w.path("d"), 0o755))
	w.hostFile("inside", "d", "secret")
	d := w.lookup(rootID, "d")
	f := w.lookup(d, "secret")
	w.forgetDescriptors()
	// capsa's first defect: the directory goes away and a link takes its name.
	require.NoError(t, os.Rename(w.path("d"), w.path("moved")))
	require.NoError(t, os.Symlink(w.outside, w.path("d")))
	_, e := w.openErr(f, unix.O_RDWR)
	require.Equal(t, syscall.ESTALE, e)
	_, _, e = w.lookupErr(d, "secret")
	require.Equal(t, syscall.ESTALE, e)
	// With a descriptor it is followed to where it is.
	moved := w.lookup(rootID, "moved")
	require.Equal(t, d, moved, "the same directory, the same node")
	fh := w.open(f, unix.O_RDONLY)
	require.NoError(t, os.Rename(w.path("moved"), w.path("again")))
	got, e := w.read(f, fh, 0, 100)
	require.Zero(t, e)
	require.Equal(t, "inside", string(got))
	_, e = w.getattr(f)
	require.Zero(t, e, "an open file is found by its descriptor")
	w.intact()
}

// forgetDescriptors closes all descriptors that can be had again.
func (c *client) forgetDescriptors() {
	for c.srv.budget.evict() {
	}
}

// D4: hard links inside, and file systems that are the kernel.
func TestForbiddenGround(t *testing.T) {
	if os.Geteuid() != 0 {
		skipMount(t, "mounting needs root")
	}
	top := t.TempDir()
	for _, d := range []string{"proc", "tmp", "sub"} {
		require.NoError(t, os.Mkdir(filepath.Join(top, d), 0o755))
	}
	mountAt := func(source, dir, fstype string, flags uintptr) {
		t.Helper()
		require.NoError(t, unix.Mount(source, filepath.Join(top, dir), fstype, flags, ""))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(filepath.Join(top, dir), unix.MNT_DETACH)) })
	}
	mountAt("proc", "proc", "proc", 0)
	mountAt("tmpfs", "tmp", "tmpfs", 0)
	mountAt(top, "sub", "", unix.MS_BIND)

	_, err := New(filepath.Join(top, "proc"), Options{})
	require.ErrorIs(t, err, ErrUnsupported)

	c := shareRaw(t, top, nil)
	c.init()
	_, _, e := c.lookupErr(rootID, "proc")
	require.Equal(t, syscall.EACCES, e)
	for _, d := range c.list(rootID, true, 4096) {
		require.True(t, d.name != "proc" || d.node == 0, "proc is listed, and has no node")
	}
	tmp, a, e := c.lookupErr(rootID, "tmp")
	require.Zero(t, e)
	require.EqualValues(t, attrSubmount, a.flags)
	node, fh := c.create(tmp, "file")
	require.Zero(t, c.release(node, fh))
	require.Equal(t, syscall.EXDEV, c.link(node, rootID, "hard"))
	require.Equal(t, syscall.EXDEV, c.rename(tmp, "file", rootID, "file", 0))
	// The directory bound into itself is a node of its own: no loops.
	sub := c.lookup(rootID, "sub")
	require.NotEqual(t, uint64(rootID), sub)
	require.Equal(t, syscall.EXDEV, c.rename(sub, "tmp", rootID, "x", 0))

	c = shareRaw(t, top, func(o *Options) { o.Submounts = SubmountsDeny })
	c.init()
	for _, name := range []string{"proc", "tmp", "sub"} {
		_, _, e := c.lookupErr(rootID, name)
		require.Equal(t, syscall.EXDEV, e, name)
	}
}
