package vm_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

const (
	panicLine = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"
	oomLine   = "Out of memory: Killed process 77 (hog) total-vm:1kB"
)

// scanned is what a scanner said of a text.
type scanned struct {
	panics, ooms []string
	kept         string
}

func scan(chunks ...string) scanned {
	var r scanned
	s := vm.NewPanicScanner(nil, func(t string) { r.panics = append(r.panics, t) }, func(t string) { r.ooms = append(r.ooms, t) })
	for _, c := range chunks {
		_, _ = s.Write([]byte(c))
	}
	r.kept = s.Panic()
	return r
}

func TestPanicScanner(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       scanned
	}{
		{"nothing", "hello\nKernel panic is a band\n", scanned{}},
		{"panic", "[    1.0] " + panicLine + "\r\n[    1.1] CPU: 0\n", scanned{panics: []string{panicLine}, kept: panicLine}},
		{"only the first", panicLine + "\nKernel panic - not syncing: again\n", scanned{panics: []string{panicLine}, kept: panicLine}},
		{"end marker does not count", "---[ end " + panicLine + " ]---\n", scanned{}},
		{"line never ends", "[    1.0] " + panicLine, scanned{kept: panicLine}},
		{"control characters", "\x1b[0m" + panicLine + "\x1b[0m\a\n", scanned{panics: []string{panicLine + "[0m"}, kept: panicLine + "[0m"}},
		{"not UTF-8", "Kernel panic - not syncing: \xff!\n", scanned{panics: []string{"Kernel panic - not syncing: \uFFFD!"}, kept: "Kernel panic - not syncing: \uFFFD!"}},
		{"out of memory", "[    9.1] " + oomLine + "\n", scanned{ooms: []string{oomLine}}},
		{"out of memory in a cgroup", "[    9.1] Memory cgroup out of memory: Killed process 1 (a)\n",
			scanned{ooms: []string{"Memory cgroup out of memory: Killed process 1 (a)"}}},
		{"both", oomLine + "\n" + panicLine + "\n", scanned{ooms: []string{oomLine}, panics: []string{panicLine}, kept: panicLine}},
		{"after a very long line", strings.Repeat("x", 10000) + "\n" + panicLine + "\n", scanned{panics: []string{panicLine}, kept: panicLine}},
		{"at the end of a very long line", strings.Repeat("x", 10000) + panicLine + "\n", scanned{panics: []string{panicLine}, kept: panicLine}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, scan(test.text), "in one piece")
			for _, size := range []int{1, 2, 7, 64, 2047, 2048, 2049} {
				require.Equal(t, test.want, scan(pieces(test.text, size)...), "in pieces of %d", size)
			}
		})
	}
}

func pieces(text string, size int) (out []string) {
	for len(text) > 0 {
		n := min(size, len(text))
		out = append(out, text[:n])
		text = text[n:]
	}
	return out
}

// TestPanicScannerBounded: a guest that never ends its line costs no memory, and
// neither does an endless panic message.
func TestPanicScannerBounded(t *testing.T) {
	t.Parallel()
	s := vm.NewPanicScanner(nil, nil, nil)
	chunk := bytes.Repeat([]byte("Kernel panic - not syncing "), 100)
	for range 1000 {
		_, _ = s.Write(chunk)
	}
	require.NotEmpty(t, s.Panic())
	require.LessOrEqual(t, len(s.Panic()), 2048)
}

type failing struct{ bytes.Buffer }

func (f *failing) Write(p []byte) (int, error) {
	_, _ = f.Buffer.Write(p)
	return 1, errors.New("full")
}

func TestPanicScannerPassesOn(t *testing.T) {
	t.Parallel()
	var next failing
	s := vm.NewPanicScanner(&next, nil, nil)
	n, err := s.Write([]byte(panicLine + "\n"))
	require.Equal(t, 1, n)
	require.EqualError(t, err, "full")
	require.Equal(t, panicLine+"\n", next.String())
	require.Equal(t, panicLine, s.Panic(), "scanned all the same")
}

func TestPanicCause(t *testing.T) {
	t.Parallel()
	require.Equal(t, vm.CausePanic, vm.PanicCause(panicLine))
	require.Equal(t, vm.CauseOutOfMemory, vm.PanicCause("Kernel panic - not syncing: System is deadlocked on memory"))
	require.Equal(t, vm.CauseOutOfMemory, vm.PanicCause("Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled"))
}

func FuzzPanicScanner(f *testing.F) {
	f.Add([]byte(panicLine+"\n"), 3)
	f.Add([]byte(oomLine), 1)
	f.Add(bytes.Repeat([]byte("Kernel panic - not syncing"), 200), 1000)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		if size < 1 {
			return
		}
		whole, parts := scan(string(text)), scan(pieces(string(text), size)...)
		require.LessOrEqual(t, len(parts.kept), 3*2048) // bytes that are not UTF-8 become three
		if longestLine(text) < 2048 {
			require.Equal(t, whole, parts, "the cut does not matter")
		}
	})
}

func longestLine(text []byte) (n int) {
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n = max(n, len(line))
	}
	return n
}
