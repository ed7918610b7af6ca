//go:build linux

package agent

import (
	"fmt"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// defaultPath is Debian's for root, and what Docker has.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// user is who a program runs as.
type user struct {
	uid, gid int
	groups   []uint32
	name     string
	home     string
	shell    string
}

// resolve finds out everything about a program that needs no stream.
func (l *launch) resolve() error {
	q := l.q
	if len(q.Args) == 0 || len(q.Args[0]) == 0 {
		return fmt.Errorf("no program is given: %w", syscall.EINVAL)
	}
	for _, arg := range q.Args {
		l.args = append(l.args, string(arg))
	}
	var err error
	if l.user, err = findUser(q.User); err != nil {
		return err
	}
	l.env = l.environment()
	l.attr.Env = l.env
	l.attr.Dir = string(q.Dir)
	if l.attr.Dir == "" {
		l.attr.Dir = l.user.home
		if info, err := os.Stat(l.attr.Dir); err != nil || !info.IsDir() {
			l.attr.Dir = "/"
		}
	}
	if info, err := os.Stat(l.attr.Dir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("working directory: %s: %w", l.attr.Dir, syscall.ENOTDIR)
	}
	if l.path, err = lookPath(l.args[0], l.attr.Dir, l.env); err != nil {
		return err
	}
	if l.user.uid != os.Getuid() || l.user.gid != os.Getgid() || q.User != "" {
		l.sys.Credential = &syscall.Credential{Uid: uint32(l.user.uid), Gid: uint32(l.user.gid), Groups: l.user.groups}
	}
	return nil
}

// environment is the agent's defaults and the request's variables.
func (l *launch) environment() []string {
	var env []string
	if !l.q.EnvOnly {
		env = append(env, "PATH="+defaultPath, "HOME="+l.user.home, "USER="+l.user.name, "LOGNAME="+l.user.name, "SHELL="+l.user.shell)
		if l.q.Tty {
			env = append(env, "TERM=xterm-256color")
		}
	}
	place := map[string]int{}
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		place[name] = i
	}
	for _, b := range l.q.Env {
		e := string(b)
		name, _, _ := strings.Cut(e, "=")
		if i, there := place[name]; there {
			env[i] = e
			continue
		}
		place[name] = len(env)
		env = append(env, e)
	}
	return env
}

// lookPath finds a program as execvp(3) does, in the program's own PATH.
func lookPath(name, dir string, env []string) (string, error) {
	executable := func(path string) error {
		full := path
		if !filepath.IsAbs(full) {
			full = filepath.Join(dir, full)
		}
		info, err := os.Stat(full)
		switch {
		case err != nil:
			return err
		case info.IsDir(), info.Mode()&0o111 == 0:
			return fmt.Errorf("%s: %w", path, syscall.EACCES)
		}
		return nil
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	path := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for d := range strings.SplitSeq(path, ":") {
		if d == "" {
			d = "."
		}
		if p := d + "/" + name; executable(p) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: no such program in PATH: %w", name, unix.ENOENT)
}

// findUser finds a user by "", "name", "number", and either with ":group".
func findUser(spec string) (user, error) {
	if spec == "" {
		u := user{uid: os.Getuid(), gid: os.Getgid(), name: "root", home: "/root", shell: "/bin/sh"}
		if known, err := osuser.LookupId(strconv.Itoa(u.uid)); err == nil {
			u.name, u.home = known.Username, known.HomeDir
		}
		return u, nil
	}
	who, group, hasGroup := strings.Cut(spec, ":")
	u := user{home: "/", shell: "/bin/sh", name: who}
	number, notNumber := strconv.ParseUint(who, 10, 31)
	lookup := osuser.Lookup
	if notNumber == nil {
		lookup = osuser.LookupId
	}
	known, err := lookup(who)
	switch {
	case err == nil:
		u.name, u.home = known.Username, known.HomeDir
		u.uid, _ = strconv.Atoi(known.Uid)
		u.gid, _ = strconv.Atoi(known.Gid)
		ids, _ := known.GroupIds()
		for _, id := range ids {
			if n, err := strconv.ParseUint(id, 10, 32); err == nil {
				u.groups = append(u.groups, uint32(n))
			}
		}
	case notNumber == nil: // a number needs no entry
		u.uid = int(number)
	default:
		return user{}, fmt.Errorf("no user %q: %w", who, unix.ENOENT)
	}
	if hasGroup {
		u.groups = nil
		g, err := osuser.LookupGroup(group)
		if err == nil {
			u.gid, _ = strconv.Atoi(g.Gid)
			return u, nil
		}
		n, bad := strconv.ParseUint(group, 10, 31)
		if bad != nil {
			return user{}, fmt.Errorf("no group %q: %w", group, unix.ENOENT)
		}
		u.gid = int(n)
	}
	return u, nil
}
