package safe_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/safe"
)

func TestGoContains(t *testing.T) {
	cause := errors.New("cause")
	var null *int
	for _, tt := range []struct {
		name string
		fn   func()
		is   func(error) bool
	}{
		{"value", func() { panic("boom") }, func(err error) bool { return err.Error() == "value panicked: boom" }},
		{"error", func() { panic(cause) }, func(err error) bool { return errors.Is(err, cause) }},
		{"nil dereference", func() { *null = 1 }, func(err error) bool {
			var re runtime.Error
			return errors.As(err, &re)
		}},
		{"nil panic", func() { panic(nil) }, func(err error) bool { return err != nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := safe.Panics()
			got := make(chan error, 1)
			safe.Go(tt.name, func(err error) { got <- err }, tt.fn)
			err := <-got
			require.True(t, tt.is(err), "%v", err)
			var pe *safe.PanicError
			require.ErrorAs(t, err, &pe)
			require.Equal(t, tt.name, pe.Name)
			require.Contains(t, string(pe.Stack), "safe_test.go")
			require.Greater(t, safe.Panics(), before)
		})
	}
}

func TestGoRunsDefersBeforeHandler(t *testing.T) {
	order := make(chan string, 2)
	safe.Go("g", func(error) { order <- "handler" }, func() {
		defer func() { order <- "defer" }()
		panic("x")
	})
	require.Equal(t, "defer", <-order)
	require.Equal(t, "handler", <-order)
}

func TestGoHandlerMayPanicOrBeNil(t *testing.T) {
	done := make(chan struct{})
	safe.Go("nil handler", nil, func() { defer close(done); panic("x") })
	<-done
	called := make(chan struct{})
	safe.Go("bad handler", func(error) { defer close(called); panic("again") }, func() { panic("x") })
	<-called
	require.NoError(t, safe.Run("still alive", func() {}))
}

func TestGoexitIsNotAPanic(t *testing.T) {
	done := make(chan struct{})
	safe.Go("exit", func(error) { t.Error("handler called") }, func() { defer close(done); runtime.Goexit() })
	<-done
}
