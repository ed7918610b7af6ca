package guestmem

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a transparent huge page, and of a second-level EPT/NPT leaf, on amd64; on arm64 with 4 KiB pages too.
const hugePage = 2 << 20

// maxNameSize is the longest name that memfd_create takes, without its terminating zero (memfd_create(2): 249 bytes).
const maxNameSize = 249

// Alloc makes the RAM of a machine: one memfd for all spans, mapped shared. Every region keeps the alignment of its guest
// address modulo 2 MiB, both in the file and in the host's address space, so that the kernel can use huge pages on both
// sides; the gaps this leaves in the file hold no memory. Beside every region lie guard pages.
//
// The file is sealed against shrinking, growing and further sealing: nobody who gets the descriptor can truncate the pages away from under
// us. Mappings are not inherited across fork, and advised to use huge pages (best effort). Pages are allocated when touched.
//
// Spans are multiples of the page size. Errors: ErrLayout, or *os.SyscallError; and then nothing is left behind.
func Alloc(name string, spans ...Span) (*Memory, error) {
	if err := checkSpans(spans); err != nil {
		return nil, err
	}
	page := uint64(os.Getpagesize())
	for _, s := range spans {
		if s.Base%page != 0 || s.Size%page != 0 {
			return nil, fmt.Errorf("%w: region %v: not a multiple of the page size", ErrLayout, s)
		}
	}
	offsets, size := placeInFile(spans)
	fd, err := memfd(name, size)
	if err != nil {
		return nil, err
	}
	b := &mappedFile{fd: fd, page: page, huge: true}
	if err := seal(fd, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, errors.Join(err, b.unmap())
	}
	regions := make([]Region, len(spans))
	for i, s := range spans {
		data, err := b.mapRegion(s, offsets[i])
		if err != nil {
			return nil, errors.Join(err, b.unmap())
		}
		regions[i] = Region{Span: s, Bytes: data, File: fd, Offset: offsets[i]}
	}
	m, err := build(regions, b)
	if err != nil {
		return nil, errors.Join(err, b.unmap())
	}
	return m, nil
}

// placeInFile gives every span an offset congruent to its base modulo a huge page.
func placeInFile(spans []Span) (offsets []int64, size int64) {
	var end uint64
	offsets = make([]int64, len(spans))
	for i, s := range spans {
		off := end + (s.Base-end)%hugePage
		offsets[i] = int64(off) // at most maxTotal and a huge page for each span
		end = off + s.Size
	}
	return offsets, int64(end)
}

// memfd makes a file of size zeroes that can be sealed.
func memfd(name string, size int64) (fd int, err error) {
	if len(name) > maxNameSize {
		name = name[:maxNameSize]
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err = unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3 does not know NOEXEC_SEAL
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if err = retry(func() error { return unix.Ftruncate(fd, size) }); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("ftruncate", err)
	}
	return fd, nil
}

func seal(fd, seals int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
}

// retry repeats a call that a signal interrupted. ftruncate of a memfd does not block, so this ends.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// mappedFile is the backing of Alloc. Memory's lock guards it, but for discard, which may take long.
type mappedFile struct {
	page     uint64    // host page size, bytes
	reserved []reserve // one for each region

	// A leaf. Whoever uses the file's number holds it for reading, so that the number cannot become another file's meanwhile.
	mu sync.RWMutex
	fd int // -1: closed; guarded by mu

	imageMu sync.Mutex // taken after mu
	images  extents    // where pages of images are mapped, and not the file; guarded by imageMu
	huge    bool       // the advice; guarded by imageMu
}

// mapRegion maps one span, with at least a guard page on both sides.
func (f *mappedFile) mapRegion(s Span, offset int64) ([]byte, error) {
	length := s.Size + hugePage + 2*f.page
	if length > math.MaxInt {
		return nil, ErrLayout
	}
	r, err := newReserve(length)
	if err != nil {
		return nil, err
	}
	f.reserved = append(f.reserved, r)
	data, err := f.reserved[len(f.reserved)-1].mapFile(f.fd, offset, s, f.page)
	if err != nil {
		return nil, err
	}
	return data, advise(data, f.huge)
}

