package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/libcapsa/libcapsa/internal/cli/terminal"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Attributes of a terminal (ECMA-48 section 8.3.117, SGR).
const (
	red   = "31"
	green = "32"
	dim   = "2"
	bold  = "1"
)

// colour paints text for a file, if that is a terminal and nobody minds (no-color.org).
func colour(f *os.File, attribute, text string) string {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !terminal.Is(f) {
		return text
	}
	return "\x1b[" + attribute + "m" + text + "\x1b[0m"
}

// print prints a value: as JSON, or as people read it.
func (a *App) print(value any, people func()) error {
	if !a.json {
		people()
		return nil
	}
	e := json.NewEncoder(a.Stdout)
	e.SetIndent("", "  ")
	return vm.Wrap("print", e.Encode(value))
}

// write writes to the person. A reader that has gone away has seen enough.
func write(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// say prints a line.
func (a *App) say(format string, args ...any) { write(a.Stdout, format+"\n", args...) }

// table prints rows below a heading.
func (a *App) table(heading string, rows [][]string) {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	write(w, "%s\n", strings.ReplaceAll(heading, " ", "\t"))
	for _, row := range rows {
		write(w, "%s\n", strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

// printError tells what failed and what to do about it.
func (a *App) printError(err error) {
	e, ok := errors.AsType[*vm.Error](err)
	if a.json {
		out := map[string]any{"message": err.Error()}
		if ok {
			out = map[string]any{"message": e.Message(), "kind": e.Kind.String()}
			if e.Hint != "" {
				out["hint"] = e.Hint
			}
			if len(e.Problems) > 0 {
				out["problems"] = e.Problems
			}
			if len(e.ConsoleTail) > 0 {
				out["console_tail"] = string(e.ConsoleTail)
			}
		}
		_ = json.NewEncoder(a.Stderr).Encode(map[string]any{"error": out})
		return
	}
	if !ok {
		write(a.Stderr, "%s %s\n", colour(a.Stderr, red, "capsa:"), err)
		write(a.Stderr, "Try: capsa --help\n")
		return
	}
	if len(e.ConsoleTail) > 0 {
		write(a.Stderr, "%s\n%s\n", colour(a.Stderr, dim, "The guest's last words:"), clean(string(e.ConsoleTail)))
	}
	if len(e.Problems) == 0 {
		write(a.Stderr, "%s %s\n", colour(a.Stderr, red, "capsa:"), clean(e.Message()))
	} else {
		write(a.Stderr, "%s the configuration is not valid:\n", colour(a.Stderr, red, "capsa:"))
		for _, p := range e.Problems {
			write(a.Stderr, "  - %s\n", clean(p.String()))
		}
	}
	if e.Hint != "" {
		write(a.Stderr, "%s\n", clean(e.Hint))
	}
}

// clean takes control characters out of what may be a guest's or a registry's words.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return -1
		}
		return r
	}, text)
}

// size is a number of bytes for people.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// age is how long ago something was.
func age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
