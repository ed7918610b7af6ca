package image

import (
	"archive/tar"
	"strings"
	"time"
)

// inode is a file of the result. Several entries may be the same file: hard links.
type inode struct {
	kind    byte // tar.TypeReg, TypeDir, TypeSymlink or TypeFifo
	mode    int64
	uid     int
	gid     int
	size    int64 // of a regular file, in bytes
	mtime   time.Time
	xattrs  map[string]string
	target  string            // of a symbolic link
	entries map[string]*entry // of a directory
	content content           // of a regular file
}

// content says where a regular file's bytes are: the n-th entry of a layer.
type content struct{ layer, n int }

// entry is a name in a directory.
type entry struct {
	*inode
	layer int // that made the entry or changed it last
}

// tree is a file system in memory, without the content of its files. Paths in it never leave it.
type tree struct {
	root  *entry
	nodes int // entries, the root included
	limit Limits
}

func newTree(limit Limits) *tree {
	return &tree{root: &entry{inode: newDir()}, nodes: 1, limit: limit}
}

func newDir() *inode {
	return &inode{kind: tar.TypeDir, mode: 0o755, entries: map[string]*entry{}}
}

// split checks a path of a layer and returns its components. A leading slash means the root, like everything else.
func split(path string) ([]string, error) {
	if len(path) > maxPathSize {
		return nil, hostile("a path of %d bytes", len(path))
	}
	if strings.IndexByte(path, 0) >= 0 {
		return nil, hostile("a path with a NUL: %q", path)
	}
	var out []string
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case name == "" || name == ".":
		case name == "..":
			return nil, hostile("the path %q has \"..\" in it", path)
		case len(name) > maxNameSize:
			return nil, hostile("a name of %d bytes in %.60q…", len(name), path)
		default:
			out = append(out, name)
		}
	}
	return out, nil
}

// dir returns the directory at a path. Symbolic links are followed inside the tree, as they would be in the guest. What
// is missing is made, on behalf of a layer, if make is set; without it, missing is nil.
func (t *tree) dir(path []string, layer int, makeIt bool) (*entry, error) {
	walk := walker{t: t, layer: layer, makeIt: makeIt, at: []*entry{t.root}}
	if err := walk.along(path); err != nil || walk.missing {
		return nil, err
	}
	return walk.at[len(walk.at)-1], nil
}

// walker is one walk along a path.
type walker struct {
	t        *tree
	layer    int
	makeIt   bool
	missing  bool
	followed int
	at       []*entry // from the root to where the walk is
}

func (w *walker) along(path []string) error {
	for _, name := range path {
		if name == ".." { // in a link's target alone; at the root it goes nowhere
			w.at = w.at[:max(1, len(w.at)-1)]
			continue
		}
		if err := w.step(name); err != nil || w.missing {
			return err
		}
	}
	return nil
}

func (w *walker) step(name string) error {
	here := w.at[len(w.at)-1]
	next, ok := here.entries[name]
	switch {
	case !ok && !w.makeIt:
		w.missing = true
		return nil
	case !ok:
		next = &entry{inode: newDir(), layer: w.layer}
		if err := w.t.add(here, name, next); err != nil {
			return err
		}
		fallthrough
	case next.kind == tar.TypeDir:
		w.at = append(w.at, next)
		if len(w.at) > maxPathSize/2 {
			return hostile("directories deeper than a path can say")
		}
		return nil
	case next.kind == tar.TypeSymlink:
		if w.followed++; w.followed > maxFollow {
			return hostile("too many symbolic links at %q", name)
		}
		if strings.HasPrefix(next.target, "/") {
			w.at = w.at[:1]
		}
		return w.along(targetParts(next.target))
	default:
		return hostile("a path goes through %q, which is not a directory", name)
	}
}

// targetParts splits a symbolic link's target; ".." stays.
func targetParts(target string) []string {
	var out []string
	for name := range strings.SplitSeq(target, "/") {
		if name != "" && name != "." {
			out = append(out, name)
		}
	}
	return out
}

// add puts an entry into a directory, or in the place of one.
func (t *tree) add(dir *entry, name string, e *entry) error {
	if old, ok := dir.entries[name]; ok {
		t.nodes -= count(old)
	}
	if t.nodes += count(e); t.nodes > t.limit.Files {
		return over("the image has more than %d files", t.limit.Files)
	}
	dir.entries[name] = e
	return nil
}

// remove takes away what lower layers have at a name; what this layer has put below it stays.
func (t *tree) remove(dir *entry, name string, layer int) {
	e, ok := dir.entries[name]
	if !ok || (e.layer == layer && e.kind != tar.TypeDir) {
		return
	}
	if e.kind == tar.TypeDir {
		t.clear(e, layer)
		if e.layer == layer || len(e.entries) > 0 {
			return
		}
	}
	t.nodes -= count(e)
	delete(dir.entries, name)
}

// clear takes away what lower layers have in a directory.
func (t *tree) clear(dir *entry, layer int) {
	for name := range dir.entries {
		t.remove(dir, name, layer)
	}
}

// count is the number of entries from e on down.
func count(e *entry) int {
	n := 1
	for _, child := range e.entries {
		n += count(child)
	}
	return n
}
