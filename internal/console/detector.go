package console

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// detector finds where a stream first holds a match of a regular expression.
// It runs the compiled expression as a set of threads, one character at a
// time, and remembers the sets it met with their successors on ASCII
// characters (a lazily built automaton), so that each byte is looked at once
// and usually costs one table look-up.
//
// It answers only where; what matched is the business of package regexp,
// once, on the text up to there.
type detector struct {
	prog    *syntax.Prog
	states  map[string]*dstate
	flushes int // how often states was emptied
	start   *dstate
	now     *dstate
	pos     uint64 // offset of the next byte to decode
	seen    uint64 // offset up to which bytes were needed for a decision

	// scratch of step
	stack   []uint32
	visited []uint64 // generation in which an instruction was reached
	gen     uint64
	next    []uint32
}

// maxStates bounds the memory of one detector: a state is about 1 KiB.
const maxStates = 256

// dstate is a set of threads waiting for the next character.
type dstate struct {
	pending []uint32 // instructions reached by the last character, sorted, not followed yet
	prev    rune     // the last character's representative, -1 at the beginning
	match   bool     // the text up to here holds a match
	next    [utf8.RuneSelf]*dstate
}

func newDetector(prog *syntax.Prog, at uint64) *detector {
	d := &detector{prog: prog, visited: make([]uint64, len(prog.Inst))}
	d.reset(at)
	return d
}

func (d *detector) reset(at uint64) {
	d.forget()
	d.now = d.start
	d.pos, d.seen = at, at
}

// forget empties the automaton.
func (d *detector) forget() {
	d.states = map[string]*dstate{}
	d.flushes++
	d.start = d.state(nil, -1, false)
}

func (d *detector) scan(text []byte, base uint64, ended bool) (hit, bool) {
	rest := text[d.pos-base:]
	for len(rest) > 0 {
		size := 1
		if c := rest[0]; c < utf8.RuneSelf {
			d.now = d.ascii(d.now, c)
			d.seen = max(d.seen, d.pos+1)
		} else {
			if !ended && !utf8.FullRune(rest) {
				return hit{}, false
			}
			var r rune
			r, size = utf8.DecodeRune(rest)
			d.seen = max(d.seen, d.pos+uint64(needed(rest, ended)))
			d.now = d.step(d.now, r)
		}
		rest = rest[size:]
		d.pos += uint64(size)
		if d.now.match {
			return hit{at: d.seen, text: d.pos}, true
		}
	}
	return hit{}, false
}

// ascii returns the state after an ASCII character.
func (d *detector) ascii(from *dstate, c byte) *dstate {
	if next := from.next[c]; next != nil {
		return next
	}
	flushes := d.flushes
	next := d.step(from, rune(c))
	if flushes == d.flushes {
		// Otherwise from belongs to an automaton that was given up and must
		// not lead to the new one, or neither would ever be freed.
		from.next[c] = next
	}
	return next
}

// needed returns how many bytes of b it takes to decode its first character.
func needed(b []byte, ended bool) int {
	for n := 1; n < len(b) && n < utf8.UTFMax; n++ {
		if utf8.FullRune(b[:n]) {
			return n
		}
	}
	if ended && !utf8.FullRune(b) {
		return len(b)
	}
	return min(len(b), utf8.UTFMax)
}

// step returns the state after character r.
func (d *detector) step(from *dstate, r rune) *dstate {
	d.next = d.next[:0]
	matched := d.follow(from.pending, from.prev, r, func(in *syntax.Inst) {
		if matchesRune(in, r) {
			d.next = append(d.next, in.Out)
		}
	})
	slices.Sort(d.next)
	d.next = slices.Compact(d.next)
	return d.state(d.next, representative(r), matched)
}

// state returns the state for a set of threads. matched says that the last
// character completed a match which had to look at it.
func (d *detector) state(pending []uint32, prev rune, matched bool) *dstate {
	key := make([]byte, 0, 2+4*len(pending))
	key = append(key, byte(prev+1), 0)
	if matched {
		key[1] = 1
	}
	for _, pc := range pending {
		key = append(key, byte(pc), byte(pc>>8), byte(pc>>16), byte(pc>>24))
	}
	if s := d.states[string(key)]; s != nil {
		return s
	}
	if len(d.states) >= maxStates {
		d.forget()
	}
	s := &dstate{pending: slices.Clone(pending), prev: prev}
	s.match = matched || d.follow(s.pending, prev, -1, nil)
	d.states[string(key)] = s
	return s
}

// follow walks from pending and from the expression's start through the
// instructions that take no character, between characters prev and next (-1:
// none), calls each for those that take one, and reports whether the end of
// the expression was reached.
func (d *detector) follow(pending []uint32, prev, next rune, each func(*syntax.Inst)) bool {
	d.gen++
	matched := false
	cond := syntax.EmptyOpContext(prev, next)
	d.stack = append(d.stack[:0], pending...)
	d.stack = append(d.stack, uint32(d.prog.Start))
	for len(d.stack) > 0 {
		pc := d.stack[len(d.stack)-1]
		d.stack = d.stack[:len(d.stack)-1]
		if d.visited[pc] == d.gen {
			continue
		}
		d.visited[pc] = d.gen
		in := &d.prog.Inst[pc]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			d.stack = append(d.stack, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			d.stack = append(d.stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^cond == 0 {
				d.stack = append(d.stack, in.Out)
			}
		case syntax.InstMatch:
			matched = true
		case syntax.InstFail:
		default:
			if each != nil {
				each(in)
			}
		}
	}
	return matched
}

// matchesRune says whether an instruction that takes a character takes r.
func matchesRune(in *syntax.Inst, r rune) bool {
	switch in.Op {
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	default:
		return in.MatchRune(r)
	}
}

// representative returns a character that assertions cannot tell from r, so
// that states do not multiply: begin of text, newline, word character, other.
func representative(r rune) rune {
	switch {
	case r == '\n':
		return '\n'
	case syntax.IsWordChar(r):
		return 'a'
	default:
		return ' '
	}
}
