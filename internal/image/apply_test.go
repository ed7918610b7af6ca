package image

import (
	"archive/tar"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		layers [][]member
		want   string
	}{
		{"one", [][]member{{dir("etc/"), file("etc/os", "debian"), symlink("lib", "usr/lib"), file("./usr/lib/x", "1"), device("fifo", tar.TypeFifo)}}, `
d 0755 0:0 /
d 0755 0:0 /etc/
p 0666 0:0 /fifo
l 0777 0:0 /lib -> usr/lib
d 0755 0:0 /usr/
d 0755 0:0 /usr/lib/
- 0644 0:0 /etc/os "debian"
- 0644 0:0 /usr/lib/x "1"
`},
		{"the upper one wins", [][]member{{file("a", "1"), file("b", "1"), file("d/x", "1")}, {file("a", "2"), dir("b"), file("d", "2")}}, `
d 0755 0:0 /
d 0755 0:0 /b/
- 0644 0:0 /a "2"
- 0644 0:0 /d "2"
`},
		{"a directory keeps what is in it", [][]member{{dir("d"), file("d/x", "1")}, {{header: tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o700, Uid: 7}}}}, `
d 0755 0:0 /
d 0700 7:0 /d/
- 0644 0:0 /d/x "1"
`},
		{"whiteouts", [][]member{{file("d/x", "1"), file("d/y", "1"), file("e/z", "1")}, {file("d/.wh.x", ""), file(".wh.e", ""), file(".wh.absent", "")}}, `
d 0755 0:0 /
d 0755 0:0 /d/
- 0644 0:0 /d/y "1"
`},
		{"a whiteout is for lower layers", [][]member{{file("x", "1")}, {file("x", "2"), file("y", "2"), file(".wh.x", ""), file(".wh.y", "")}}, `
d 0755 0:0 /
- 0644 0:0 /x "2"
- 0644 0:0 /y "2"
`},
		{"opaque, before and after", [][]member{
			{file("d/old", "1"), file("d/sub/old", "1"), file("e/old", "1")},
			{file("d/new", "2"), file("d/sub/new", "2"), file("d/.wh..wh..opq", ""), file("e/.wh..wh..opq", ""), file("e/new", "2"), file(".wh..wh.plnk", "")},
		}, `
d 0755 0:0 /
d 0755 0:0 /d/
d 0755 0:0 /d/sub/
d 0755 0:0 /e/
- 0644 0:0 /d/new "2"
- 0644 0:0 /d/sub/new "2"
- 0644 0:0 /e/new "2"
`},
		{"a directory made anew", [][]member{{file("d/old", "1")}, {file(".wh.d", ""), dir("d"), file("d/new", "2")}}, `
d 0755 0:0 /
d 0755 0:0 /d/
- 0644 0:0 /d/new "2"
`},
		{"links of directories are followed inside", [][]member{{dir("usr/bin"), symlink("bin", "/usr/bin"), symlink("out", "../../../usr")}, {file("bin/sh", "x"), file("out/lib", "y")}}, `
d 0755 0:0 /
l 0777 0:0 /bin -> /usr/bin
l 0777 0:0 /out -> ../../../usr
d 0755 0:0 /usr/
d 0755 0:0 /usr/bin/
- 0644 0:0 /usr/bin/sh "x"
- 0644 0:0 /usr/lib "y"
`},
		{"hard links", [][]member{{file("z", "1"), hardlink("a", "z"), hardlink("b", "/z")}, {file("z", "2"), hardlink("c", "a")}}, `
d 0755 0:0 /
- 0644 0:0 /a "1"
- 0644 0:0 /z "2"
h 0000 0:0 /b -> /a
h 0000 0:0 /c -> /a
`},
		{"a hard link to a link", [][]member{{symlink("s", "/etc/passwd"), hardlink("h", "s")}}, `
d 0755 0:0 /
l 0777 0:0 /h -> /etc/passwd
h 0000 0:0 /s -> /h
`},
		{"devices are left out", [][]member{{device("dev/mem", tar.TypeChar), device("sda", tar.TypeBlock), file("x", "")}}, `
d 0755 0:0 /
d 0755 0:0 /dev/
- 0644 0:0 /x
`},
		{"the root", [][]member{{{header: tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711, Uid: 3}}}}, "\nd 0711 3:0 /\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var layers []layer
			for _, members := range test.layers {
				layers = append(layers, bytesBlob(archive(t, members...)))
			}
			got, err := merged(t, Limits{}, layers...)
			require.NoError(t, err)
			require.Equal(t, strings.TrimPrefix(test.want, "\n"), got)
		})
	}
}

