package image

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// testImage is an image of two layers, the second of which takes something away.
func testImage(t *testing.T, large string) v1.Image {
	t.Helper()
	img := empty.Image
	for _, data := range [][]byte{
		archive(t, file("etc/hostname", "guest"), file("etc/old", "old"), file("large", large)),
		archive(t, file("etc/.wh.old", ""), file("bin/tool", "#!")),
	} {
		l, err := tarball.LayerFromOpener(bytesBlob(data).source)
		require.NoError(t, err)
		img, err = mutate.AppendLayers(img, l)
		require.NoError(t, err)
	}
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{
		Entrypoint: []string{"/bin/tool", "-x"}, Cmd: []string{"serve"}, Env: []string{"A=1"}, User: "daemon", WorkingDir: "/srv",
	}
	img, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	return img
}

// server is a registry that notes requests and may interfere.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string                                                 // "GET /v2/…/blobs/… range"
	meddle   func(w http.ResponseWriter, r *http.Request) (done bool) // may be nil
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
		meddle := s.meddle
		s.mu.Unlock()
		if meddle == nil || !meddle(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) interfere(fn func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle, s.requests = fn, nil
}

// saw counts the requests that have all the words.
func (s *server) saw(words ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, request := range s.requests {
		all := true
		for _, word := range words {
			all = all && strings.Contains(request, word)
		}
		if all {
			n++
		}
	}
	return n
}

func (s *server) push(t *testing.T, tag string, img v1.Image) string {
	t.Helper()
	reference := strings.TrimPrefix(s.URL, "http://") + "/" + tag
	ref, err := name.ParseReference(reference)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img))
	s.interfere(nil)
	return reference
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	s, web := newStore(t), newServer(t)
	reference := web.push(t, "test/tool:v1", testImage(t, ""))
	img, err := s.Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.NoError(t, err)
	fsck(t, img.Path)
	require.Equal(t, "guest", debugfs(t, img.Path, "cat /etc/hostname"))
	require.NotContains(t, debugfs(t, img.Path, "ls /etc"), "old")
	require.Equal(t, Config{
		Entrypoint: []string{"/bin/tool", "-x"}, Cmd: []string{"serve"}, Env: []string{"A=1"}, User: "daemon", WorkingDir: "/srv",
	}, img.Config)
	require.Equal(t, []string{"/bin/tool", "-x", "serve"}, img.Config.Command(nil))
	require.Equal(t, []string{"/bin/tool", "-x", "a", "b"}, img.Config.Command([]string{"a", "b"}))

	web.interfere(nil)
	again, err := s.Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.NoError(t, err)
	require.Equal(t, img, again)
	require.Zero(t, web.saw("GET"), "what is known is not asked for")
	_, err = s.Get(t.Context(), reference, Options{Platform: "linux/amd64", Pull: PullAlways})
	require.NoError(t, err)
	require.Equal(t, 1, web.saw("GET", "blobs"), "of what is known only the configuration is fetched")

	pinned := strings.TrimSuffix(reference, ":v1") + "@" + img.Digest
	same, err := s.Get(t.Context(), pinned, Options{})
	require.NoError(t, err)
	require.Equal(t, img.Path, same.Path, "the same layers make one file")

	_, err = s.Get(t.Context(), strings.TrimSuffix(reference, ":v1")+":v2", Options{Pull: PullNever})
	require.ErrorIs(t, err, vm.KindNotFound)
	_, err = s.Get(t.Context(), strings.TrimSuffix(reference, ":v1")+":v2", Options{})
	require.ErrorIs(t, err, vm.KindNotFound)
	_, err = s.Get(t.Context(), pinned[:len(pinned)-1]+"0", Options{})
	require.Error(t, err)
}

// blobOf is the path of an image's largest blob.
func blobOf(t *testing.T, img v1.Image, n int) v1.Descriptor {
	t.Helper()
	m, err := img.Manifest()
	require.NoError(t, err)
	return m.Layers[n]
}

func noise(n int) string {
	out, x := make([]byte, n), uint32(1)
	for i := range out {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out[i] = byte(x)
	}
	return string(out)
}

// TestResume: connections that break off lose nothing, in one call and over several.
func TestResume(t *testing.T) {
	t.Parallel()
	s, web := newStore(t), newServer(t)
	img := testImage(t, noise(1<<20))
	reference := web.push(t, "test/large:v1", img)
	d := blobOf(t, img, 0)
	cut := func(times int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, d.Digest.String()) || times == 0 {
				return false
			}
			times--
			from := int64(0)
			if spec := r.Header.Get("Range"); spec != "" {
				_, err := fmt.Sscanf(spec, "bytes=%d-", &from)
				if err != nil {
					panic(err)
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, d.Size-1, d.Size))
			}
			w.Header().Set("Content-Length", fmt.Sprint(d.Size-from))
			if from > 0 {
				w.WriteHeader(http.StatusPartialContent)
			}
			l, err := img.LayerByDigest(d.Digest)
			if err != nil {
				panic(err)
			}
			body, err := l.Compressed()
			if err != nil {
				panic(err)
			}
			defer body.Close()
			_, _ = io.CopyN(io.Discard, body, from)
			_, _ = io.CopyN(w, body, 100_000)
			panic(http.ErrAbortHandler)
		}
	}
	web.interfere(cut(100))
	_, err := s.Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.Error(t, err)
	require.Equal(t, maxAttempts, web.saw("GET", d.Digest.String()))
	part, err := os.Stat(s.path(blobs, d.Digest.Hex+partSuffix))
	require.NoError(t, err)
	require.Greater(t, part.Size(), int64(300_000))

	web.interfere(cut(2))
	got, err := s.Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.NoError(t, err)
	require.Equal(t, 3, web.saw("GET", d.Digest.String(), "bytes="), "each goes on where the last ended")
	fsck(t, got.Path)
	require.NoFileExists(t, s.path(blobs, d.Digest.Hex+partSuffix))
}

