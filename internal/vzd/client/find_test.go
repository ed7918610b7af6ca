package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestFind(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := func(name string, mode os.FileMode) string {
		d := filepath.Join(top, name)
		require.NoError(t, os.Mkdir(d, 0o755))
		if mode != 0 {
			require.NoError(t, os.WriteFile(filepath.Join(d, Program), nil, mode))
		}
		return d
	}
	library, program, other, empty, plain := dir("library", 0o755), dir("program", 0o755), dir("other", 0o755), dir("empty", 0), dir("plain", 0o644)
	folder := dir("folder", 0)
	require.NoError(t, os.Mkdir(filepath.Join(folder, Program), 0o755))
	file := func(d string) string { return filepath.Join(d, Program) }
	tests := []struct {
		name string
		p    places
		want string // "": an error
		text []string
	}{
		{"library first", places{dirs: []string{library, program}, path: other, trusted: true}, file(library), nil},
		{"then program", places{dirs: []string{empty, program}, path: other, trusted: true}, file(program), nil},
		{"then PATH", places{dirs: []string{empty}, path: empty + ":" + other, trusted: true}, file(other), nil},
		{"variable wins", places{env: file(other), dirs: []string{library}, trusted: true}, file(other), nil},
		{"bad variable", places{env: file(empty), dirs: []string{library}, trusted: true}, "", []string{PathEnv, file(empty), "no such file"}},
		{"variable names a folder", places{env: empty, dirs: []string{library}, trusted: true}, "", []string{"is no file"}},
		{"not executable", places{env: file(plain), trusted: true}, "", []string{"cannot be executed"}},
		{"every place", places{dirs: []string{empty, empty}, path: plain + ":" + folder, trusted: true}, "",
			[]string{file(empty), file(plain) + " cannot be executed", file(folder) + " is no file"}},
		{"relative PATH", places{path: ".:" + "client.go", trusted: true}, "", []string{"none of the places"}},
		{"environment of another", places{env: file(other), path: other, dirs: []string{empty}}, "", []string{file(empty)}},
		{"not of another", places{env: file(empty), path: other, dirs: []string{library}}, file(library), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := test.p.find()
			if test.want != "" {
				require.NoError(t, err)
				require.Equal(t, test.want, got)
				return
			}
			require.ErrorIs(t, err, vm.KindUnavailable)
			require.NotEmpty(t, err.(*vm.Error).Hint)
			for _, text := range test.text {
				require.ErrorContains(t, err, text)
			}
			require.LessOrEqual(t, strings.Count(err.Error(), file(empty)+","), 1, "each place once")
		})
	}
}
