//go:build linux

package fuse

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestDifferential does the same, at random, in a directory of the host and in
// a mount: every system call ends the same way, and the trees are the same.
// CAPSA_FUSE_STEPS is how many steps each seed has.
func TestDifferential(t *testing.T) {
	steps := 500
	if v, err := strconv.Atoi(os.Getenv("CAPSA_FUSE_STEPS")); err == nil {
		steps = v
	}
	for name, change := range map[string]func(*Options){
		"auto":   func(*Options) {},
		"none":   func(o *Options) { o.Cache = CacheNone },
		"always": func(o *Options) { o.Cache = CacheAlways },
		"acl":    func(o *Options) { o.ACL = true },
		"tight":  func(o *Options) { o.MaxFiles, o.MaxInodes = 40, 2000 },
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s %d", name, seed), func(t *testing.T) {
				opt := faithful()
				change(&opt)
				plain, behind := t.TempDir(), t.TempDir()
				m := mount(t, behind, opt, 4)
				for _, dir := range []string{plain, behind} {
					require.NoError(t, unix.Chmod(dir, 0o777))
				}
				d := &differ{t: t, rng: rand.New(rand.NewPCG(seed, 9)), a: plain, b: m.dir}
				defer d.close()
				d.run(steps)
				d.close()
				require.Equal(t, tree(t, plain), tree(t, behind))
			})
		}
	}
}

// differ does things twice.
type differ struct {
	t    *testing.T
	rng  *rand.Rand
	a, b string // the two roots
	fds  [][2]int
}

// users are who does things, on the thread of the test.
var users = []int{0, 0, 1000, 1001}

func (d *differ) run(steps int) {
	// File system ids are the thread's own, and there is no way back for the
	// capabilities but to be root again.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	succeeded := 0
	for i := range steps {
		who := users[d.rng.IntN(len(users))]
		require.NoError(d.t, unix.Setfsgid(who))
		require.NoError(d.t, unix.Setfsuid(who))
		what, ra, rb := d.step()
		_ = unix.Setfsuid(0)
		_ = unix.Setfsgid(0)
		require.Equal(d.t, ra, rb, "step %d as %d: %s", i, who, what)
		if strings.HasSuffix(ra, "<nil>") {
			succeeded++
		}
	}
	d.t.Logf("%d of %d steps succeeded", succeeded, steps)
}

func (d *differ) close() {
	for _, f := range d.fds {
		_ = unix.Close(f[0])
		_ = unix.Close(f[1])
	}
	d.fds = nil
}

// name is a path below the roots.
func (d *differ) name() string {
	parts := []string{"a", "b", "c", "dir", "f", "l"}
	n := []int{1, 1, 1, 1, 2, 2, 3}[d.rng.IntN(7)]
	var p []string
	for range n {
		p = append(p, parts[d.rng.IntN(len(parts))])
	}
	s := strings.Join(p, "/")
	switch d.rng.IntN(60) {
	case 0:
		s += "/" + strings.Repeat("n", 255)
	case 1:
		s += "/" + strings.Repeat("n", 256)
	case 2:
		s += "/."
	case 3:
		s += "/"
	case 4:
		s += "/.."
	}
	return s
}

// both does something in both roots.
func (d *differ) both(what string, fn func(root string) (string, error)) (string, string, string) {
	ra, ea := fn(d.a + "/")
	rb, eb := fn(d.b + "/")
	return what, fmt.Sprint(ra, " ", ea), fmt.Sprint(rb, " ", eb)
}

