package image

import (
	"archive/tar"
	"strings"
)

// Names in layers with a meaning of their own (OCI image specification, layer.md, "Whiteouts").
const (
	whiteout       = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutOther  = ".wh..wh." // notes of AUFS, which mean nothing here
)

// put applies one entry of a layer. Devices are left out: the guest has its own.
func (t *tree) put(header *tar.Header, from content) error {
	path, err := split(header.Name)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		if header.Typeflag == tar.TypeDir {
			return t.root.describe(header, from)
		}
		return nil
	}
	parent, name := path[:len(path)-1], path[len(path)-1]
	if strings.HasPrefix(name, whiteout) {
		return t.whiteout(parent, name, from.layer)
	}
	dir, err := t.dir(parent, from.layer, true)
	if err != nil {
		return err
	}
	if header.Typeflag == tar.TypeLink {
		return t.link(dir, name, header, from.layer)
	}
	if old, ok := dir.entries[name]; ok && old.kind == tar.TypeDir && header.Typeflag == tar.TypeDir {
		old.layer = from.layer
		return old.describe(header, from)
	}
	made := &entry{inode: &inode{kind: kindOf(header.Typeflag)}, layer: from.layer}
	if made.kind == 0 {
		return nil
	}
	if made.kind == tar.TypeDir {
		made.entries = map[string]*entry{}
	}
	if err := made.describe(header, from); err != nil {
		return err
	}
	return t.add(dir, name, made)
}

// kindOf is the kind of node for an entry's type, 0 for what is left out.
func kindOf(flag byte) byte {
	switch flag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return tar.TypeReg
	case tar.TypeDir, tar.TypeSymlink, tar.TypeFifo:
		return flag
	default: // TypeChar, TypeBlock, and what nobody knows
		return 0
	}
}

// whiteout takes away what lower layers have.
func (t *tree) whiteout(parent []string, name string, layer int) error {
	dir, err := t.dir(parent, layer, false)
	if err != nil || dir == nil {
		return err
	}
	hidden := name[len(whiteout):]
	switch {
	case name == whiteoutOpaque:
		t.clear(dir, layer)
	case strings.HasPrefix(name, whiteoutOther):
	case hidden == "" || hidden == "." || hidden == "..":
		return hostile("the whiteout %q names no file", name)
	default:
		t.remove(dir, hidden, layer)
	}
	return nil
}

// link makes a name of a file that is there already.
func (t *tree) link(dir *entry, name string, header *tar.Header, layer int) error {
	path, err := split(header.Linkname)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		return hostile("%q is a hard link to the root", header.Name)
	}
	from, err := t.dir(path[:len(path)-1], layer, false)
	if err != nil {
		return err
	}
	if from == nil || from.entries[path[len(path)-1]] == nil {
		return hostile("%q is a hard link to %q, which is not there", header.Name, header.Linkname)
	}
	old := from.entries[path[len(path)-1]]
	if old.kind == tar.TypeDir {
		return hostile("%q is a hard link to the directory %q", header.Name, header.Linkname)
	}
	return t.add(dir, name, &entry{inode: old.inode, layer: layer})
}

// describe takes over what a header says of a file.
func (i *inode) describe(header *tar.Header, from content) error {
	if len(header.Linkname) > maxPathSize || strings.IndexByte(header.Linkname, 0) >= 0 {
		return hostile("%q is a link to what is no path", header.Name)
	}
	i.mode = header.Mode & 0o7777
	i.uid, i.gid = header.Uid, header.Gid
	if i.uid < 0 || i.gid < 0 || int64(i.uid) > maxID || int64(i.gid) > maxID {
		return hostile("%q belongs to nobody that can be: %d:%d", header.Name, i.uid, i.gid)
	}
	i.mtime = header.ModTime
	i.xattrs = xattrsOf(header)
	switch i.kind {
	case tar.TypeReg:
		i.size, i.content = header.Size, from
	case tar.TypeSymlink:
		if i.target = header.Linkname; i.target == "" {
			return hostile("%q is a symbolic link to nothing", header.Name)
		}
	}
	return nil
}

// maxID is the largest user or group: (uid_t)-1 is nobody's.
const maxID = 1<<32 - 2

// paxXattr is the prefix of extended attributes in PAX records.
const paxXattr = "SCHILY.xattr."

// xattrsOf returns the extended attributes that are kept: a program's capabilities and what users attach. The others are
// notes of a host's kernel (trusted.overlay, security.selinux) or have another form on disk (ACLs).
func xattrsOf(header *tar.Header) map[string]string {
	var out map[string]string
	size := 0
	for key, value := range header.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || (name != "security.capability" && !strings.HasPrefix(name, "user.")) ||
			len(name) > maxNameSize || strings.ContainsAny(name, "=\x00") {
			continue
		}
		if size += len(name) + len(value) + 32; size > maxXattrSize {
			return nil
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out
}
