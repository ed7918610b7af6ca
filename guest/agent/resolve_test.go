//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

func TestEnvironment(t *testing.T) {
	l := &launch{user: user{name: "u", home: "/home/u", shell: "/bin/sh"}, q: &wire.StartRequest{
		Tty: true, Env: [][]byte{[]byte("A=1"), []byte("PATH=/own"), []byte("A=2"), []byte("B=x=y")},
	}}
	require.Equal(t, []string{
		"PATH=/own", "HOME=/home/u", "USER=u", "LOGNAME=u", "SHELL=/bin/sh", "TERM=xterm-256color", "A=2", "B=x=y",
	}, l.environment())
	l.q.EnvOnly = true
	require.Equal(t, []string{"A=2", "PATH=/own", "B=x=y"}, l.environment())
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub/prog"), nil, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "text"), nil, 0o600))
	env := []string{"PATH=/none:" + dir + "/sub"}
	got, err := lookPath("prog", "/", env)
	require.NoError(t, err)
	require.Equal(t, dir+"/sub/prog", got)
	got, err = lookPath("sub/prog", dir, nil)
	require.NoError(t, err)
	require.Equal(t, "sub/prog", got)
	_, err = lookPath("prog", "/", []string{"PATH="})
	require.ErrorIs(t, err, syscall.ENOENT)
	_, err = lookPath("./text", dir, env)
	require.ErrorIs(t, err, syscall.EACCES)
	_, err = lookPath("./sub", dir, env)
	require.ErrorIs(t, err, syscall.EACCES)
	_, err = lookPath("./none", dir, env)
	require.ErrorIs(t, err, syscall.ENOENT)
}

func TestFindUser(t *testing.T) {
	u, err := findUser("0:5")
	require.NoError(t, err)
	require.Equal(t, [2]int{0, 5}, [2]int{u.uid, u.gid})
	u, err = findUser("123456:654321")
	require.NoError(t, err)
	require.Equal(t, [2]int{123456, 654321}, [2]int{u.uid, u.gid})
	require.Equal(t, "/", u.home)
	for _, bad := range []string{"no-such-user", "0:no-such-group", "-1", "4294967296"} {
		_, err = findUser(bad)
		require.ErrorIs(t, err, syscall.ENOENT, bad)
	}
}

func TestTable(t *testing.T) {
	table := newTable[string](2)
	a, err := table.put("a")
	require.NoError(t, err)
	b, err := table.put("b")
	require.NoError(t, err)
	require.True(t, table.full())
	_, err = table.put("c")
	require.ErrorIs(t, err, syscall.EMFILE)
	got, err := table.take(a)
	require.NoError(t, err)
	require.Equal(t, "a", got)
	_, err = table.get(a)
	require.ErrorIs(t, err, syscall.EBADF)
	c, err := table.put("c")
	require.NoError(t, err)
	require.NotContains(t, []uint64{a, b}, c, "a number was used again")
}

// TestList: pages, and names that are no text.
func TestList(t *testing.T) {
	dir := t.TempDir()
	for i := range wire.MaxListPage + 3 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, string(rune('a'+i%26))+string(rune('a'+i/26))+"\xff"), nil, 0o600))
	}
	first, err := list(dir, "")
	require.NoError(t, err)
	require.True(t, first.More)
	require.Len(t, first.Entries, wire.MaxListPage)
	second, err := list(dir, string(first.Entries[wire.MaxListPage-1].Name))
	require.NoError(t, err)
	require.False(t, second.More)
	require.Len(t, second.Entries, 3)
}
