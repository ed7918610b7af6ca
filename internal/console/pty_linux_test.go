package console

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// ptyInput types into the master side of a pty, as a guest's console would.
type ptyInput struct{ master *os.File }

func (p ptyInput) Write(_ context.Context, b []byte) (int, error) { return p.master.Write(b) }

// openPTY returns both ends of a new pseudo terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	raw, err := master.SyscallConn()
	require.NoError(t, err)
	var number int
	require.NoError(t, raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}))
	require.NoError(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	return master, slave
}

// shell starts an interactive shell behind a pty and returns its console.
func shell(t *testing.T, argv ...string) *Console {
	t.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Skipf("no %s on this machine", argv[0])
	}
	master, slave := openPTY(t)
	cmd := exec.Command(path, argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TERM=dumb", "HOME=" + t.TempDir(), "PS1=prompt> "}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, slave.Close())

	c := New(Config{Input: ptyInput{master}})
	var pump sync.WaitGroup
	pump.Go(func() {
		_, _ = io.Copy(c, master) // ends with EIO when the last process has left the terminal
		c.End()
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = master.Close()
		pump.Wait()
		require.NoError(t, c.Close())
	})
	return c
}

// shells are those whose interactive mode the tests know; each is skipped where it is not installed.
var shells = map[string][]string{
	"sh":      {"sh", "-i"},
	"dash":    {"dash", "-i"},
	"bash":    {"bash", "--norc", "--noprofile", "-i"},
	"busybox": {"busybox", "sh", "-i"},
}

func TestRunInRealShells(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 2000)
	for name, argv := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := shell(t, argv...)
			for _, tc := range []struct {
				name, command, output string
				status                int
			}{
				{"output", "echo hello", "hello\n", 0},
				{"no final newline", "printf 'a b'", "a b", 0},
				{"empty", "", "", 0},
				{"status", "exit 7", "", 7},
				{"false", "false", "", 1},
				{"killed", "sh -c 'kill -PIPE $$'", "", 141},
				{"stdin is empty", "cat; echo done", "done\n", 0},
				{"several lines", "for i in 1 2\ndo\n\techo \"line $i\"\ndone\n", "line 1\nline 2\n", 0},
				{"heredoc", "cat <<'E'\na  'b' \\ $c !x `d`\nE\n", "a  'b' \\ $c !x `d`\n", 0},
				{"quotes", `printf "%s\n" 'it'"'"'s' "\"" \\ '%d' | cat`, "it's\n\"\n\\\n%d\n", 0},
				{"utf-8 and control characters", "printf '%s' 'é\x01\t\x7f' | od -An -tx1 | tr -d ' \n'", "c3a901097f", 0},
				{"carriage returns of its own", `printf 'a\r\nb\r'`, "a\r\nb\r", 0},
				{"stderr", "echo oops >&2", "oops\n", 0},
				{"long", "x=" + long + "; echo ${#x}", "32000\n", 0},
				{"subshell", "cd /; X=1; set -e; false; echo not here", "", 1},
				{"nothing stayed", "echo ${X-unset} ${capsa_run-unset}", "unset unset\n", 0},
				{"errexit inside", "set -e; (exit 4); echo no", "", 4},
				{"looks like a marker", "echo capsa-0000000000000000:end:7;", "capsa-0000000000000000:end:7\n", 0},
				{"comment at the end", "echo x # no newline", "x\n", 0},
			} {
				result, err := c.Run(context.Background(), tc.command)
				require.NoError(t, err, tc.name)
				require.Equal(t, tc.output, string(result.Output), tc.name)
				require.Equal(t, tc.status, result.Status, tc.name)
				require.Zero(t, result.Lost, tc.name)
			}
			result, err := c.Run(context.Background(), "if")
			require.NoError(t, err)
			require.NotZero(t, result.Status, "a syntax error does not end the shell")
		})
	}
}

// TestRunInterrupted: Ctrl-C ends the command, Run gives its status, and the
// shell takes the next one.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	for name, argv := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := shell(t, argv...)
			watch := c.NewReaderAtEnd()
			var result RunResult
			var err error
			var run sync.WaitGroup
			run.Go(func() { result, err = c.Run(context.Background(), "echo run''ning; exec tail -f /dev/null") })
			_, e := watch.Expect(context.Background(), []Pattern{Literal("running\r\n")})
			require.NoError(t, e)
			require.NoError(t, c.SendInterrupt(context.Background()))
			run.Wait()
			require.NoError(t, err)
			require.Equal(t, 130, result.Status)
			require.True(t, strings.HasPrefix(string(result.Output), "running\n"), "%q", result.Output)

			result, err = c.Run(context.Background(), "echo again")
			require.NoError(t, err)
			require.Equal(t, "again\n", string(result.Output))
		})
	}
}

// TestRunConcurrent: calls from many goroutines each get their own output.
func TestRunConcurrent(t *testing.T) {
	t.Parallel()
	c := shell(t, shells["sh"]...)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			result, err := c.Run(context.Background(), fmt.Sprintf("echo number %d; exit %d", i, i))
			if err != nil || string(result.Output) != fmt.Sprintf("number %d\n", i) || result.Status != i {
				t.Errorf("run %d: %q, %d, %v", i, result.Output, result.Status, err)
			}
		})
	}
	wg.Wait()
}

func TestShellEndsOnEOF(t *testing.T) {
	t.Parallel()
	c := shell(t, shells["sh"]...)
	r := c.NewReader()
	_, err := r.Expect(context.Background(), []Pattern{Literal("prompt> "), MustRegexp("[#$] $")})
	require.NoError(t, err)
	require.NoError(t, c.SendEOF(context.Background()))
	_, err = r.Expect(context.Background(), []Pattern{Literal("never printed")})
	require.ErrorIs(t, err, io.EOF)
	_, err = c.Run(context.Background(), "echo too late")
	require.Error(t, err)
}