func TestHostileLayers(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("d/", 2000)
	for _, test := range []struct {
		name    string
		members []member
		kind    vm.Kind
		says    string
	}{
		{"dots", []member{file("../../etc/cron.d/x", "x")}, vm.KindProtocol, `".."`},
		{"dots within", []member{file("a/../../x", "x")}, vm.KindProtocol, `".."`},
		{"a hard link out", []member{hardlink("x", "../../etc/shadow")}, vm.KindProtocol, `".."`},
		{"a hard link to what is not there", []member{hardlink("x", "/etc/shadow")}, vm.KindProtocol, "not there"},
		{"a hard link to the root", []member{hardlink("x", "/")}, vm.KindProtocol, "root"},
		{"a hard link to a directory", []member{dir("d"), hardlink("x", "d")}, vm.KindProtocol, "directory"},
		{"a link to itself", []member{symlink("a", "a"), file("a/x", "x")}, vm.KindProtocol, "too many symbolic links"},
		{"links in a circle", []member{symlink("a", "b/c"), symlink("b", "a/c"), file("a/x", "x")}, vm.KindProtocol, "too many symbolic links"},
		{"a path through a file", []member{file("a", ""), file("a/x", "x")}, vm.KindProtocol, "not a directory"},
		{"a long name", []member{file(strings.Repeat("n", 256), "")}, vm.KindProtocol, "256 bytes"},
		{"a long path", []member{file(strings.Repeat("n/", 2048)+"x", "")}, vm.KindProtocol, "4097 bytes"},
		{"a long target", []member{symlink("x", strings.Repeat("n", 4096))}, vm.KindProtocol, "no path"},
		{"deeper than a path", []member{dir(deep), symlink("s", deep), dir("s/" + deep)}, vm.KindProtocol, "deeper"},
		{"a whiteout of nothing", []member{file(".wh.", "")}, vm.KindProtocol, "names no file"},
		{"a whiteout of its directory's directory", []member{dir("d"), file("d/.wh...", "")}, vm.KindProtocol, "names no file"},
		{"an owner", []member{{header: tar.Header{Typeflag: tar.TypeReg, Name: "x", Uid: 1 << 32}}}, vm.KindProtocol, "nobody"},
		{"too many", []member{file("1", ""), file("2", ""), file("3", ""), file("4", ""), file("5", "")}, vm.KindLimit, "more than 4 files"},
		{"too many in few entries", []member{file("a/b/c/d/e", "")}, vm.KindLimit, "more than 4 files"},
		{"too large", []member{file("a", strings.Repeat("x", 9000))}, vm.KindLimit, "too large"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			limit := Limits{}
			if test.kind == vm.KindLimit {
				limit = Limits{Files: 4, Bytes: 8192}
			}
			_, err := merged(t, limit, bytesBlob(archive(t, test.members...)))
			require.ErrorContains(t, err, test.says)
			require.Equal(t, test.kind, vm.KindOf(err))
		})
	}
}

func TestXattrs(t *testing.T) {
	t.Parallel()
	h := &tar.Header{PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": "cap", "SCHILY.xattr.user.note": "n", "SCHILY.xattr.trusted.overlay.opaque": "y",
		"SCHILY.xattr.security.selinux": "label", "SCHILY.xattr.user.a=b": "no", "mtime": "1",
	}}
	require.Equal(t, map[string]string{"security.capability": "cap", "user.note": "n"}, xattrsOf(h))
	h.PAXRecords["SCHILY.xattr.user.large"] = strings.Repeat("x", maxXattrSize)
	require.Empty(t, xattrsOf(h))
}
