package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// The first bytes of compressed streams.
var (
	magicGzip  = []byte{0x1f, 0x8b}             // RFC 1952 section 2.3.1
	magicZstd  = []byte{0x28, 0xb5, 0x2f, 0xfd} // RFC 8878 section 3.1.1
	magicXZ    = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	magicBzip2 = []byte("BZh")
)

// maxWindow bounds what a zstd frame may make its reader keep, in bytes: 128 MiB, what zstd itself takes unasked.
const maxWindow = 128 << 20

// blob is a layer in a file or in whatever else can be read from the beginning several times.
type blob struct {
	source func() (io.ReadCloser, error)
	diffID string // sha256 of the decompressed archive in hexadecimal, "" if nobody said
}

// fileBlob is the layer in a file.
func fileBlob(path, diffID string) blob {
	return blob{func() (io.ReadCloser, error) { return os.Open(path) }, diffID}
}

func (b blob) open() (*stream, error) {
	raw, err := b.source()
	if err != nil {
		return nil, vm.Wrap(op, err)
	}
	in := &counter{r: raw}
	r, compressed, err := decompress(in)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	s := &stream{Reader: r, Closer: closers{r, raw}}
	if compressed {
		s.compressed = in
	}
	if b.diffID != "" {
		s.Reader = &verifier{r: r, sum: sha256.New(), want: b.diffID}
	}
	return s, nil
}

// decompress finds out how a stream is compressed and returns its content.
func decompress(r io.Reader) (content io.ReadCloser, compressed bool, err error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, vm.Wrap(op, err)
	}
	switch {
	case bytes.HasPrefix(head, magicGzip):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, false, hostile("a gzip stream that is damaged: %w", err)
		}
		return z, true, nil
	case bytes.HasPrefix(head, magicZstd):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, false, hostile("a zstd stream that is damaged: %w", err)
		}
		return z.IOReadCloser(), true, nil
	case bytes.HasPrefix(head, magicXZ), bytes.HasPrefix(head, magicBzip2):
		return nil, false, vm.Errorf(vm.KindUnsupported, op, "the archive is compressed with xz or bzip2").
			WithHint("decompress it first; gzip and zstd can be read as they are")
	}
	return io.NopCloser(buffered), false, nil
}

// closers closes one after the other.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, closer := range c {
		errs = append(errs, closer.Close())
	}
	return errors.Join(errs...)
}

// verifier checks the digest of what was read at its end.
type verifier struct {
	r    io.Reader
	sum  hash.Hash
	want string
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(v.sum.Sum(nil)); got != v.want {
			return n, hostile("a layer's content is sha256:%s, and should be sha256:%s", got, v.want)
		}
	}
	return n, err
}
