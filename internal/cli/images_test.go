package cli

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/image"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// registryImage is the reference of an image with one file, in a registry of the test's own.
func registryImage(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	body := strings.Repeat("content ", 10_000)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/motd", Mode: 0o644, Size: int64(len(body))}))
	_, err := io.WriteString(w, body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil })
	require.NoError(t, err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	require.NoError(t, err)
	reference := strings.TrimPrefix(server.URL, "http://") + "/test/motd:v1"
	ref, err := name.ParseReference(reference)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img))
	return reference
}

func TestImages(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	reference := registryImage(t)
	require.Equal(t, "[]\n", h.ok("--json", "images", "list"))
	require.Equal(t, reference+"\n", h.ok("images", "pull", reference))
	var list []image.Image
	h.json(&list, "images", "list")
	require.Len(t, list, 1)
	require.Equal(t, reference, list[0].Reference)
	require.FileExists(t, list[0].Path)
	require.Contains(t, h.ok("images", "list"), list[0].Digest[7:19])

	var freed image.Freed
	h.json(&freed, "images", "prune")
	require.Equal(t, 1, freed.Files, "the layer, which is unpacked")
	require.FileExists(t, list[0].Path)
	require.Contains(t, h.ok("images", "prune", "--all"), "2 files removed")
	require.NoFileExists(t, list[0].Path)

	s := h.terminal("images", "pull", reference)
	s.shows("unpack")
	s.shows(reference)
	require.Zero(t, s.ends())

	r := h.run("run", "--kernel", vmtest.KernelPolite, "--pull", "sometimes", reference)
	require.Contains(t, r.stderr, "missing, always or never")
	r = h.run("run", "--kernel", vmtest.KernelPolite, "--pull", "never", reference+"x")
	require.Contains(t, r.stderr, "capsa images pull")
	r = h.run("run", "--kernel", vmtest.KernelPolite, reference)
	require.Contains(t, r.stderr, "names no program")
}
