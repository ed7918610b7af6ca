package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// scanChunk is how many bytes Expect takes from the ring at a time.
const scanChunk = 32 << 10

// Match is what Expect found.
type Match struct {
	Pattern int      // index of the pattern that matched
	Text    []byte   // the matched bytes
	Groups  [][]byte // submatches of a regular expression, from 1; nil where a group took no part
	Before  []byte   // what was printed since the reader's position, before the match: its last bytes when it is longer than LookBack
	Lost    uint64   // bytes overwritten before this call saw them
}

// ExpectError says why Expect ended without a match. Nothing has been consumed:
// the reader stands where it stood, and calling again is right.
type ExpectError struct {
	Patterns []Pattern
	Last     []byte // end of the output seen, at most 200 bytes
	Lost     uint64 // bytes overwritten before this call saw them
	Err      error  // the context's error, io.EOF or ErrClosed
}

// Error names the patterns and shows what was printed instead.
func (e *ExpectError) Error() string {
	names := make([]string, len(e.Patterns))
	for i, p := range e.Patterns {
		names[i] = p.String()
	}
	reason := e.Err.Error()
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded):
		reason = "not seen in time"
	case errors.Is(e.Err, io.EOF):
		reason = "not seen before the console ended"
	}
	return fmt.Sprintf("console: expect %s: %s; last output %q", strings.Join(names, " or "), reason, e.Last)
}

func (e *ExpectError) Unwrap() error { return e.Err }

// Expect waits until the output from the reader's position on holds a match of
// one of the patterns, and consumes everything up to the match's end. The match
// that is complete first in the stream wins; when several are complete with the
// same byte, the first in the list. No newline is needed.
//
// When ctx or the console ends first, the error is an *ExpectError and nothing
// is consumed. A call looks at output that is already there even when ctx has
// ended. Output overwritten while the call waits counts in Match.Lost and
// [Reader.Lost] only when the call had not seen it.
func (r *Reader) Expect(ctx context.Context, patterns []Pattern) (Match, error) {
	if len(patterns) == 0 {
		return Match{}, errors.New("console: no pattern")
	}
	for _, p := range patterns {
		if err := p.check(); err != nil {
			return Match{}, err
		}
	}
	if err := r.enter(ctx); err != nil {
		return Match{}, &ExpectError{Patterns: patterns, Err: err}
	}
	defer r.turn.give()
	s := newSearch(patterns, r.pos)
	stopAt := uint64(math.MaxUint64)
	for {
		if stopAt == math.MaxUint64 && ctx.Err() != nil {
			// What is there by now is looked at; a guest that never stops
			// printing cannot hold the call any longer.
			_, stopAt = r.c.ring.bounds()
		}
		v, err := r.next(ctx, s.room(), s.end())
		if err == nil && v.n > 0 {
			s.add(v)
		}
		if errors.Is(err, io.EOF) {
			s.ended = true
		}
		m, at, ok := s.scan()
		if err == nil && s.end() >= stopAt {
			err = ctx.Err()
		}
		switch {
		case ok:
			r.advance(at, s.lost)
			return m, nil
		case err != nil:
			return Match{}, &ExpectError{Patterns: patterns, Last: s.last(), Lost: s.lost, Err: err}
		}
	}
}

// search is the state of one Expect call: the output it has seen, as far as a
// match can reach back, and a scanner for each pattern.
type search struct {
	patterns []Pattern
	scanners []scanner
	from     uint64 // where the text begins that a match may use: the reader's position, or the end of a gap
	base     uint64 // offset of text[0]
	text     []byte
	lost     uint64
	ended    bool
}

func newSearch(patterns []Pattern, at uint64) *search {
	s := &search{patterns: patterns, from: at, base: at}
	for _, p := range patterns {
		s.scanners = append(s.scanners, p.scanner(at))
	}
	return s
}

func (s *search) end() uint64 { return s.base + uint64(len(s.text)) }

// room returns space after the text for the next bytes, dropping text that no
// match can reach.
func (s *search) room() []byte {
	if len(s.text) >= 2*LookBack {
		// The last character may be incomplete and not looked at yet.
		drop := len(s.text) - LookBack - utf8.UTFMax
		s.text = s.text[:copy(s.text, s.text[drop:])]
		s.base += uint64(drop)
	}
	if n := len(s.text); cap(s.text)-n < scanChunk/8 {
		grown := make([]byte, n, max(scanChunk/8, min(2*n, n+scanChunk))+n)
		copy(grown, s.text)
		s.text = grown
	}
	free := s.text[len(s.text):cap(s.text)]
	return free[:min(len(free), scanChunk)]
}

// add takes the bytes that were read into room. After a gap everything begins
// anew behind it: no match spans bytes that were not seen.
func (s *search) add(v view) {
	n := len(s.text)
	s.text = s.text[:n+v.n]
	gap := v.at - (s.base + uint64(n))
	if gap == 0 {
		return
	}
	s.lost += gap
	s.text = s.text[:copy(s.text, s.text[n:])]
	s.base, s.from = v.at, v.at
	for _, sc := range s.scanners {
		sc.reset(v.at)
	}
}

// scan looks at what is new and returns the match and where it ends.
func (s *search) scan() (Match, uint64, bool) {
	for {
		var first hit
		which := -1
		text, ended := s.text, s.ended
		for i, sc := range s.scanners {
			h, ok := sc.scan(text, s.base, ended)
			if ok && (which < 0 || h.at < first.at) {
				first, which = h, i
				// Only an earlier match matters now.
				text, ended = text[:h.at-s.base], s.ended && h.at == s.end()
			}
		}
		if which < 0 {
			return Match{}, 0, false
		}
		if m, at, ok := s.match(which, first.text); ok {
			return m, at, true
		}
		// Too long to be told: all go on behind it.
		for _, sc := range s.scanners {
			sc.reset(first.text)
		}
	}
}

// match describes the match of a pattern in the text up to offset end. What it
// sees depends on the offset alone, not on the pieces that came.
func (s *search) match(which int, end uint64) (Match, uint64, bool) {
	begin := s.from
	if end-begin > LookBack {
		begin = end - LookBack
	}
	text := s.text[begin-s.base : end-s.base]
	loc := s.patterns[which].locate(text)
	if loc == nil {
		return Match{}, 0, false
	}
	own := append([]byte(nil), text[:loc[1]]...)
	m := Match{Pattern: which, Text: own[loc[0]:], Before: own[:loc[0]:loc[0]], Lost: s.lost}
	for i := 2; i < len(loc); i += 2 {
		if loc[i] < 0 {
			m.Groups = append(m.Groups, nil)
			continue
		}
		m.Groups = append(m.Groups, own[loc[i]:loc[i+1]:loc[i+1]])
	}
	return m, begin + uint64(loc[1]), true
}

// last returns the end of the text seen.
func (s *search) last() []byte {
	const shown = 200
	return append([]byte(nil), s.text[max(0, len(s.text)-shown):]...)
}