// TestResumeOfRubbish: what was there before is checked like the rest.
func TestResumeOfRubbish(t *testing.T) {
	t.Parallel()
	s, web := newStore(t), newServer(t)
	img := testImage(t, noise(100_000))
	reference := web.push(t, "test/large:v1", img)
	d := blobOf(t, img, 0)
	part := s.path(blobs, d.Digest.Hex+partSuffix)
	require.NoError(t, os.WriteFile(part, []byte(strings.Repeat("x", 5000)), 0o600))
	_, err := s.Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.ErrorIs(t, err, vm.KindProtocol)
	_, err = s.Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.NoError(t, err, "the rubbish is gone")
}

func TestLyingRegistry(t *testing.T) {
	t.Parallel()
	web := newServer(t)
	img := testImage(t, "")
	reference := web.push(t, "test/tool:v1", img)
	d := blobOf(t, img, 1)
	for name, lie := range map[string]func(http.ResponseWriter){
		"other bytes": func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, d.Size)) },
		"fewer bytes": func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, d.Size-1)) },
		"more bytes":  func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, d.Size+1)) },
		"an error":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		web.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, d.Digest.String()) {
				return false
			}
			lie(w)
			return true
		})
		s := newStore(t)
		_, err := s.Get(t.Context(), reference, Options{Platform: "linux/amd64"})
		require.Error(t, err, name)
		require.NoFileExists(t, s.path(blobs, d.Digest.Hex), name)
	}
}

// TestWrongContent: a layer whose decompressed content is not what the configuration says is refused.
func TestWrongContent(t *testing.T) {
	t.Parallel()
	s, web := newStore(t), newServer(t)
	img := testImage(t, "")
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.RootFS.DiffIDs[0] = config.RootFS.DiffIDs[1]
	img, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	_, err = s.Get(t.Context(), web.push(t, "x:v1", img), Options{Platform: "linux/amd64"})
	require.ErrorIs(t, err, vm.KindProtocol)
	require.ErrorContains(t, err, "should be")

	rubbish, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte("not an archive"), types.OCILayer))
	require.NoError(t, err)
	_, err = s.Get(t.Context(), web.push(t, "y:v1", rubbish), Options{})
	require.Error(t, err)
}

// TestCredentials are taken from where docker has them, and only when they are asked for.
func TestCredentials(t *testing.T) {
	web := newServer(t)
	reference := web.push(t, "test/tool:v1", testImage(t, ""))
	web.interfere(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, ok := r.BasicAuth(); ok && user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	home := t.TempDir()
	t.Setenv("DOCKER_CONFIG", home)
	t.Setenv("HOME", home)
	t.Setenv("XDG_RUNTIME_DIR", home)
	_, err := newStore(t).Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.ErrorIs(t, err, vm.KindPermission)
	require.ErrorContains(t, err, "log in")
	host, _, _ := strings.Cut(reference, "/")
	config := fmt.Sprintf(`{"auths":{%q:{"username":"me","password":"secret"}}}`, host)
	require.NoError(t, os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600))
	_, err = newStore(t).Get(t.Context(), reference, Options{Platform: "linux/amd64"})
	require.NoError(t, err)
	_, err = newStore(t).Get(t.Context(), reference, Options{Platform: "linux/amd64", Keychain: authn.NewMultiKeychain()})
	require.ErrorIs(t, err, vm.KindPermission)
}

func TestCancelledPull(t *testing.T) {
	t.Parallel()
	s, web := newStore(t), newServer(t)
	img := testImage(t, "")
	reference := web.push(t, "test/tool:v1", img)
	ctx, cancel := context.WithCancel(t.Context())
	d := blobOf(t, img, 0)
	web.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, d.Digest.String()) {
			cancel()
			<-r.Context().Done()
			return true
		}
		return false
	})
	_, err := s.Get(ctx, reference, Options{Platform: "linux/amd64"})
	require.ErrorIs(t, err, vm.KindCancelled)
}

func TestLayout(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "layout")
	l, err := layout.Write(path, empty.Index)
	require.NoError(t, err)
	img := testImage(t, "x")
	require.NoError(t, l.AppendImage(img, layout.WithAnnotations(map[string]string{annotationRefName: "v1"})))
	got, err := s.Get(t.Context(), path, Options{})
	require.NoError(t, err)
	fsck(t, got.Path)
	require.Equal(t, "daemon", got.Config.User)

	require.NoError(t, l.AppendImage(testImage(t, "y"), layout.WithAnnotations(map[string]string{annotationRefName: "v2"})))
	_, err = s.Get(t.Context(), path, Options{})
	require.ErrorContains(t, err, "2 images")
	other, err := s.Get(t.Context(), path+":v2", Options{})
	require.NoError(t, err)
	require.NotEqual(t, got.Path, other.Path)
	digest, err := img.Digest()
	require.NoError(t, err)
	pinned, err := s.Get(t.Context(), path+"@"+digest.String(), Options{})
	require.NoError(t, err)
	require.Equal(t, got.Path, pinned.Path)

	saved := filepath.Join(t.TempDir(), "saved.tar")
	tag, err := name.NewTag("tool:v1")
	require.NoError(t, err)
	require.NoError(t, tarball.WriteToFile(saved, tag, img))
	archived, err := s.Get(t.Context(), "docker-archive:"+saved, Options{})
	require.NoError(t, err)
	require.Equal(t, got.Path, archived.Path)
}