// advise sets what every mapping of guest memory has.
func advise(data []byte, huge bool) error {
	// A child must not see the machine's memory; a fork of a big machine would also copy its page tables.
	if err := unix.Madvise(data, unix.MADV_DONTFORK); err != nil {
		return os.NewSyscallError("madvise(MADV_DONTFORK)", err)
	}
	adviseHuge(data, huge)
	return nil
}

func adviseHuge(data []byte, on bool) {
	advice := unix.MADV_NOHUGEPAGE
	if on {
		advice = unix.MADV_HUGEPAGE
	}
	_ = unix.Madvise(data, advice) // only advice: EINVAL without transparent huge pages
}

// mapImage maps pages of an image over those of the file, which have nothing in them.
func (f *mappedFile) mapImage(r *Region, addr uint64, img *Image, off, size uint64) error {
	f.imageMu.Lock()
	defer f.imageMu.Unlock()
	data := r.Bytes[addr-r.Base:][:size]
	if err := mapPrivate(data, int(img.file.Fd()), int64(off)); err != nil {
		return err
	}
	f.images.add(Span{Base: addr, Size: size})
	return advise(data, f.huge)
}

// uncover maps the file, which is empty there, where pages of images are in the span.
// Preconditions: mu is held for reading, and the file is open.
func (f *mappedFile) uncover(r *Region, s Span) {
	f.imageMu.Lock()
	defer f.imageMu.Unlock()
	f.images.cut(s, func(s Span) bool {
		data := r.Bytes[s.Base-r.Base:][:s.Size]
		if mapShared(data, f.fd, r.Offset+int64(s.Base-r.Base)) != nil {
			return false
		}
		return advise(data, f.huge) == nil
	}, func(s Span) { clear(r.Bytes[s.Base-r.Base:][:s.Size]) })
}

func (f *mappedFile) detach() {
	for i := range f.reserved {
		f.reserved[i].detach()
	}
	_ = f.closeFile() // the mappings of others keep the memory
}

func (f *mappedFile) unmap() error {
	var errs []error
	for i := range f.reserved {
		errs = append(errs, f.reserved[i].unmap())
	}
	f.reserved = nil
	return errors.Join(append(errs, f.closeFile())...)
}

// discard punches a hole into the file. Unlike madvise(MADV_REMOVE) this also works in a process that locks its memory
// (mlockall), and takes no lock of the address space.
func (f *mappedFile) discard(r *Region, off, size uint64) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return ErrClosed
	}
	f.uncover(r, Span{Base: r.Base + off, Size: size})
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return os.NewSyscallError("fallocate", retry(func() error {
		return unix.Fallocate(f.fd, mode, r.Offset+int64(off), int64(size)) // inside of the file, whose size is an int64
	}))
}

// statBlock is the unit of st_blocks in bytes (stat(2)).
const statBlock = 512

// resident counts what tmpfs has allocated for the file, in memory or in swap, and all of the images: which of their pages
// the guest has written to only the kernel's tables tell.
func (f *mappedFile) resident() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var st unix.Stat_t
	if f.fd < 0 || unix.Fstat(f.fd, &st) != nil {
		return 0
	}
	f.imageMu.Lock()
	defer f.imageMu.Unlock()
	return uint64(st.Blocks)*statBlock + f.images.size()
}

func (f *mappedFile) adviseHuge(on bool) {
	f.imageMu.Lock()
	defer f.imageMu.Unlock()
	f.huge = on
	for i := range f.reserved {
		adviseHuge(f.reserved[i].data, on)
	}
}

func (f *mappedFile) closeFile() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return nil
	}
	fd := f.fd
	f.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}
