package self

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLibrary(t *testing.T) {
	require.Empty(t, Library())
	SetLibrary("/opt/lib/libcapsa.dylib")
	require.Equal(t, "/opt/lib/libcapsa.dylib", Library())
}
