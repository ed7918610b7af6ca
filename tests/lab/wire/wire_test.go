package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessages(t *testing.T) {
	var b bytes.Buffer
	job := ToGuest{Job: &Job{Args: []string{"a b", "'\"\n\x01"}, Env: []string{"X=1"}, Dir: "/"}}
	require.NoError(t, Send(&b, job))
	require.NoError(t, Send(&b, ToGuest{Signal: 15}))
	d := NewDecoder(&b)
	var got ToGuest
	require.NoError(t, d.Next(&got))
	require.Equal(t, job, got)
	got = ToGuest{}
	require.NoError(t, d.Next(&got))
	require.Equal(t, int32(15), got.Signal)
	require.ErrorIs(t, d.Next(&got), io.EOF)
}

func TestInput(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 20000)
	var line, out bytes.Buffer
	require.NoError(t, SendInput(&line, strings.NewReader(data)))
	line.WriteString("after the end")
	require.NoError(t, ReceiveInput(&out, &line))
	require.Equal(t, data, out.String())
	require.Equal(t, "after the end", line.String())
}

// broken is a writer whose reader has gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestInputWithoutReader(t *testing.T) {
	var line bytes.Buffer
	require.NoError(t, SendInput(&line, strings.NewReader(strings.Repeat("x", 300000))))
	require.NoError(t, ReceiveInput(broken{}, &line))
	require.Zero(t, line.Len())
}

func TestInputFrameTooLong(t *testing.T) {
	require.ErrorContains(t, ReceiveInput(io.Discard, bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})), "limit")
}
