package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// scriptedTTY is a shell in a few lines: it echoes what is typed as a terminal
// does, and when a whole command is there it answers as the test says.
type scriptedTTY struct {
	c       *Console
	newline string
	answer  func(id string) string

	mu    sync.Mutex
	typed bytes.Buffer
}

var typedMarker = regexp.MustCompile(`'(capsa-[0-9a-f]{16})' '([0-9a-f]{16}):end:' \$\?\)\n`)

func newScriptedTTY(newline string, answer func(id string) string) *Console {
	tty := &scriptedTTY{newline: newline, answer: answer}
	tty.c = New(Config{Input: &fakeInput{each: tty.take}})
	return tty.c
}

func (s *scriptedTTY) take(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print(string(p))
	s.typed.Write(p)
	if m := typedMarker.FindSubmatch(s.typed.Bytes()); m != nil {
		s.typed.Reset()
		s.print(s.answer(string(m[1]) + string(m[2])))
	}
}

// print writes in pieces of one byte, the hardest case for every search.
func (s *scriptedTTY) print(text string) {
	for _, b := range []byte(strings.ReplaceAll(text, "\n", s.newline)) {
		_, _ = s.c.Write([]byte{b})
	}
}

func TestRunOnScriptedTTY(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		newline string
		answer  func(id string) string
		output  string
		status  int
	}{
		{"terminal", "\r\n", func(id string) string { return "\n" + id + ":begin\nout\r\n" + id + ":end:0;\n$ " }, "out\r\n", 0},
		{"raw terminal keeps CR LF", "\n", func(id string) string { return id + ":begin\nout\r\n" + id + ":end:5;" }, "out\r\n", 5},
		{"no output", "\r\n", func(id string) string { return id + ":begin\n" + id + ":end:255;\n" }, "", 255},
		{"noise around", "\r\n", func(id string) string {
			return "prompt> [1] done\n" + id + ":begin\n$\n" + id + ":end:1;\nprompt> " + id + ":end:2;"
		}, "$\n", 1},
		{"marker seen and shown by the command", "\r\n", func(id string) string {
			return id + ":begin\n" + id + ":end:x;" + id + ":end:99999;" + id + id + ":end:3;"
		}, "<id>:end:x;<id>:end:99999;<id>", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var id string
			c := newScriptedTTY(tc.newline, func(i string) string { id = i; return tc.answer(i) })
			result, err := c.Run(context.Background(), "anything\nat all")
			require.NoError(t, err)
			require.Equal(t, tc.output, strings.ReplaceAll(string(result.Output), id, "<id>"))
			require.Equal(t, tc.status, result.Status)
		})
	}
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	c := newScriptedTTY("\n", func(id string) string { return id + ":begin\npart" })
	_, err := c.Run(context.Background(), "a\x00b")
	require.ErrorContains(t, err, "NUL")
	_, err = c.Run(context.Background(), strings.Repeat("x", MaxCommand+1))
	require.ErrorContains(t, err, "at most")

	synctest.Test(t, func(t *testing.T) {
		c := newScriptedTTY("\n", func(id string) string { return id + ":begin\npart" })
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		result, err := c.Run(ctx, "slow")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, "part", string(result.Output), "what there was comes with the error")
		_, err = c.Run(ctx, "no time")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		for _, end := range []struct {
			fn   func(c *Console)
			want error
		}{{(*Console).End, io.ErrUnexpectedEOF}, {func(c *Console) { _ = c.Close() }, ErrClosed}} {
			c := New(Config{Input: &fakeInput{}})
			errs := make(chan error, 1)
			go func() {
				_, err := c.Run(context.Background(), "x")
				errs <- err
			}()
			synctest.Wait()
			end.fn(c)
			require.ErrorIs(t, <-errs, end.want)
		}
	})
	_, err = New(Config{}).Run(context.Background(), "x")
	require.ErrorIs(t, err, ErrClosed, "a console without input")
}

// TestRunAfterPartialTyping: when time ends in the middle of typing, the next
// command begins with Ctrl-C, so that the shell drops the half it has.
func TestRunAfterPartialTyping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &fakeInput{limit: 20}
		c := New(Config{Input: in})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := c.Run(ctx, "echo one")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, in.text(), 20)
		in.mu.Lock()
		in.limit = 0
		in.mu.Unlock()
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = c.Run(ctx, "echo two")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, strings.HasPrefix(in.text()[20:], "\x03 ("), "%q", in.text())
		before := len(in.text())
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = c.Run(ctx, "echo three")
		require.True(t, strings.HasPrefix(in.text()[before:], " ("), "whole commands need no Ctrl-C")
	})
}

func TestRunBoundsOutput(t *testing.T) {
	t.Parallel()
	o := output{marker: []byte("MARK:")}
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 20 {
		require.False(t, o.add(block))
	}
	require.True(t, o.add([]byte("MARK:3;")))
	require.Len(t, o.text, MaxRunOutput)
	require.EqualValues(t, 4<<20, o.truncated)
	require.Equal(t, 3, o.status)
	require.Less(t, cap(o.pending), 4<<20)
}

// TestScriptLines: every line typed is short, printable ASCII, and undoing the
// encoding gives the command.
func TestScriptLines(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"", "echo 'a'", strings.Repeat("\\'é!\n\t", 700), strings.Repeat("x", 5000), strings.Repeat("abc'", 999)} {
		script := newMarkers().script(command)
		var text strings.Builder
		for _, line := range strings.Split(strings.TrimSuffix(string(script), "\n"), "\n") {
			require.LessOrEqual(t, len(line), 500)
			for _, c := range []byte(line) {
				require.True(t, c >= 0x20 && c < 0x7f && c != '!', "%q", line)
			}
			if part, ok := strings.CutPrefix(line, "capsa_run=$capsa_run'"); ok {
				text.WriteString(strings.TrimSuffix(part, "'"))
			}
		}
		octal := regexp.MustCompile(`\\0[0-7]{3}`)
		decoded := octal.ReplaceAllStringFunc(text.String(), func(s string) string {
			var c byte
			_, err := fmt.Sscanf(s[2:], "%o", &c)
			require.NoError(t, err)
			return string([]byte{c})
		})
		require.Equal(t, "unset capsa_run\n"+command, decoded)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	in := &fakeInput{}
	c := New(Config{Input: in})
	n, err := c.Send(ctx, []byte("ab"))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, c.SendInterrupt(ctx))
	require.NoError(t, c.SendEOF(ctx))
	require.Equal(t, "ab\x03\x04", in.text())
	require.NoError(t, c.Close())
	_, err = c.Send(ctx, []byte("x"))
	require.ErrorIs(t, err, ErrClosed)

	synctest.Test(t, func(t *testing.T) {
		in := &fakeInput{limit: 3}
		c := New(Config{Input: in})
		ctx, cancel := context.WithCancel(ctx)
		type answer struct {
			n   int
			err error
		}
		first, second := make(chan answer, 1), make(chan answer, 1)
		go func() { n, err := c.Send(ctx, []byte("12345")); first <- answer{n, err} }()
		synctest.Wait()
		go func() { n, err := c.Send(context.Background(), []byte("67")); second <- answer{n, err} }()
		synctest.Wait()
		cancel()
		require.Equal(t, answer{3, context.Canceled}, <-first)
		synctest.Wait()
		require.NoError(t, c.Close())
		require.Equal(t, answer{0, ErrClosed}, <-second)
	})
}
