package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// commandEnv makes the test's program the command, with machines of the fake backend. The processes that the command
// starts by itself inherit it.
const commandEnv = "CAPSA_TEST_COMMAND"

func TestMain(m *testing.M) {
	runAgent() // does not return in an agent's process
	if os.Getenv(commandEnv) != "" {
		app := App{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Backend: fakeBackend()}
		os.Exit(app.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// patience is how long a step may take before it counts as hanging.
const patience = time.Minute

// home is a user's directories, in which nothing of other tests is.
type home struct {
	t   *testing.T
	dir string
}

func newHome(t *testing.T) home {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // shorter than t.TempDir, for sun_path
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Empty(t, holders(t, dir), "no machine is left")
		require.NoError(t, os.RemoveAll(dir))
	})
	return home{t, dir}
}

// holders are the directories of machines.
func holders(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "capsa"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func (h home) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(h.t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), commandEnv+"=1", "XDG_RUNTIME_DIR="+h.dir, "XDG_CACHE_HOME="+h.dir+"/cache",
		"XDG_DATA_HOME="+h.dir+"/data", "XDG_DATA_DIRS="+h.dir+"/none", "CAPSA_KERNEL=", "TERM=xterm")
	cmd.Dir = h.dir
	return cmd
}

// result is what a command has done.
type result struct {
	status         int
	stdout, stderr string
}

func (h home) run(args ...string) result {
	h.t.Helper()
	cmd := h.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		require.NoError(h.t, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok runs a command that has to succeed.
func (h home) ok(args ...string) string {
	h.t.Helper()
	r := h.run(args...)
	require.Zero(h.t, r.status, "%v: %s", args, r.stderr)
	return r.stdout
}

// json runs one that prints JSON.
func (h home) json(to any, args ...string) {
	h.t.Helper()
	require.NoError(h.t, json.Unmarshal([]byte(h.ok(append([]string{"--json"}, args...)...)), to))
}

// screen is a command on a pseudo-terminal.
type screen struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	mu     sync.Mutex
	text   strings.Builder // guarded by mu
	more   chan struct{}
}

func (h home) terminal(args ...string) *screen {
	h.t.Helper()
	s := &screen{t: h.t, cmd: h.command(args...), more: make(chan struct{}, 1)}
	master, err := pty.StartWithSize(s.cmd, &pty.Winsize{Cols: 100, Rows: 30})
	require.NoError(h.t, err)
	s.master = master
	h.t.Cleanup(func() { _ = master.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
			if err != nil { // EIO: the last process has closed the terminal
				return
			}
		}
	}()
	return s
}

// shows waits for a text.
func (s *screen) shows(text string) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		all := s.text.String()
		s.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-s.more:
		case <-deadline:
			s.t.Fatalf("the terminal does not show %q but %q", text, all)
		}
	}
}

func (s *screen) types(text string) {
	s.t.Helper()
	_, err := io.WriteString(s.master, text)
	require.NoError(s.t, err)
}

// ends waits for the command's end and returns its status.
func (s *screen) ends() int {
	s.t.Helper()
	err := s.cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		require.NoError(s.t, err)
	}
	return s.cmd.ProcessState.ExitCode()
}

// send sends a signal to a process.
func send(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, s))
}
