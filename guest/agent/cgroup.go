//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// cgroups gives each program a control group of its own (cgroup v2): to kill all that
// came from it, to limit it, and to see whether memory ran out.
type cgroups struct {
	dir    string
	limits bool // memory and pids can be limited

	mu   sync.Mutex
	left []string // groups whose program has ended and others have not; guarded by mu
}

// openCgroups makes a directory for groups below root, where cgroup v2 is mounted; nil:
// there is none, or it is not this process's to use.
func openCgroups(root string) *cgroups {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		return nil
	}
	c := &cgroups{dir: filepath.Join(root, "capsa")}
	if err := os.Mkdir(c.dir, 0o755); err != nil && !os.IsExist(err) {
		return nil
	}
	c.limits = true
	for _, dir := range []string{root, c.dir} {
		for _, controller := range []string{"+memory", "+pids"} {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(controller), 0); err != nil {
				c.limits = false
			}
		}
	}
	return c
}

// group is one program's.
type group struct {
	c   *cgroups
	dir string
	fd  int
}

// make makes a group. Limits of 0 are none.
func (c *cgroups) make(id uint64, memory, pids uint64) (*group, error) {
	dir := filepath.Join(c.dir, strconv.FormatUint(id, 10))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	g := &group{c: c, dir: dir, fd: -1}
	var err error
	for _, l := range []struct {
		file  string
		value uint64
	}{{"memory.max", memory}, {"pids.max", pids}} {
		if l.value > 0 && err == nil {
			err = g.write(l.file, strconv.FormatUint(l.value, 10))
		}
	}
	if memory > 0 && err == nil {
		_ = g.write("memory.swap.max", "0") // a kernel without swap has no such file
	}
	if err == nil {
		g.fd, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	return g, nil
}

func (g *group) write(file, text string) error {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0)
}

// kill kills everything in it.
func (g *group) kill() error { return g.write("cgroup.kill", "1") }

// oom says whether the kernel killed one of its processes for want of memory.
func (g *group) oom() bool { return field(filepath.Join(g.dir, "memory.events"), "oom_kill") > 0 }

// close forgets the group, and removes it now or, if processes are left, with them.
func (g *group) close() {
	unix.Close(g.fd)
	if os.Remove(g.dir) == nil {
		return
	}
	g.c.mu.Lock()
	g.c.left = append(g.c.left, g.dir)
	g.c.mu.Unlock()
}

// sweep removes groups that have become empty.
func (c *cgroups) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.left[:0]
	for _, dir := range c.left {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			kept = append(kept, dir)
		}
	}
	c.left = kept
}

// field is a number in a file of lines "name number", 0 if it is not there.
func field(file, name string) uint64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}
