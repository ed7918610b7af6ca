package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestExpect(t *testing.T) {
	t.Parallel()
	re := MustRegexp
	for _, tc := range []struct {
		name     string
		stream   string
		patterns []Pattern
		pattern  int
		before   string
		text     string
		groups   []string
		rest     string
	}{
		{"literal", "Debian login: ", []Pattern{Literal("login: ")}, 0, "Debian ", "login: ", nil, ""},
		{"prompt without newline", "motd\r\n# ", []Pattern{re(`[#$] $`)}, 0, "motd\r\n", "# ", nil, ""},
		{"earliest wins, not first listed", "aaa bbb ccc", []Pattern{Literal("ccc"), Literal("bbb")}, 1, "aaa ", "bbb", nil, " ccc"},
		{"complete first wins", "abcd", []Pattern{Literal("abcd"), Literal("bc")}, 1, "a", "bc", nil, "d"},
		{"tie goes to the first listed", "xabc", []Pattern{Literal("abc"), Literal("bc")}, 0, "x", "abc", nil, ""},
		{"regexp and literal", "x=42;y", []Pattern{Literal("y"), re(`x=(\d+);`)}, 1, "", "x=42;", []string{"42"}, "y"},
		{"group without part", "b!", []Pattern{re(`(a)|(b)!`)}, 0, "", "b!", []string{"<nil>", "b"}, ""},
		{"repetition takes little", "n=123\n", []Pattern{re(`n=\d+`)}, 0, "", "n=1", nil, "23\n"},
		{"repetition with an end", "n=123\n", []Pattern{re(`n=(\d+)\n`)}, 0, "", "n=123\n", []string{"123"}, ""},
		{"runes", "größe: 3", []Pattern{re(`ö.e`)}, 0, "gr", "öße", nil, ": 3"},
		{"case", "PANIC", []Pattern{re(`(?i)panic`)}, 0, "", "PANIC", nil, ""},
		{"line begin", "x root\nroot:", []Pattern{re(`(?m)^root:`)}, 0, "x root\n", "root:", nil, ""},
		{"any but newline", "a\nb?", []Pattern{re(`..\?`), re(`.\?`)}, 1, "a\n", "b?", nil, ""},
		{"bytes that are no text", "\xff\xfe\x00ok", []Pattern{Literal("\xfe\x00")}, 0, "\xff", "\xfe\x00", nil, "ok"},
		{"word boundary needs no more", "foo bar", []Pattern{re(`foo\b`)}, 0, "", "foo", nil, " bar"},
		{"look-ahead sees one more", "foo foob", []Pattern{re(`foo\B`)}, 0, "foo ", "foo", nil, "b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{1, 2, 3, len(tc.stream)} {
				m, rest := expectPieces(t, tc.stream, piece, tc.patterns)
				require.Equal(t, tc.pattern, m.Pattern)
				require.Equal(t, tc.before, string(m.Before))
				require.Equal(t, tc.text, string(m.Text))
				require.Equal(t, tc.groups, groups(m))
				require.Equal(t, tc.rest, rest)
			}
		})
	}
}

func groups(m Match) []string {
	var out []string
	for _, g := range m.Groups {
		if g == nil {
			out = append(out, "<nil>")
			continue
		}
		out = append(out, string(g))
	}
	return out
}

// expectPieces lets Expect see a stream in pieces: the next is written when
// Expect waits. It returns the match and what is left to read.
func expectPieces(t *testing.T, stream string, piece int, patterns []Pattern) (m Match, left string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{})
		r := c.NewReader()
		var writer sync.WaitGroup
		writer.Go(func() {
			for rest := []byte(stream); len(rest) > 0; {
				n := min(piece, len(rest))
				_, _ = c.Write(rest[:n])
				rest = rest[n:]
				synctest.Wait()
			}
			c.End()
		})
		var err error
		m, err = r.Expect(context.Background(), patterns)
		require.NoError(t, err)
		writer.Wait()
		rest, err := io.ReadAll(contextReader{context.Background(), r})
		require.NoError(t, err)
		left = string(rest)
	})
	return m, left
}

func TestExpectTimeoutConsumesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{})
		r := c.NewReader()
		_, _ = c.Write([]byte("booting\r\nlog"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := r.Expect(ctx, []Pattern{Literal("login: "), MustRegexp("[#$] ")})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err,
			`console: expect "login: " or /[#$] /: not seen in time; last output "booting\r\nlog"`)
		_, _ = c.Write([]byte("in: "))
		m, err := r.Expect(endedContext(), []Pattern{Literal("login: ")})
		require.NoError(t, err)
		require.Equal(t, "booting\r\n", string(m.Before))

		_, _ = c.Write([]byte("rest"))
		c.End()
		_, err = r.Expect(context.Background(), []Pattern{Literal("more")})
		require.ErrorIs(t, err, io.EOF)
		m, err = r.Expect(context.Background(), []Pattern{Literal("rest")})
		require.NoError(t, err)
		require.Empty(t, m.Before)
		require.NoError(t, r.Close())
		_, err = r.Expect(context.Background(), []Pattern{Literal("rest")})
		require.ErrorIs(t, err, ErrClosed)
	})
}

// TestExpectEndsWhileGuestPrints: a context that has ended ends the call even
// when there is always more to look at.
func TestExpectEndsWhileGuestPrints(t *testing.T) {
	t.Parallel()
	c := New(Config{RingSize: 64 << 10})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = c.Write(bytes.Repeat([]byte("y\n"), 2000))
			}
		}
	}()
	_, err := c.NewReader().Expect(endedContext(), []Pattern{MustRegexp(`n.n.n`)})
	require.ErrorIs(t, err, context.Canceled)
	close(stop)
	<-done
}

func TestExpectReportsLoss(t *testing.T) {
	t.Parallel()
	c := New(Config{RingSize: 16})
	r := c.NewReader()
	_, _ = c.Write([]byte("needle"))
	_, _ = c.Write([]byte("0123456789abcdef<needle>"))
	m, err := r.Expect(context.Background(), []Pattern{Literal("needle")})
	require.NoError(t, err)
	require.EqualValues(t, 14, m.Lost)
	require.EqualValues(t, 14, r.Lost())
	require.Equal(t, "89abcdef<"[1:], string(m.Before)[1:])

	_, _ = c.Write(bytes.Repeat([]byte("z"), 100))
	_, err = r.Expect(endedContext(), []Pattern{Literal("needle")})
	var e *ExpectError
	require.True(t, errors.As(err, &e))
	require.EqualValues(t, 100+1-16, e.Lost)
	require.EqualValues(t, 14, r.Lost(), "not consumed: counted when it is")
}

func TestExpectLookBack(t *testing.T) {
	t.Parallel()
	c := New(Config{RingSize: 4 << 20})
	r := c.NewReader()
	_, _ = c.Write([]byte("<" + strings.Repeat("x", 3<<20) + ">"))
	_, _ = c.Write([]byte("<y>"))
	m, err := r.Expect(context.Background(), []Pattern{MustRegexp(`<[^>]*>`)})
	require.NoError(t, err)
	require.Equal(t, "<y>", string(m.Text), "the long match cannot be told and is passed over")

	_, _ = c.Write([]byte(strings.Repeat("é", 1<<20) + "!"))
	m, err = r.Expect(context.Background(), []Pattern{Literal("!")})
	require.NoError(t, err)
	require.Len(t, m.Before, LookBack-1)
	require.Zero(t, m.Lost)
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{"(", "a*", "", "$", "^", "x?"} {
		_, err := Regexp(expr)
		require.Error(t, err, expr)
	}
	r := New(Config{}).NewReader()
	for _, patterns := range [][]Pattern{nil, {}, {Literal("")}, {{}}, {Literal(strings.Repeat("x", 1<<20))}} {
		_, err := r.Expect(context.Background(), patterns)
		require.Error(t, err)
	}
	require.Panics(t, func() { MustRegexp("(") })
}

// exprs are the expressions of the tests against package regexp.
var exprs = []string{
	`ab`, `a+b`, `a|bc`, `(a|ab)(c|bcd)`, `[^a]b$`, `(?m)^b`, `\bb`, `b\b`, `a\B`, `\B`, `é`, `[é-ü]+a`,
	`.a`, `(?s).a`, `\x{fffd}`, `(?i)AB`, `a{2,3}b`, `b$\n`, `(?m)a$`, `(?m)^$\n?.`, `[[:^ascii:]]a`, `a.*b`, `(a*)+b`, `\z.|a\nb`,
}

