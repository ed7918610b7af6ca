package policy

import (
	"fmt"
	"strings"
)

// Error is every problem of a policy at once, up to MaxProblems.
type Error struct {
	Problems []Problem
	More     int // problems that are not listed
}

func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more problems", e.More))
	}
	return "policy: " + strings.Join(lines, "; ")
}

// problems collects.
type problems struct {
	list []Problem
	more int
}

func (p *problems) add(field, hint, format string, a ...any) {
	if len(p.list) >= MaxProblems {
		p.more++
		return
	}
	p.list = append(p.list, Problem{Field: field, Message: fmt.Sprintf(format, a...), Hint: hint})
}

// err is nil if there are none.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &Error{Problems: p.list, More: p.more}
}

// quoted is text for a message, however long and odd it was.
func quoted[S ~string](s S) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", string(s[:most]))
	}
	return fmt.Sprintf("%q", string(s))
}
