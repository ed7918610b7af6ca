package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	// MaxCommand is the size limit of a command given to Run, in bytes.
	MaxCommand = 128 << 10

	// MaxRunOutput is how much output of a command Run returns, in bytes; the
	// rest is counted in RunResult.Truncated.
	MaxRunOutput = 16 << 20
)

// RunResult is what a command did.
type RunResult struct {
	// Output is what the console printed while the command ran: its standard
	// output and error, with the terminal's CR LF turned back into LF. Kernel
	// messages and background jobs print there too.
	Output []byte
	// Status is the shell's $?: the exit status, or 128 + signal.
	Status int
	// Truncated is the number of bytes beyond MaxRunOutput, not in Output.
	Truncated uint64
	// Lost is the number of bytes overwritten before Run saw them: the
	// console's ring was too small for the speed of the output.
	Lost uint64
}

// Run types a command for the POSIX shell that reads the console and waits for
// its end. The command may be any text for that shell, of several lines too. It
// runs in a subshell ("exit 7" gives status 7; changes of directory and
// variables do not stay) with /dev/null as its standard input. Prompt, echo and
// line editing do not matter. Several calls take turns.
//
// When ctx ends first, the error is the context's, and the command goes on in
// the guest: SendInterrupt ends it, and the next Run starts after it. A console
// that ends gives io.ErrUnexpectedEOF; both come with the output so far.
func (c *Console) Run(ctx context.Context, command string) (RunResult, error) {
	if err := checkCommand(command); err != nil {
		return RunResult{}, err
	}
	if c.closed.Err() != nil {
		return RunResult{}, ErrClosed
	}
	ctx, release := c.bind(ctx)
	defer release()
	if !c.running.take(ctx.Done()) {
		return RunResult{}, c.ended(ctx)
	}
	defer c.running.give()

	m := newMarkers()
	reader := c.NewReaderAtEnd()
	script := m.script(command)
	if c.dirty {
		// The shell may hold half a command.
		script = append([]byte{charInterrupt}, script...)
	}
	n, err := c.Send(ctx, script)
	c.dirty = n < len(script) && (n > 0 || c.dirty)
	if err != nil {
		return RunResult{}, fmt.Errorf("console: run: typing the command: %w", err)
	}
	result, err := m.collect(ctx, reader)
	switch {
	case err != nil && c.closed.Err() != nil:
		err = ErrClosed
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return result, fmt.Errorf("console: run: waiting for the command: %w", err)
	}
	return result, nil
}

func checkCommand(command string) error {
	switch {
	case len(command) > MaxCommand:
		return fmt.Errorf("console: run: command of %d bytes; at most %d", len(command), MaxCommand)
	case bytes.IndexByte([]byte(command), 0) >= 0:
		return errors.New("console: run: command with a NUL byte")
	}
	return nil
}

// markers are the texts that the shell prints around a command's output:
// unique for each command, and typed in two halves, so that neither an echo of
// the typed text nor a trace of the shell looks like them.
type markers struct{ left, right string }

func newMarkers() markers {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand
	text := hex.EncodeToString(id[:])
	return markers{left: "capsa-" + text[:16], right: text[16:]}
}

func (m markers) begin() []byte { return []byte(m.left + m.right + ":begin") }
func (m markers) end() []byte   { return []byte(m.left + m.right + ":end:") }

// lineText is how many bytes of a command are typed per line. A terminal in
// canonical mode takes lines of 4095 bytes on Linux (N_TTY_BUF_SIZE) and 1023
// on Darwin (MAX_CANON), busybox's line editor 1023.
const lineText = 400

