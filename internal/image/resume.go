package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/libcapsa/libcapsa/internal/vm"
)

const (
	maxDownloads = 3 // at the same time
	maxAttempts  = 5 // at one blob, as long as each brings something
)

// fetch downloads the layers that the store does not have, and returns all of them.
func (p *puller) fetch(ctx context.Context, img v1.Image, f facts) ([]layer, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, registryError(err)
	}
	if len(manifest.Layers) != len(f.diffIDs) {
		return nil, hostile("the image has %d layers and names %d", len(manifest.Layers), len(f.diffIDs))
	}
	meter := meter{tell: p.options.tell("download")}
	for _, d := range manifest.Layers {
		if d.Digest.Algorithm != "sha256" || d.Size < 0 {
			return nil, hostile("a layer is named %q and has %d bytes", d.Digest, d.Size)
		}
		meter.total += d.Size
	}
	if limit := p.options.Limits.withDefaults(); meter.total > limit.Bytes || meter.total < 0 {
		return nil, over("the image's layers have %d bytes", meter.total)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxDownloads)
	out := make([]layer, len(manifest.Layers))
	for n, d := range manifest.Layers {
		out[n] = fileBlob(p.store.path(blobs, d.Digest.Hex), f.diffIDs[n])
		group.Go(func() error { return p.blob(ctx, d, &meter) })
	}
	return out, group.Wait()
}

// blob downloads one layer, unless it is there. What an earlier attempt got stays in a file beside it, and the next goes
// on from there.
func (p *puller) blob(ctx context.Context, d v1.Descriptor, m *meter) error {
	path := p.store.path(blobs, d.Digest.Hex)
	unlock, err := p.store.lock(ctx, d.Digest.Hex)
	if err != nil {
		return err
	}
	defer unlock()
	if info, err := os.Stat(path); err == nil && info.Size() == d.Size {
		m.add(d.Size)
		return nil
	}
	part, err := os.OpenFile(path+partSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return vm.Wrap(op, err)
	}
	defer part.Close()
	for attempt := 1; ; attempt++ {
		got, err := p.attempt(ctx, d, part, m)
		if err == nil {
			return vm.Wrap(op, finish(part, path))
		}
		if ctx.Err() != nil || attempt == maxAttempts || got == 0 {
			return registryError(err)
		}
	}
}

// attempt goes on with a download, and returns how many bytes it brought.
func (p *puller) attempt(ctx context.Context, d v1.Descriptor, part *os.File, m *meter) (int64, error) {
	info, err := part.Stat()
	if err != nil {
		return 0, err
	}
	r := &resume{part: part, have: max(0, min(info.Size(), d.Size-1)), size: d.Size} // no range is empty
	ctx = context.WithValue(ctx, resumeKey{}, r)
	l, err := remote.Layer(p.ref.Context().Digest(d.Digest.String()), p.with(ctx)...)
	if err != nil {
		return 0, err
	}
	body, err := l.Compressed()
	if err != nil {
		return 0, err
	}
	defer body.Close()
	w := &tail{f: part, skip: r.have, meter: m}
	if err := part.Truncate(r.have); err != nil {
		return 0, err
	}
	// The digest of all of it is checked by the reader, what was there before included.
	_, err = io.Copy(w, body)
	if err == nil && w.at != d.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && w.at == d.Size {
		err = errors.Join(err, part.Truncate(0)) // it is complete, and not what it should be
		return 0, hostile("%w", err)
	}
	return w.at - r.have, err
}

// tail writes a stream's end to a file that has its beginning already.
type tail struct {
	f     *os.File
	skip  int64 // bytes that are there
	at    int64 // bytes of the stream so far
	meter *meter
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	start := max(0, min(int64(n), t.skip-t.at))
	if _, err := t.f.WriteAt(p[start:], t.at+start); err != nil {
		return 0, err
	}
	t.at += int64(n)
	t.meter.add(int64(n))
	return n, nil
}

// meter adds up what several downloads bring.
type meter struct {
	mu    sync.Mutex
	done  int64 // guarded by mu
	total int64
	tell  func(done, total int64) // called under mu: one at a time
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	m.tell(min(m.done, m.total), m.total) // bytes that were fetched twice count once
}

// resume is the beginning of a blob that is there; it travels in the request's context.
type resume struct {
	part *os.File
	have int64 // bytes; 0 once the server has said that it begins anew
	size int64 // of the whole blob
}

type resumeKey struct{}

// resumer lets the registry's client fetch the rest of a blob without knowing: it asks for a range (RFC 9110 section
// 14.2), and puts what is there in front of what comes, so that the client sees, and checks, all of it.
type resumer struct{ next http.RoundTripper }

func (t *resumer) RoundTrip(req *http.Request) (*http.Response, error) {
	r, ok := req.Context().Value(resumeKey{}).(*resume)
	if !ok || r.have == 0 || req.Method != http.MethodGet || !ofBlob(req) {
		return t.next.RoundTrip(req)
	}
	ranged := req.Clone(req.Context())
	ranged.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.have, r.size-1))
	resp, err := t.next.RoundTrip(ranged)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		var from, to, size int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil || from != r.have {
			resp.Body.Close()
			r.have = 0
			return t.next.RoundTrip(req)
		}
		resp.StatusCode, resp.Status = http.StatusOK, "200 OK"
		resp.ContentLength = size
		resp.Header.Set("Content-Length", fmt.Sprint(size))
		resp.Body = spliced{io.MultiReader(io.NewSectionReader(r.part, 0, r.have), resp.Body), resp.Body}
	case http.StatusRequestedRangeNotSatisfiable:
		resp.Body.Close()
		r.have = 0
		return t.next.RoundTrip(req)
	case http.StatusOK:
		r.have = 0 // the server does not do ranges
	}
	return resp, nil
}

// ofBlob says whether a request is for a blob, or for where the registry has sent us for one; others ask for a token.
func ofBlob(req *http.Request) bool {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return strings.Contains(req.URL.Path, "/blobs/sha256:")
}

// spliced reads from one and closes the other.
type spliced struct {
	io.Reader
	io.Closer
}
