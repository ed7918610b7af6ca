package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/Microsoft/hcsshim/ext4/tar2ext4"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// pack writes what the layers amount to into f, as an ext4 file system. It reads each layer twice: once for the names,
// to learn what the uppermost layers leave of it, and once for the content of that.
func pack(ctx context.Context, f *os.File, layers []layer, limit Limits, progress func(done, total int64)) error {
	limit = limit.withDefaults()
	if len(layers) > maxLayers {
		return over("the image has %d layers", len(layers))
	}
	t := newTree(limit)
	names := newPass(ctx, limit)
	for number, l := range layers {
		err := l.each(&names, func(n int, header *tar.Header, _ io.Reader) error { return t.put(header, content{number, n}) })
		if err != nil {
			return err
		}
	}
	return convert(f, limit, func(out *tar.Writer) error {
		p := packer{pass: newPass(ctx, limit), out: out, paths: map[*inode]string{}, progress: progress}
		return p.write(t, layers)
	})
}

// convert makes a file system of the archive that write writes.
func convert(f *os.File, limit Limits, write func(*tar.Writer) error) error {
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	safe.Go("image: file system", func(err error) { _ = reader.CloseWithError(errEnded); done <- err }, func() {
		err := tar2ext4.Convert(reader, f, tar2ext4.MaximumDiskSize(2*limit.Bytes))
		_ = reader.CloseWithError(errEnded)
		done <- err
	})
	out := tar.NewWriter(writer)
	err := write(out)
	if err == nil {
		err = out.Close()
	}
	_ = writer.CloseWithError(err) // nil: the end of the archive
	made := <-done
	if err != nil && !errors.Is(err, errEnded) {
		return vm.Wrap(op, err)
	}
	if made != nil {
		return vm.Errorf(vm.KindOf(made), op, "making the file system: %w", made)
	}
	return nil
}

// errEnded is what the archive's writer sees when its reader has stopped, for a reason of its own.
var errEnded = errors.New("the file system's writer has ended")

// packer turns a tree into one archive: directories first, then files in the order in which their layers have them, then
// all names that files have besides their first.
type packer struct {
	pass
	out      *tar.Writer
	paths    map[*inode]string // the first name of each file
	links    []*tar.Header
	done     int64
	total    int64
	progress func(done, total int64)
}

func (p *packer) write(t *tree, layers []layer) error {
	wanted := make([]map[int]*inode, len(layers))
	for n := range wanted {
		wanted[n] = map[int]*inode{}
	}
	if err := p.names(t.root, "", wanted); err != nil {
		return err
	}
	for number, l := range layers {
		err := l.each(&p.pass, func(n int, header *tar.Header, content io.Reader) error {
			i, ok := wanted[number][n]
			if !ok {
				return nil
			}
			delete(wanted[number], n)
			return p.file(i, header, content)
		})
		if err != nil {
			return err
		}
		for _, missing := range wanted[number] {
			return hostile("layer %d is not what it was: %q is gone", number, p.paths[missing])
		}
	}
	for _, header := range p.links {
		if err := p.out.WriteHeader(header); err != nil {
			return err
		}
	}
	return nil
}

// names writes directories and everything without content, and notes the regular files by where their content is. Its
// recursion is as deep as a path is long.
func (p *packer) names(dir *entry, path string, wanted []map[int]*inode) error {
	if err := p.out.WriteHeader(dir.header(path + "/")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(dir.entries)) {
		e, full := dir.entries[name], path+"/"+name
		if e.kind == tar.TypeDir {
			if err := p.names(e, full, wanted); err != nil {
				return err
			}
			continue
		}
		if first, ok := p.paths[e.inode]; ok {
			p.links = append(p.links, &tar.Header{Typeflag: tar.TypeLink, Name: full, Linkname: first, Format: tar.FormatPAX})
			continue
		}
		p.paths[e.inode] = full
		if e.kind == tar.TypeReg {
			wanted[e.content.layer][e.content.n] = e.inode
			p.total += e.size
			continue
		}
		if err := p.out.WriteHeader(e.header(full)); err != nil {
			return err
		}
	}
	return nil
}

// file copies a regular file from its layer.
func (p *packer) file(i *inode, header *tar.Header, content io.Reader) error {
	if header.Size != i.size {
		return hostile("%q had %d bytes and now has %d", p.paths[i], i.size, header.Size)
	}
	if err := p.out.WriteHeader(i.header(p.paths[i])); err != nil {
		return err
	}
	if _, err := io.Copy(p.out, content); err != nil {
		return err
	}
	if p.done += i.size; p.progress != nil {
		p.progress(p.done, p.total)
	}
	return nil
}

// header is the file's own, in the form of PAX, which has room for everything.
func (i *inode) header(path string) *tar.Header {
	h := &tar.Header{
		Typeflag: i.kind, Name: path, Mode: i.mode, Uid: i.uid, Gid: i.gid, Format: tar.FormatPAX,
		ModTime: i.mtime, AccessTime: i.mtime, ChangeTime: i.mtime,
	}
	switch i.kind {
	case tar.TypeReg:
		h.Size = i.size
	case tar.TypeSymlink:
		h.Linkname = i.target
	}
	for name, value := range i.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+name] = value
	}
	return h
}
