package virtio

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	kicks["eventfd"] = func(t *testing.T) StoppableKick {
		e, err := NewEventFD()
		require.NoError(t, err)
		return e
	}
}

// KVM and other processes see the descriptor itself.
func TestEventFDFromOutside(t *testing.T) {
	e, err := NewEventFD()
	require.NoError(t, err)
	defer e.Stop()

	flags, err := unix.FcntlInt(uintptr(e.FD()), unix.F_GETFD, 0)
	require.NoError(t, err)
	require.NotZero(t, flags&unix.FD_CLOEXEC)

	_, err = unix.Write(e.FD(), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	require.NoError(t, err)
	require.NoError(t, e.Wait())
}

// An eventfd at its maximum would make write(2) wait; Poke must not.
func TestEventFDPokeAtMaximum(t *testing.T) {
	e, err := NewEventFD()
	require.NoError(t, err)
	defer e.Stop()
	_, err = unix.Write(e.FD(), []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) // 2^64-2, eventfd(2)
	require.NoError(t, err)
	e.Poke()
	require.NoError(t, e.Wait())
}

// Not parallel: the limit is the process's.
func TestEventFDLimit(t *testing.T) {
	// Descriptors below the limit that are in use do not matter: the lowest
	// free one is what the next open gets, so a limit of that refuses it.
	probe, err := os.Open(os.DevNull)
	require.NoError(t, err)
	free := uint64(probe.Fd())
	require.NoError(t, probe.Close())

	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: free, Max: old.Max}))
	e, err := NewEventFD()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	require.Nil(t, e)
	require.ErrorIs(t, err, unix.EMFILE)
}
