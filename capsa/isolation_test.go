package capsa_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// TestIsolation: what is chosen is kept, and what cannot be is said by Build.
func TestIsolation(t *testing.T) {
	t.Parallel()
	b := capsa.FromConfig(vmtest.Config(vmtest.KernelSpin))
	require.ErrorIs(t, b.SetIsolation("jar"), capsa.KindInvalidArg)
	require.ErrorIs(t, b.SetJail("paper"), capsa.KindInvalidArg)
	require.NoError(t, b.SetIsolation(capsa.IsolationProcess))
	require.NoError(t, b.SetJail(capsa.JailPartial))
	text, err := b.JSON()
	require.NoError(t, err)
	again, err := capsa.FromJSON(text)
	require.NoError(t, err)
	require.Equal(t, capsa.IsolationProcess, again.Config().Isolation)
	require.Equal(t, capsa.JailPartial, again.Config().Jail)

	b.UseBackend(vmtest.NewFake())
	_, err = b.Build()
	require.ErrorIs(t, err, capsa.KindUnsupported)
	require.NoError(t, b.SetIsolation(capsa.IsolationNone))
	v, err := b.Build()
	require.NoError(t, err)
	require.NoError(t, v.Close())

	_, err = capsa.FromConfig(capsa.Config{Isolation: "jar", Jail: "paper"}).Build()
	require.ErrorContains(t, err, `isolation: "jar"`)
	require.ErrorContains(t, err, `jail: "paper"`)
}
