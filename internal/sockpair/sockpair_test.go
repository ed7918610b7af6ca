package sockpair_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/sockpair"
)

func TestNew(t *testing.T) {
	t.Parallel()
	ours, theirs, err := sockpair.New()
	require.NoError(t, err)
	for _, fd := range []int{ours, theirs} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.O_NONBLOCK)
	}
	_, err = unix.SendmsgN(ours, []byte("text"), nil, nil, sockpair.SendFlags)
	require.NoError(t, err)
	b := make([]byte, 8)
	n, err := unix.Read(theirs, b)
	require.NoError(t, err)
	require.Equal(t, "text", string(b[:n]))

	// Whoever writes to a socket that is gone gets an error, and no signal.
	require.NoError(t, unix.Close(theirs))
	_, err = unix.SendmsgN(ours, []byte("text"), nil, nil, sockpair.SendFlags)
	require.ErrorIs(t, err, unix.EPIPE)
	require.NoError(t, unix.Close(ours))
}

func TestDatagrams(t *testing.T) {
	t.Parallel()
	ours, theirs, err := sockpair.Datagrams(1<<16, 1<<17)
	require.NoError(t, err)
	for _, text := range []string{"one", "another"} {
		_, err = unix.SendmsgN(ours, []byte(text), nil, nil, sockpair.SendFlags)
		require.NoError(t, err)
	}
	b := make([]byte, 64)
	n, err := unix.Read(theirs, b)
	require.NoError(t, err)
	require.Equal(t, "one", string(b[:n]), "they keep their borders")
	require.NoError(t, unix.Close(theirs))
	require.NoError(t, unix.Close(ours))
}
