package console

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
)

// LookBack is the number of bytes that a match of Expect can reach back: 256
// KiB. Longer matches are not found, and Match.Before holds at most as much.
const LookBack = 256 << 10

// maxLiteral bounds a literal pattern, in bytes.
const maxLiteral = 64 << 10

// Pattern is something to wait for. The zero Pattern is invalid.
type Pattern struct {
	literal []byte
	re      *regexp.Regexp
	prog    *syntax.Prog
}

// Literal returns a pattern of these bytes. An empty or very long (64 KiB)
// text makes a pattern that Expect rejects.
func Literal(text string) Pattern { return Pattern{literal: []byte(text)} }

// Regexp returns a pattern of a regular expression in the syntax of package
// regexp.
//
// What matches is decided as if the output came one character at a time: the
// pattern matches in the shortest output that holds a match. So a repetition
// at the end of an expression takes as little as it can ("[0-9]+" takes one
// digit; write "[0-9]+\r?\n" to have them all), "$" and "\z" are true after
// each character, and "\b" needs no character after it. The result does not
// depend on the pieces in which the output arrived. "^" is true at the
// reader's position.
//
// An expression that matches the empty text is an error: it would match before
// anything was printed.
func Regexp(expr string) (Pattern, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return Pattern{}, fmt.Errorf("console: pattern: %w", err)
	}
	if re.MatchString("") {
		return Pattern{}, fmt.Errorf("console: pattern %q matches the empty text", expr)
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return Pattern{}, fmt.Errorf("console: pattern: %w", err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return Pattern{}, fmt.Errorf("console: pattern: %w", err)
	}
	return Pattern{re: re, prog: prog}, nil
}

// MustRegexp is Regexp for expressions in a program's text.
func MustRegexp(expr string) Pattern {
	p, err := Regexp(expr)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return p
}

// String returns the pattern in a form for messages.
func (p Pattern) String() string {
	if p.re != nil {
		return "/" + p.re.String() + "/"
	}
	return strconv.Quote(string(p.literal))
}

// check says what is wrong with a pattern.
func (p Pattern) check() error {
	switch {
	case p.re != nil:
		return nil
	case len(p.literal) == 0:
		return fmt.Errorf("console: empty pattern")
	case len(p.literal) > maxLiteral:
		return fmt.Errorf("console: literal pattern of %d bytes; at most %d", len(p.literal), maxLiteral)
	}
	return nil
}

// locate returns the submatch indexes of the match in text, which the caller
// knows to end it, in the way of regexp.FindSubmatchIndex; nil when the match
// began before text.
func (p Pattern) locate(text []byte) []int {
	if p.re != nil {
		return p.re.FindSubmatchIndex(text)
	}
	if !bytes.HasSuffix(text, p.literal) {
		return nil
	}
	return []int{len(text) - len(p.literal), len(text)}
}

// hit says that a pattern matches in the stream.
type hit struct {
	// at is the offset of the output's end when the match was certain, which
	// orders the hits of several patterns.
	at uint64
	// text is the offset where the text that holds the match ends: less than
	// at by the bytes that were needed to see that a character was invalid.
	text uint64
}

// scanner looks for one pattern in a stream given in pieces, each byte once.
type scanner interface {
	// scan looks at text, whose first byte has offset base and which holds all
	// bytes from the one after the last that keep allowed to drop. The end of
	// the stream completes what was pending.
	scan(text []byte, base uint64, ended bool) (hit, bool)
	// reset forgets everything before offset at, where the stream goes on after a gap.
	reset(at uint64)
}

func (p Pattern) scanner(at uint64) scanner {
	if p.re != nil {
		return newDetector(p.prog, at)
	}
	return &literalScanner{literal: p.literal, pos: at}
}

// literalScanner finds bytes.
type literalScanner struct {
	literal []byte
	pos     uint64 // a match can begin here or later
}

func (s *literalScanner) reset(at uint64) { s.pos = at }

func (s *literalScanner) scan(text []byte, base uint64, _ bool) (hit, bool) {
	rest := text[s.pos-base:]
	if i := bytes.Index(rest, s.literal); i >= 0 {
		s.pos += uint64(i)
		end := s.pos + uint64(len(s.literal))
		return hit{at: end, text: end}, true
	}
	if n := len(rest) - len(s.literal) + 1; n > 0 {
		s.pos += uint64(n)
	}
	return hit{}, false
}