// step is one thing, chosen at random.
func (d *differ) step() (what, ra, rb string) {
	x, y := d.name(), d.name()
	mode := uint32(d.rng.IntN(0o1000))
	if d.rng.IntN(2) == 0 {
		mode |= 0o711
	}
	if d.rng.IntN(3) == 0 {
		mode |= uint32(d.rng.IntN(8)) << 9
	}
	plain := func(what string, fn func(root string) error) (string, string, string) {
		return d.both(what, func(root string) (string, error) { return "", fn(root) })
	}
	switch d.rng.IntN(20) {
	case 0, 1:
		return plain("mkdir "+x, func(r string) error { return unix.Mkdir(r+x, mode) })
	case 2:
		return plain("rmdir "+x, func(r string) error { return unix.Rmdir(r + x) })
	case 3:
		return plain("unlink "+x, func(r string) error { return unix.Unlink(r + x) })
	case 4, 5:
		flags := []uint{0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[d.rng.IntN(4)]
		return plain(fmt.Sprintf("rename %s %s %d", x, y, flags), func(r string) error {
			return unix.Renameat2(unix.AT_FDCWD, r+x, unix.AT_FDCWD, r+y, flags)
		})
	case 6:
		return plain("link "+x+" "+y, func(r string) error { return unix.Link(r+x, r+y) })
	case 7:
		target := []string{"a", "../b", "dir/f", "nowhere", "l", strings.Repeat("x", 300)}[d.rng.IntN(6)]
		return plain("symlink "+x, func(r string) error { return unix.Symlink(target, r+x) })
	case 8:
		return plain(fmt.Sprintf("chmod %s %o", x, mode), func(r string) error { return unix.Chmod(r+x, mode) })
	case 9:
		uid, gid := []int{-1, 0, 1000, 1001}[d.rng.IntN(4)], []int{-1, 0, 1000, 1001}[d.rng.IntN(4)]
		if uid < 0 && gid < 0 {
			gid = 0 // drops set-ID bits on the host; Linux's FUSE client does not even ask the server
		}
		return plain(fmt.Sprintf("lchown %s %d %d", x, uid, gid), func(r string) error { return unix.Lchown(r+x, uid, gid) })
	case 10:
		size := int64(d.rng.IntN(20_000))
		return plain("truncate "+x, func(r string) error { return unix.Truncate(r+x, size) })
	case 11:
		times := []unix.Timespec{{Sec: int64(d.rng.IntN(1e9))}, {Sec: int64(d.rng.IntN(1e9))}}
		return plain("utimens "+x, func(r string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, r+x, times, unix.AT_SYMLINK_NOFOLLOW)
		})
	case 12:
		return d.both("readlink "+x, func(r string) (string, error) {
			b := make([]byte, 400)
			n, err := unix.Readlink(r+x, b)
			return string(b[:max(n, 0)]), err
		})
	case 13:
		typ := []uint32{unix.S_IFIFO, unix.S_IFREG, unix.S_IFSOCK}[d.rng.IntN(3)]
		return plain("mknod "+x, func(r string) error { return unix.Mknod(r+x, typ|mode, 0) })
	case 14:
		return d.both("stat "+x, func(r string) (string, error) { return describe(r + x) })
	case 15:
		value, flags := []byte(fmt.Sprint(d.rng.IntN(1000))), d.rng.IntN(3) // none, XATTR_CREATE, XATTR_REPLACE
		return plain("setxattr "+x, func(r string) error { return unix.Lsetxattr(r+x, "user.t", value, flags) })
	case 16:
		return d.both("getxattr "+x, func(r string) (string, error) {
			b := make([]byte, 100)
			n, err := unix.Lgetxattr(r+x, "user.t", b)
			return string(b[:max(n, 0)]), err
		})
	default:
		return d.file(x, mode)
	}
}

// file opens a file, does something with it, and sometimes keeps it open.
func (d *differ) file(x string, mode uint32) (what, ra, rb string) {
	flags := []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_CREAT, unix.O_RDWR | unix.O_CREAT | unix.O_EXCL,
		unix.O_WRONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT, unix.O_RDONLY | unix.O_DIRECTORY}[d.rng.IntN(8)]
	if d.rng.IntN(8) == 0 {
		flags |= unix.O_NOFOLLOW
	}
	data, off := []byte(strings.Repeat(string(rune('a'+d.rng.IntN(26))), 1+d.rng.IntN(6000))), int64(d.rng.IntN(10_000))
	write, keep := d.rng.IntN(2) == 0, d.rng.IntN(10) == 0
	if len(d.fds) > 5 {
		f := d.fds[0]
		d.fds = d.fds[1:]
		_ = unix.Close(f[0])
		_ = unix.Close(f[1])
	}
	var kept [2]int
	side := 0
	what, ra, rb = d.both(fmt.Sprintf("open %s %#x %o", x, flags, mode), func(r string) (string, error) {
		fd, err := unix.Open(r+x, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, mode)
		if err != nil {
			return "", err
		}
		var text string
		if write && flags&unix.O_APPEND != 0 {
			n, err := unix.Write(fd, data)
			text = fmt.Sprint(n, err)
		} else if write {
			n, err := unix.Pwrite(fd, data, off)
			text = fmt.Sprint(n, err)
		} else {
			b := make([]byte, 8000)
			n, err := unix.Pread(fd, b, off)
			text = fmt.Sprint(n, err, string(b[:max(n, 0)]))
		}
		if keep {
			kept[side] = fd
		} else {
			_ = unix.Close(fd)
		}
		side++
		return text, nil
	})
	if keep && side == 2 {
		d.fds = append(d.fds, kept)
	}
	return what, ra, rb
}

// describe is what stat(2) says of a name, but for what must differ.
func describe(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	size, nlink := st.Size, st.Nlink
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0 // ext4's directories grow by history
	}
	return fmt.Sprintf("%o %d:%d %d %d", st.Mode, st.Uid, st.Gid, nlink, size), nil
}

// tree is all there is below a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		text, err := describe(path)
		if err != nil {
			return err
		}
		switch {
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(b)
			x := make([]byte, 100)
			if n, err := unix.Getxattr(path, "user.t", x); err == nil {
				text += " " + string(x[:n])
			}
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + target
		}
		all = append(all, strings.TrimPrefix(path, dir)+" "+text)
		return nil
	}))
	sort.Strings(all)
	return all
}