// FuzzExpect: whatever the stream and the pieces it comes in, Expect finds
// exactly what package regexp finds first when it is shown the stream
// character by character.
func FuzzExpect(f *testing.F) {
	f.Add([]byte("aab\nb é ab"), []byte{1, 2, 3}, uint8(0), uint8(6))
	f.Add([]byte("\xe2\xe2ab\xc3"), []byte{1}, uint8(14), uint8(8))
	f.Add([]byte("abcd abcd\n\nx"), []byte{5, 1}, uint8(3), uint8(19))
	f.Add([]byte("foo\xc3\xa9a"), []byte{4, 1}, uint8(11), uint8(20))
	for i := range exprs {
		f.Add([]byte("b a ab aab\nb\naéüa\xff\xe2\x82bcd a\nb"), []byte{3, 1}, uint8(i), uint8(i+1))
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte, one, two uint8) {
		if len(stream) > 300 {
			return
		}
		patterns := []Pattern{
			MustRegexpOrSkip(t, exprs[int(one)%len(exprs)]),
			MustRegexpOrSkip(t, exprs[int(two)%len(exprs)]),
			Literal("b\n"),
		}
		want := searchAll(stream, patterns, nil)
		require.Equal(t, want, searchAll(stream, patterns, cuts))
		require.Equal(t, want, searchAll(stream, patterns, []byte{1}))
		for i, p := range patterns {
			if p.re == nil {
				continue
			}
			got, ok := firstHit(stream, p)
			require.Equal(t, shortestPrefix(stream, p.re), got, "pattern %d %s (%v)", i, p, ok)
		}
	})
}

// MustRegexpOrSkip skips expressions that a Pattern refuses.
func MustRegexpOrSkip(t *testing.T, expr string) Pattern {
	p, err := Regexp(expr)
	if err != nil {
		t.Skip(err)
	}
	return p
}

// searchAll finds match after match in a stream that comes in pieces of the
// given sizes, over and over (nil: at once).
func searchAll(stream []byte, patterns []Pattern, cuts []byte) []string {
	var found []string
	for at := 0; len(found) < 50; {
		s := newSearch(patterns, uint64(at))
		m, end, ok := Match{}, uint64(0), false
		for i, pos := 0, at; !ok && !s.ended; i++ {
			n := len(stream) - pos
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)])%7)
			}
			n = copy(s.room(), stream[pos:pos+n])
			s.add(view{n: n, at: uint64(pos)})
			if pos += n; pos == len(stream) {
				// As Expect does it: the end is known only when no more comes.
				if m, end, ok = s.scan(); !ok {
					s.ended = true
				}
			}
			if !ok {
				m, end, ok = s.scan()
			}
		}
		if !ok {
			return append(found, "end")
		}
		found = append(found, fmt.Sprintf("%d: %q %q %q -> %d", m.Pattern, m.Before, m.Text, m.Groups, end))
		if int(end) == at {
			return append(found, "empty match")
		}
		at = int(end)
	}
	return found
}

// firstHit is the length of the text that the detector finds to hold a match, or -1.
func firstHit(stream []byte, p Pattern) (int, bool) {
	h, ok := newDetector(p.prog, 0).scan(stream, 0, true)
	if !ok {
		return -1, false
	}
	return int(h.text), true
}

// shortestPrefix is the definition: the shortest whole number of characters
// that holds a match, or -1.
func shortestPrefix(stream []byte, re *regexp.Regexp) int {
	for at := 0; at < len(stream); {
		_, size := utf8.DecodeRune(stream[at:])
		at += size
		if re.Match(stream[:at]) {
			return at
		}
	}
	return -1
}

// TestDetectorManyStates overflows the automaton's memory.
func TestDetectorManyStates(t *testing.T) {
	t.Parallel()
	p := MustRegexp(`a[ab]{12}c`)
	stream := make([]byte, 0, 1<<14)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1 << 14 {
		stream = append(stream, "ab"[rnd.IntN(2)])
	}
	stream = append(stream, "abbbbbbbbbbbbc"...)
	d := newDetector(p.prog, 0)
	h, ok := d.scan(stream, 0, false)
	require.True(t, ok)
	require.EqualValues(t, len(stream), h.text)
	require.LessOrEqual(t, len(d.states), maxStates)
	require.Greater(t, d.flushes, 1)
}

func BenchmarkExpectRegexp(b *testing.B) {
	p := MustRegexp(`(login|password): $`)
	chunk := bytes.Repeat([]byte("[    0.000000] Linux version 6.12.0 (x@y) #1 SMP\r\n"), 600)
	b.SetBytes(int64(len(chunk)))
	d := newDetector(p.prog, 0)
	for b.Loop() {
		d.scan(chunk, d.pos, false)
	}
}
