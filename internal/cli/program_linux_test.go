package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// sandbox are the arguments of run that a machine of these tests takes, up to its image: one whose agent is there already.
func (h home) sandbox(args ...string) []string {
	h.t.Helper()
	config := filepath.Join(h.dir, "agent.toml")
	require.NoError(h.t, os.WriteFile(config, []byte("[guest]\nagent = \"installed\"\n"), 0o600))
	root := filepath.Join(h.dir, "root")
	require.NoError(h.t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	out := append([]string{"run", "--config", config, "--isolation", "none", "--kernel", vmtest.KernelPolite}, args...)
	return append(out, root)
}

func (h home) program(flags []string, argv ...string) result {
	h.t.Helper()
	return h.run(append(h.sandbox(flags...), argv...)...)
}

func TestRunProgram(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	r := h.program([]string{"-e", "A=b c", "-w", h.dir}, "sh", "-c", "echo out $A; pwd; echo err >&2; exit 7")
	require.Equal(t, result{7, "out b c\n" + h.dir + "\n", "err\n"}, r)
	require.Equal(t, result{status: 0, stdout: "2000000\n"}, h.program(nil, "sh", "-c", "head -c 2000000 /dev/zero | wc -c"))

	r = h.program(nil, "no-such-program")
	require.Equal(t, statusNotFound, r.status)
	require.Contains(t, r.stderr, "no-such-program")
	require.Equal(t, statusNoExec, h.program(nil, "/etc/passwd").status)
	require.Equal(t, 128+9, h.program(nil, "sh", "-c", "kill -9 $$").status)
	require.Empty(t, h.program(nil, "cat").stdout, "without -i there is no input")
}

func TestRunMuchBothWays(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	cmd := h.command(append(h.sandbox("-i"), "cat")...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, len(data), len(out))
	require.True(t, bytes.Equal(data, out))
}

func TestRunOnTerminal(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	s := h.terminal(append(h.sandbox("-it", "-e", "PS1=ready> "), "sh", "-i")...)
	s.shows("ready> ")
	s.types("stty size; echo $((6 * 7)) $TERM\n")
	s.shows("30 100\r\n42 xterm\r\n")
	s.types("echo run''ning; while :; do :; done\n")
	s.shows("running")
	s.types("\x03")
	s.shows("^C")
	s.types("exit 5\n")
	require.Equal(t, 5, s.ends())
}

// TestRunSignals: a signal for the command is one for the program.
func TestRunSignals(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	s := h.terminal(append(h.sandbox(), "sh", "-c", "trap 'echo caught; exit 9' TERM; echo waiting; while :; do sleep 0.05; done")...)
	s.shows("waiting")
	send(t, s.cmd.Process.Pid, syscall.SIGTERM)
	s.shows("caught")
	require.Equal(t, 9, s.ends())
}

func TestProgramInBackground(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok(append(h.sandbox("-d", "--name", "box"), "sh", "-c", "echo started; exec sleep 1000")...)
	require.Contains(t, h.ok("ps"), "sh -c echo started")
	follow := h.terminal("logs", "-f", "box")
	follow.shows("started")
	require.Equal(t, "started\n", h.ok("logs", "box"))

	r := h.run("exec", "-e", "X=y", "box", "sh", "-c", "echo $X; echo err >&2; exit 3")
	require.Equal(t, result{3, "y\n", "err\n"}, r)
	require.Equal(t, statusNotFound, h.run("exec", "box", "no-such-program").status)
	require.Equal(t, 128+9, h.run("exec", "--timeout", "50ms", "box", "sleep", "1000").status)
	cmd := h.command("exec", "-i", "box", "wc", "-c")
	cmd.Stdin = strings.NewReader(strings.Repeat("x", 300_000))
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "300000\n", string(out))

	s := h.terminal("exec", "-it", "box", "sh", "-c", "stty size; read line; echo got $line; exit 4")
	s.shows("30 100")
	s.types("a word\n")
	s.shows("got a word")
	require.Equal(t, 4, s.ends())
	require.Contains(t, h.ok("stats", "box"), "guest: processes")

	require.Equal(t, "box\n", h.ok("stop", "box"))
	require.Zero(t, follow.ends())
}

// TestProgramEndsMachine: a machine in the background ends with its program.
func TestProgramEndsMachine(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	gate := filepath.Join(h.dir, "gate")
	require.NoError(t, syscall.Mkfifo(gate, 0o600))
	h.ok(append(h.sandbox("-d", "--name", "short"), "cat", gate)...)
	require.Equal(t, "short\n", h.ok("ps", "-q"))
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	require.Eventually(t, func() bool { return h.ok("ps", "-q") == "" }, patience, 1)
	r := h.run(append(h.sandbox("-d", "--name", "none"), "no-such-program")...)
	require.Equal(t, statusNotFound, r.status)
	require.Contains(t, r.stderr, "no-such-program")
}

// TestKilledExec: a program ends with the command that runs it.
func TestKilledExec(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok(h.sandbox("-d", "--name", "idle")...)
	s := h.terminal("exec", "idle", "sh", "-c", "echo $$; sleep 1000")
	s.shows("\r\n")
	s.mu.Lock()
	pid, err := strconv.Atoi(strings.TrimSpace(s.text.String()))
	s.mu.Unlock()
	require.NoError(t, err)
	send(t, s.cmd.Process.Pid, syscall.SIGKILL)
	require.Error(t, s.cmd.Wait())
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, patience, 1)
	h.ok("stop", "idle")
}

func TestCopy(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok(h.sandbox("-d", "--name", "idle")...)
	here, there := filepath.Join(h.dir, "here"), filepath.Join(h.dir, "there")
	require.NoError(t, os.MkdirAll(filepath.Join(here, "sub"), 0o755))
	require.NoError(t, os.MkdirAll(there, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(here, "sub", "file"), []byte("content"), 0o600))

	h.ok("cp", here, "idle:"+there) // into the directory, under its own name
	require.FileExists(t, filepath.Join(there, "here", "sub", "file"))
	h.ok("cp", filepath.Join(here, "sub", "file"), "idle:"+filepath.Join(there, "renamed"))
	require.FileExists(t, filepath.Join(there, "renamed"))
	h.ok("cp", "idle:"+filepath.Join(there, "renamed"), filepath.Join(h.dir, "back"))
	data, err := os.ReadFile(filepath.Join(h.dir, "back"))
	require.NoError(t, err)
	require.Equal(t, "content", string(data))
	h.ok("cp", "idle:"+filepath.Join(there, "here"), h.dir+"/")
	r := h.run("cp", "idle:/not/there", h.dir)
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, "/not/there")

	archive := h.ok("cp", "idle:"+filepath.Join(there, "here"), "-")
	require.Contains(t, archive, "here/sub/file")
	in := h.command("cp", "-", "idle:"+filepath.Join(h.dir, "unpacked"))
	in.Stdin = strings.NewReader(archive)
	out, err := in.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.FileExists(t, filepath.Join(h.dir, "unpacked", "here", "sub", "file"))
	h.ok("kill", "idle")
}

// TestImageInMachine: a directory becomes one file, which all machines with it share.
func TestImageInMachine(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for range 2 {
		require.Zero(t, h.program(nil, "true").status)
	}
	entries, err := os.ReadDir(filepath.Join(h.dir, "cache/capsa/images/roots"))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// TestNothingIsLeft: the agents, holders and sockets of these tests are gone.
func TestNothingIsLeft(t *testing.T) {
	h := newHome(t)
	h.ok(append(h.sandbox(), "true")...)
	out, err := exec.Command("ps", "-eo", "args").Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), h.dir)
}
