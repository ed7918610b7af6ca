package capsa_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// patience is how long a step may take before it counts as hanging.
const patience = time.Minute

// bounded is a context for steps that must not hang.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// expired is a context that polls.
func expired() context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	cancel()
	return ctx
}

// cancelled is a context that has been cancelled.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// builder is a builder for a guest of the fake backend.
func builder(t testing.TB, fake *vmtest.Fake, kernel string) *capsa.Builder {
	t.Helper()
	b := capsa.NewBuilder()
	b.UseBackend(fake)
	require.NoError(t, b.SetKernel(kernel))
	return b
}

// build makes a machine that the test closes, and checks for leaks.
func build(t testing.TB, kernel string) *capsa.VM {
	t.Helper()
	return buildOn(t, vmtest.NewFake(), kernel)
}

func buildOn(t testing.TB, fake *vmtest.Fake, kernel string) *capsa.VM {
	t.Helper()
	vmtest.CheckLeaks(t)
	return buildFrom(t, builder(t, fake, kernel))
}

func buildFrom(t testing.TB, b *capsa.Builder) *capsa.VM {
	t.Helper()
	m, err := b.Build()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// running makes and starts a machine.
func running(t testing.TB, kernel string) *capsa.VM {
	t.Helper()
	m := build(t, kernel)
	require.NoError(t, m.Start(t.Context()))
	return m
}

// program is a fake backend with one more guest, "/guest".
func program(p vmtest.Program) *vmtest.Fake {
	fake := vmtest.NewFake()
	fake.Programs["/guest"] = p
	return fake
}

// ended waits for the end.
func ended(t testing.TB, m *capsa.VM) capsa.Exit {
	t.Helper()
	exit, err := m.Wait(bounded(t))
	require.NotErrorIs(t, err, vm.KindTimeout, "hangs")
	return exit
}

// refused checks that an error is typed and of that kind.
func refused(t testing.TB, kind vm.Kind, err error) {
	t.Helper()
	_ = refusal(t, kind, err)
}

// refusal is refused, and returns the error.
func refusal(t testing.TB, kind vm.Kind, err error) *capsa.Error {
	t.Helper()
	require.Error(t, err)
	var e *capsa.Error
	require.ErrorAs(t, err, &e, "%v is not typed", err)
	require.Equal(t, kind, vm.KindOf(err), "%v", err)
	require.NotEmpty(t, e.Op, "%v names no operation", err)
	return e
}

// expect waits for text on a console.
func expect(t testing.TB, m *capsa.VM, text string) {
	t.Helper()
	_, err := m.Console().NewReader().Expect(bounded(t), []capsa.Pattern{capsa.Literal(text)})
	require.NoError(t, err)
}
