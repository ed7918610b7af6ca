package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// layer is one layer of an image.
type layer interface {
	// each calls fn for each entry, in the layer's order, with its number, from 0. It is called twice, and both have to
	// give the same.
	each(p *pass, fn func(n int, header *tar.Header, content io.Reader) error) error
}

// pass is one reading of all layers, within the limits.
type pass struct {
	ctx    context.Context
	limit  Limits
	budget int64 // bytes that may still come
}

func newPass(ctx context.Context, limit Limits) pass { return pass{ctx, limit, limit.Bytes} }

// stream is a layer's archive, decompressed.
type stream struct {
	io.Reader
	io.Closer
	compressed *counter // what it is made from; nil if it was not compressed
}

// each reads the archive up to its very end, where its digest is checked.
func (b blob) each(p *pass, fn func(int, *tar.Header, io.Reader) error) error {
	s, err := b.open()
	if err != nil {
		return err
	}
	defer s.Close()
	r := &cancellable{p.ctx, &guard{r: s, in: s.compressed, budget: &p.budget, ratio: p.limit.Ratio}}
	archive := tar.NewReader(r)
	for n := 0; ; n++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return broken(err)
		}
		if n >= p.limit.Files {
			return over("a layer has more than %d files", p.limit.Files)
		}
		if err := fn(n, header, archive); err != nil {
			return broken(err)
		}
	}
	_, err = io.Copy(io.Discard, r)
	return broken(err)
}

// broken types an error of reading an archive: what is not the host's fault is the archive's.
func broken(err error) error {
	switch {
	case err == nil, errors.Is(err, errEnded):
		return err
	case vm.KindOf(err) != vm.KindInternal:
		return vm.Wrap(op, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return hostile("an archive ends in the middle")
	}
	return hostile("an archive is damaged: %s", strings.TrimPrefix(err.Error(), "archive/tar: "))
}

// cancellable is a reader that ends with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := vm.ContextError(c.ctx, op); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
