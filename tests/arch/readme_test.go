package arch

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example that the README prints is the one that the ABI tests compile and run.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	example, err := os.ReadFile("../../examples/hello.c")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(readme), "```c\n")
	require.True(t, ok)
	shown, _, ok := strings.Cut(rest, "```\n")
	require.True(t, ok)
	require.Equal(t, string(example), shown)
}
