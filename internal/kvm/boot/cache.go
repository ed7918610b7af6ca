package boot

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// minShared is the size from which on contents are shared, in bytes: a page that is mapped costs less than one that is copied,
// but the first mapping costs as much as 50 pages.
const minShared = 256 << 10

// copySize is how much is copied into an image at once, in bytes: it stays in the processor's cache.
const copySize = 256 << 10

// settled is how long ago a file must have changed for its identity to stand for its contents: times of files have the
// resolution of the kernel's clock tick (10 ms), that of network file systems a second.
const settled = 2 * time.Second

// Cache keeps the contents of kernel and initrd files in memory for as long as machines use them, so that machines of the same
// files share it: each maps it copy-on-write. A file is recognised by identity and times; a change of it is a new one. It is
// safe for concurrent use, and its zero value is ready.
type Cache struct {
	Now func() time.Time // the clock by which a file is old enough to be shared; nil: time.Now

	mu    sync.Mutex
	known map[imageKey]*cached // guarded by mu
}

// imageKey says whose contents an image has. Kernel and initrd take different parts of a file.
type imageKey struct {
	op string
	id fileID
}

// cached is an image, and how many machines hold it.
type cached struct {
	cache *Cache
	key   imageKey
	users int // guarded by cache.mu

	once  sync.Once
	image *guestmem.Image // nil: it cannot be shared; written by once
	err   error           // why the file could not be read; written by once
}

// Hold is what one machine holds of a cache. It is for one goroutine at a time.
type Hold struct {
	cache *Cache
	held  []*cached
}

// Hold makes an empty hold. Its owner closes it when the machine has ended.
func (c *Cache) Hold() *Hold { return &Hold{cache: c} }

// Close lets go of everything.
func (h *Hold) Close() error {
	var errs []error
	for _, e := range h.held {
		errs = append(errs, e.release())
	}
	h.held = nil
	return errors.Join(errs...)
}

// run is a piece of a file, in bytes.
type run struct{ off, size uint64 }

// image has these runs of a file at their offsets. It is nil where the file is better copied: it is small, or has just been
// written to. Errors: those of reading the file.
func (h *Hold) image(f *image, runs []run) (*guestmem.Image, error) {
	var sum uint64
	for _, r := range runs {
		sum += r.size
	}
	if h == nil || sum < minShared {
		return nil, nil
	}
	id, changed, ok := identify(f.file)
	if !ok || h.cache.since(changed) < settled {
		return nil, nil
	}
	e := h.cache.take(imageKey{f.op, id})
	h.held = append(h.held, e)
	e.once.Do(func() { e.fill(f, runs) })
	return e.image, e.err
}

func (c *Cache) since(t time.Time) time.Duration {
	if c.Now != nil {
		return c.Now().Sub(t)
	}
	return time.Since(t)
}

func (c *Cache) take(key imageKey) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known[key]
	if e == nil {
		e = &cached{cache: c, key: key}
		if c.known == nil {
			c.known = make(map[imageKey]*cached)
		}
		c.known[key] = e
	}
	e.users++
	return e
}

func (e *cached) release() error {
	e.cache.mu.Lock()
	defer e.cache.mu.Unlock()
	if e.users--; e.users > 0 {
		return nil
	}
	if e.cache.known[e.key] == e {
		delete(e.cache.known, e.key)
	}
	if e.image == nil {
		return nil
	}
	return e.image.Close()
}

// forget keeps machines to come from using what could not be made: they try again.
func (e *cached) forget() {
	e.cache.mu.Lock()
	defer e.cache.mu.Unlock()
	if e.cache.known[e.key] == e {
		delete(e.cache.known, e.key)
	}
}

// fill makes the image. Where the host gives no memory for one, or the file changes meanwhile, there is none, and machines make
// copies.
func (e *cached) fill(f *image, runs []run) {
	img, err := guestmem.NewImage("capsa:"+f.op, f.size, func(w io.WriterAt) error {
		buf := make([]byte, copySize)
		for _, r := range runs {
			for done := uint64(0); done < r.size; {
				p := buf[:min(copySize, r.size-done)]
				if e.err = f.readAt(p, r.off+done); e.err != nil {
					return e.err
				}
				if _, err := w.WriteAt(p, int64(r.off+done)); err != nil {
					return err
				}
				done += uint64(len(p))
			}
		}
		return nil
	})
	if err == nil {
		if id, _, ok := identify(f.file); ok && id == e.key.id {
			e.image = img
			return
		}
		_ = img.Close() // nobody has it
	}
	e.forget()
}