// script returns what is typed: one compound command over several lines, all
// of printable ASCII, which a shell executes when it has read the whole.
//
// The command travels in a variable in the notation of printf's %b, so that no
// line editor, history expansion or terminal setting sees a character that
// means something to it. The outer subshell's trap lets it survive the Ctrl-C
// that ends the command, so that the status is always printed; the inner one
// has the default action again. The leading space keeps it out of histories
// that ignore such lines.
func (m markers) script(command string) []byte {
	var b bytes.Buffer
	b.WriteString(" (trap : INT; capsa_run=\n")
	text := encodeCommand("unset capsa_run\n" + command)
	for len(text) > 0 {
		n := lineLength(text)
		b.WriteString("capsa_run=$capsa_run'" + text[:n] + "'\n")
		text = text[n:]
	}
	fmt.Fprintf(&b, "printf '\\n%%s%%s\\n' '%s' '%s:begin'\n", m.left, m.right)
	b.WriteString("(eval \"$(printf %b \"$capsa_run\")\") </dev/null\n")
	fmt.Fprintf(&b, "printf '%%s%%s%%d;\\n' '%s' '%s:end:' $?)\n", m.left, m.right)
	return b.Bytes()
}

// encodeCommand writes text for printf's %b between single quotes: everything
// but plain printable ASCII becomes \0ooo.
func encodeCommand(text string) string {
	var b bytes.Buffer
	for i := range len(text) {
		switch c := text[i]; {
		case c < 0x20 || c > 0x7e || c == '\'' || c == '\\' || c == '!':
			fmt.Fprintf(&b, `\0%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// lineLength returns how much of an encoded text goes on the next line, never
// cutting an escape of five bytes.
func lineLength(text string) int {
	if len(text) <= lineText {
		return len(text)
	}
	for n := lineText; n > lineText-5; n-- {
		if text[n] == '\\' {
			return n
		}
	}
	// No escape begins in the last four bytes or at the cut.
	return lineText
}

// collect reads from the command's begin marker to its end marker. With an
// error it returns what there was.
func (m markers) collect(ctx context.Context, r *Reader) (RunResult, error) {
	newline, err := m.awaitBegin(ctx, r)
	if err != nil {
		return RunResult{Lost: r.Lost()}, err
	}
	o := output{marker: m.end()}
	buf := make([]byte, pumpChunk)
	for {
		n, err := r.Read(ctx, buf)
		if err != nil {
			o.keep(len(o.pending))
			return o.result(newline, r), err
		}
		if o.add(buf[:n]) {
			return o.result(newline, r), nil
		}
	}
}

// awaitBegin waits for the begin marker's line and returns how the terminal
// ends lines: with CR LF when it maps newlines (termios(3): ONLCR).
func (m markers) awaitBegin(ctx context.Context, r *Reader) (string, error) {
	begin := m.begin()
	match, err := r.Expect(ctx, []Pattern{Literal(string(begin) + "\r\n"), Literal(string(begin) + "\n")})
	if err != nil {
		var e *ExpectError
		if errors.As(err, &e) {
			err = e.Err
		}
		return "", err
	}
	return string(match.Text[len(begin):]), nil
}

// output gathers a command's output up to the end marker.
type output struct {
	marker    []byte
	pending   []byte // the end of what was read: may be the beginning of a marker
	text      []byte
	truncated uint64
	status    int
}

// add takes what was printed and reports true when the marker is complete.
func (o *output) add(p []byte) bool {
	o.pending = append(o.pending, p...)
	for {
		i := bytes.Index(o.pending, o.marker)
		if i < 0 {
			o.keep(len(o.pending) - len(o.marker) + 1)
			return false
		}
		o.keep(i)
		digits, _, complete := bytes.Cut(o.pending[len(o.marker):], []byte{';'})
		if !complete && len(digits) < 4 {
			return false
		}
		status, err := strconv.ParseUint(string(digits), 10, 16)
		if complete && err == nil {
			o.status = int(status)
			return true
		}
		// Printed by someone else, who has seen the marker.
		o.keep(len(o.marker))
	}
}

// keep moves the first n pending bytes to the output.
func (o *output) keep(n int) {
	if n <= 0 {
		return
	}
	room := min(n, MaxRunOutput-len(o.text))
	o.text = append(o.text, o.pending[:room]...)
	o.truncated += uint64(n - room)
	o.pending = append(o.pending[:0], o.pending[n:]...)
}

func (o *output) result(newline string, r *Reader) RunResult {
	text := o.text
	if newline == "\r\n" {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	return RunResult{Output: text, Status: o.status, Truncated: o.truncated, Lost: r.Lost()}
}
