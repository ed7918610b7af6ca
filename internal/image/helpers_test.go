package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// member is an entry of an archive that a test makes; its content is its size's worth of its name unless body says more.
type member struct {
	header tar.Header
	body   string
}

// file, dir, link and so on make members in few words.
func file(name, body string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body))}, body}
}

func dir(name string) member {
	return member{header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

func symlink(name, target string) member {
	return member{header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

func hardlink(name, target string) member {
	return member{header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

func device(name string, flag byte) member {
	return member{header: tar.Header{Typeflag: flag, Name: name, Mode: 0o666, Devmajor: 1, Devminor: 1}}
}

// archive is the tar of members.
func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		if m.header.ModTime.IsZero() {
			m.header.ModTime = time.Unix(1700000000, 0)
		}
		require.NoError(t, w.WriteHeader(&m.header))
		_, err := io.WriteString(w, m.body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// bytesBlob is a layer in memory.
func bytesBlob(data []byte) blob {
	return blob{source: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// merged is what layers amount to: a line for each file, in the order in which they are written.
func merged(t testing.TB, limit Limits, layers ...layer) (string, error) {
	t.Helper()
	limit = limit.withDefaults()
	tree := newTree(limit)
	names := newPass(t.Context(), limit)
	for number, l := range layers {
		err := l.each(&names, func(n int, h *tar.Header, _ io.Reader) error { return tree.put(h, content{number, n}) })
		if err != nil {
			return "", err
		}
	}
	require.Equal(t, tree.nodes, count(tree.root), "the number of nodes is kept")
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	p := packer{pass: newPass(t.Context(), limit), out: w, paths: map[*inode]string{}}
	if err := p.write(tree, layers); err != nil {
		return "", err
	}
	require.NoError(t, w.Close())
	return listing(t, &out), nil
}

// listing is an archive in lines.
func listing(t testing.TB, r io.Reader) string {
	t.Helper()
	var out strings.Builder
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		require.NoError(t, err)
		body, err := io.ReadAll(archive)
		require.NoError(t, err)
		fmt.Fprintf(&out, "%c %04o %d:%d %s", map[byte]rune{
			tar.TypeReg: '-', tar.TypeDir: 'd', tar.TypeSymlink: 'l', tar.TypeLink: 'h', tar.TypeFifo: 'p',
		}[h.Typeflag], h.Mode, h.Uid, h.Gid, h.Name)
		if h.Linkname != "" {
			fmt.Fprintf(&out, " -> %s", h.Linkname)
		}
		if len(body) > 0 && len(body) < 100 {
			fmt.Fprintf(&out, " %q", body)
		}
		out.WriteByte('\n')
	}
}

// tool finds a program of e2fsprogs, or skips the test, unless CAPSA_REQUIRE names it.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if strings.Contains(os.Getenv("CAPSA_REQUIRE"), "e2fsprogs") {
		t.Fatalf("CAPSA_REQUIRE names e2fsprogs, whose %s is not installed", name)
	}
	t.Skipf("%s is not installed (Debian: e2fsprogs)", name)
	return ""
}

// fsck checks a file system. The one complaint that is let pass is about bits of the inode bitmap's block behind its end,
// which the writer leaves zero and nobody reads.
func fsck(t *testing.T, path string) {
	t.Helper()
	out, err := exec.Command(tool(t, "e2fsck"), "-fn", path).CombinedOutput()
	if err == nil {
		return
	}
	_, passes, _ := strings.Cut(string(out), "Pass 1: ")
	passes, _, _ = strings.Cut(passes, "\n\n")
	var complaints []string
	for line := range strings.Lines(passes) {
		if !strings.HasPrefix(line, "Pass ") && !strings.HasPrefix(line, "Checking ") {
			complaints = append(complaints, strings.TrimSpace(line))
		}
	}
	require.Equal(t, []string{"Padding at end of inode bitmap is not set. Fix? no"}, complaints, "%s", out)
}

// debugfs reads a file system as its debugger tells it.

func debugfs(t *testing.T, path, request string) string {
	t.Helper()
	cmd := exec.Command(tool(t, "debugfs"), "-R", request, path)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}
