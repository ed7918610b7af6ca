package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.go")
	require.NoError(t, os.WriteFile(file, []byte("x // want \"bad .*\"\ny\nz // want \"worse\"\n"), 0o600))
	for name, c := range map[string]struct {
		found string
		first bool
		want  string // of the problems; "": none
	}{
		"all":        {"A:1:1: bad luck\n\texcerpt\nA:3:9: worse\n2 mistakes\n", false, ""},
		"vet":        {"vet: A:1:1: bad luck\nA:3:9: worse\n", false, ""},
		"first":      {"A:1:1: bad luck\n", true, ""},
		"one missed": {"A:1:1: bad luck\n", false, "A:3: not found: worse"},
		"other text": {"A:1:1: good luck\nA:3:1: worse\n", false, "unexpected: A:1:1: good luck"},
		"other line": {"A:1:1: bad luck\nA:2:1: worse\nA:3:1: worse\n", false, "unexpected: A:2:1"},
		"silence":    {"", true, "nothing was found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems, err := run(strings.NewReader(strings.ReplaceAll(c.found, "A:", file+":")), []string{dir}, c.first)
			require.NoError(t, err)
			got := strings.ReplaceAll(strings.Join(problems, "\n"), file, "A")
			if c.want == "" {
				require.Empty(t, got)
			} else {
				require.Contains(t, got, c.want)
			}
		})
	}
	_, err := run(strings.NewReader(""), []string{t.TempDir()}, false)
	require.ErrorContains(t, err, "nothing is planted")
}
