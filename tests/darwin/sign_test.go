// Package darwin tests what is done on a Mac, as far as it can be tested elsewhere.
package darwin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// codesign stands in for Apple's: it signs a file by what it puts beside it, which a copy
// does not take along.
const codesign = `#!/bin/sh
echo "$@" >>"$LOG"
for file; do :; done
case $1 in
--force)
	[ "$FAIL" != sign ] || exit 1
	: >"${file%.signing}.sig"
	while [ $# -gt 1 ]; do [ "$1" != --entitlements ] || cat "$2" >"${file%.signing}.sig"; shift; done ;;
--verify) test -e "$file.sig" ;;
-d) cat "$file.sig" ;;
esac
`

// mac is a folder with a file to sign.
type mac struct {
	dir, file string
	env       []string
}

func newMac(t *testing.T) mac {
	t.Helper()
	dir := t.TempDir()
	m := mac{dir: dir, file: filepath.Join(dir, "capsa-vzd")}
	tool := filepath.Join(dir, "codesign")
	require.NoError(t, os.WriteFile(tool, []byte(codesign), 0o700))
	require.NoError(t, os.WriteFile(m.file, []byte("program"), 0o700))
	m.env = append(os.Environ(), "CODESIGN="+tool, "LOG="+filepath.Join(dir, "log"))
	return m
}

// run runs a script of scripts/mac.
func (m mac) run(t *testing.T, env []string, script string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("../../scripts/mac/"+script, args...)
	cmd.Env = append(m.env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const entitlements = "../../cmd/capsa-vzd/capsa-vzd.entitlements"

// TestSign: what is signed with the entitlement verifies, and nothing else does.
func TestSign(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	out, err := m.run(t, nil, "verify.sh", m.file)
	require.Error(t, err)
	require.Contains(t, out, "not valid")

	before, err := os.Stat(m.file)
	require.NoError(t, err)
	out, err = m.run(t, nil, "sign.sh", "--entitlements", entitlements, m.file)
	require.NoError(t, err, out)
	after, err := os.Stat(m.file)
	require.NoError(t, err)
	require.False(t, os.SameFile(before, after), "a program is not overwritten in place")
	out, err = m.run(t, nil, "verify.sh", m.file)
	require.NoError(t, err, out)
	require.Contains(t, out, "com.apple.security.virtualization")

	_, err = m.run(t, nil, "sign.sh", m.file)
	require.NoError(t, err)
	out, err = m.run(t, nil, "verify.sh", m.file)
	require.Error(t, err, "signed again without entitlements")
	require.Contains(t, out, "make sign")

	more := filepath.Join(m.dir, "more")
	require.NoError(t, os.WriteFile(more, []byte("<key>com.apple.security.virtualization</key><true/>\n"+
		"<key>com.apple.security.get-task-allow</key><true/>"), 0o600))
	_, err = m.run(t, nil, "sign.sh", "--entitlements", more, m.file)
	require.NoError(t, err)
	out, err = m.run(t, nil, "verify.sh", m.file)
	require.Error(t, err)
	require.Contains(t, out, "get-task-allow")
}

// TestSignForRelease: with an identity, as notarization wants it.
func TestSignForRelease(t *testing.T) {
	t.Parallel()
	m := newMac(t)
	_, err := m.run(t, []string{"SIGN_ID=Developer ID Application: A (B)"}, "sign.sh", m.file)
	require.NoError(t, err)
	_, err = m.run(t, []string{"SIGN_ID="}, "sign.sh", m.file)
	require.NoError(t, err)
	log, err := os.ReadFile(filepath.Join(m.dir, "log"))
	require.NoError(t, err)
	calls := strings.Split(strings.TrimSpace(string(log)), "\n")
	require.Equal(t, "--force --sign Developer ID Application: A (B) --identifier org.libcapsa.capsa-vzd --options runtime --timestamp "+
		m.file+".signing", calls[0])
	require.Equal(t, "--force --sign - --identifier org.libcapsa.capsa-vzd "+m.file+".signing", calls[1])

	_, err = m.run(t, []string{"FAIL=sign"}, "sign.sh", m.file)
	require.Error(t, err)
	require.NoFileExists(t, m.file+".signing")
	require.FileExists(t, m.file)
}

// TestEntitlements: one, and no more.
func TestEntitlements(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(entitlements)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), "<key>"))
	require.Contains(t, string(text), "<key>com.apple.security.virtualization</key>\n\t<true/>")
}

// TestRecipes: what make does on a Mac is whole, and the signature comes last.
func TestRecipes(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("make", "--no-print-directory", "-n", "BUILD=/out", "SIGN_ID=me", "macos")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err)
	text := string(out)
	at := -1
	for _, step := range []string{
		"-buildmode=c-shared", "-Wl,-exported_symbol,_capsa_*", "-o /out/macos/libcapsa.0.dylib ./libcapsa", "-o /out/macos/capsa-vzd ./cmd/capsa-vzd",
		`SIGN_ID="me" scripts/mac/sign.sh /out/macos/libcapsa.0.dylib`,
		`SIGN_ID="me" scripts/mac/sign.sh --entitlements cmd/capsa-vzd/capsa-vzd.entitlements /out/macos/capsa-vzd`,
		"scripts/mac/verify.sh /out/macos/capsa-vzd",
	} {
		next := strings.Index(text, step)
		require.Greater(t, next, at, step)
		at = next
	}
}

// TestLibraryWithoutBindings: the library starts the daemon, and never is one itself.
func TestLibraryWithoutBindings(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"arm64", "amd64"} {
		cmd := exec.Command("go", "list", "-deps", "./libcapsa", "./capsa")
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+arch, "CGO_ENABLED=1")
		out, err := cmd.Output()
		require.NoError(t, err)
		require.NotContains(t, string(out), "Code-Hex/vz")
		require.NotContains(t, string(out), "libcapsa/internal/vz\n")
		require.Contains(t, string(out), "libcapsa/internal/vzd/client\n")
	}
}
