package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func zstandard(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return w.EncodeAll(data, nil)
}

func TestCompression(t *testing.T) {
	t.Parallel()
	plain := archive(t, file("x", "content"))
	sum := sha256.Sum256(plain)
	for name, data := range map[string][]byte{"none": plain, "gzip": gzipped(t, plain), "zstd": zstandard(t, plain)} {
		b := bytesBlob(data)
		b.diffID = hex.EncodeToString(sum[:])
		got, err := merged(t, Limits{}, b)
		require.NoError(t, err, name)
		require.Contains(t, got, `/x "content"`, name)

		b.diffID = strings.Repeat("0", 64)
		_, err = merged(t, Limits{}, b)
		require.ErrorContains(t, err, "should be sha256:0000", name)
		require.Equal(t, vm.KindProtocol, vm.KindOf(err))

		for _, cut := range []int{1, 5, min(len(data)-1, 515)} {
			_, err = merged(t, Limits{}, bytesBlob(data[:cut]))
			require.Error(t, err, "%s, cut to %d", name, cut)
			require.Equal(t, vm.KindProtocol, vm.KindOf(err), "%v", err)
		}
	}
	_, err := merged(t, Limits{}, bytesBlob([]byte("\xfd7zXZ\x00...")))
	require.ErrorIs(t, err, vm.KindUnsupported)
}

// zeroes is a file of so many zeroes.
func zeroes(n int64) blob {
	return blob{source: func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			z := gzip.NewWriter(w)
			_, err := io.CopyN(z, zeroReader{}, n)
			_ = w.CloseWithError(errors.Join(err, z.Close()))
		}()
		return r, nil
	}}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBombs(t *testing.T) {
	t.Parallel()
	s, err := zeroes(ratioFrom + 64<<20).open()
	require.NoError(t, err)
	defer s.Close()
	budget := int64(1 << 40)
	_, err = io.Copy(io.Discard, &guard{r: s, in: s.compressed, budget: &budget, ratio: 300})
	require.ErrorIs(t, err, vm.KindLimit)
	require.ErrorContains(t, err, "300 times")

	s, err = zeroes(1 << 20).open()
	require.NoError(t, err)
	defer s.Close()
	budget = 1<<20 - 1
	_, err = io.Copy(io.Discard, &guard{r: s, in: s.compressed, budget: &budget, ratio: 300})
	require.ErrorContains(t, err, "too large")
}
