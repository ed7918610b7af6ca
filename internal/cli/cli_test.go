package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/cli/hold"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func TestKernelOnTerminal(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	s := h.terminal("run", "--name", "echo", "--kernel", vmtest.KernelEcho)
	s.shows("ctrl-] leaves it")
	s.types("hello\x03there") // Ctrl-C is the guest's
	s.shows("hello\x03there")
	require.Equal(t, []string{"echo"}, holders(t, h.dir), "others find it meanwhile")
	require.Contains(t, h.ok("ps"), "echo")
	s.types("\x1d")
	require.Equal(t, 128+9, s.ends(), "a guest that ignores its power button is killed")
}

func TestKernelEnds(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	require.Zero(t, h.run("run", "--kernel", vmtest.KernelPowerOff).status)
	require.Zero(t, h.run("run", "--kernel", vmtest.KernelReboot).status)
	r := h.run("run", "--kernel", vmtest.KernelPanic)
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, vmtest.PanicText)
	r = h.run("run", "--kernel", vmtest.KernelNoRoot)
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, vmtest.NoRootText)
	r = h.run("run", "--kernel", "/not/there")
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, "/not/there")
	require.NotContains(t, r.stderr, "\x1b", "no colours where no terminal is")
}

func TestBackground(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	require.Equal(t, "web\n", h.ok("run", "-d", "--name", "web", "--kernel", vmtest.KernelPolite, "--cpus", "2", "--memory", "64M"))
	var list []hold.Info
	h.json(&list, "ps")
	require.Len(t, list, 1)
	require.Equal(t, "web", list[0].Name)
	require.Equal(t, "running", list[0].State)
	require.Equal(t, 2, list[0].CPUs)
	require.EqualValues(t, 64<<20, list[0].Memory)
	require.Equal(t, "web\n", h.ok("ps", "-q"))

	r := h.run("run", "-d", "--name", "web", "--kernel", vmtest.KernelPolite)
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, "capsa stop web")

	s := h.terminal("console", "web")
	s.shows(strings.TrimSpace(vmtest.ReadyText))
	s.types("\x1d")
	require.Zero(t, s.ends())
	require.Equal(t, vmtest.ReadyText, h.ok("logs", "web"), "the console's, for want of a program")
	require.Contains(t, h.ok("stats", "web"), "64.0 MiB")
	require.Contains(t, h.ok("__complete", "stop", ""), "web\n")
	require.Contains(t, h.run("exec", "web", "true").stderr, "no agent")

	follow := h.terminal("logs", "-f", "web")
	follow.shows(strings.TrimSpace(vmtest.ReadyText))
	var stopped struct {
		EndedBy string `json:"ended_by"`
	}
	h.json(&stopped, "stop", "web")
	require.Equal(t, "power button", stopped.EndedBy)
	require.Empty(t, holders(t, h.dir), "stop returns when nothing is left")
	require.Zero(t, follow.ends())
	r = h.run("stop", "web")
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, "capsa ps")
}

// TestBackgroundFails: what goes wrong in the other process is told by this one.
func TestBackgroundFails(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	r := h.run("run", "-d", "--name", "x", "--kernel", "/not/there")
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, "/not/there")
	require.Empty(t, r.stdout)
	require.Empty(t, holders(t, h.dir))
	r = h.run("run", "-d", "--kernel", vmtest.KernelSpin, "--cpus", "5000")
	require.Contains(t, r.stderr, "cpus")
}

// TestEndsByItself: a machine in the background that ends leaves nothing.
func TestEndsByItself(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok("run", "-d", "--name", "web", "--kernel", vmtest.KernelPolite)
	s := h.terminal("console", "web")
	s.shows(strings.TrimSpace(vmtest.ReadyText))
	h.ok("kill", "web")
	require.Zero(t, s.ends(), "a console ends with its machine")
	require.Equal(t, "[]\n", h.ok("--json", "ps"))
}

// TestKilledHolder: what a holder leaves that was killed, the next look removes.
func TestKilledHolder(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok("run", "-d", "--name", "gone", "--kernel", vmtest.KernelSpin)
	h.ok("run", "-d", "--name", "stays", "--kernel", vmtest.KernelSpin)
	var list []hold.Info
	h.json(&list, "ps")
	require.Len(t, list, 2)
	send(t, list[0].PID, syscall.SIGKILL)
	require.Eventually(t, func() bool { return h.ok("ps", "-q") == "stays\n" }, patience, 1)
	require.Equal(t, []string{"stays"}, holders(t, h.dir))
	h.ok("run", "-d", "--name", "gone", "--kernel", vmtest.KernelSpin)
	h.ok("kill", "gone", "stays")
}

func TestSignalEndsRun(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	s := h.terminal("run", "--name", "polite", "--kernel", vmtest.KernelPolite)
	s.shows(strings.TrimSpace(vmtest.ReadyText))
	send(t, s.cmd.Process.Pid, syscall.SIGTERM)
	require.Zero(t, s.ends(), "it was asked to shut down, and did")

	h.ok("run", "-d", "--name", "behind", "--kernel", vmtest.KernelSpin)
	var list []hold.Info
	h.json(&list, "ps")
	send(t, list[0].PID, syscall.SIGTERM)
	require.Eventually(t, func() bool { return len(holders(t, h.dir)) == 0 }, patience, 1)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"nonsense"}, statusUsage, "unknown command"},
		{[]string{"run", "--nonsense"}, statusUsage, "unknown flag"},
		{[]string{"stop"}, statusUsage, "at least 1"},
		{[]string{"run", "debian"}, statusFailed, "CAPSA_KERNEL"},
		{[]string{"run", "--kernel", "/k", "--memory", "lots"}, statusFailed, "no size"},
		{[]string{"run", "--kernel", "/k", "-p", "x:y"}, statusFailed, "8080:80"},
		{[]string{"run", "--kernel", "/k", "-v", "x"}, statusFailed, "/path/on/host"},
		{[]string{"run", "--kernel", "/k", "--name", "../x"}, statusFailed, "no name"},
		{[]string{"run", "--kernel", "/k", "--network", "carrier-pigeon"}, statusFailed, "carrier-pigeon"},
		{[]string{"run", "--kernel", "/k", "--policy", "whatever"}, statusFailed, "whatever"},
		{[]string{"run", "--kernel", "/k", "-d", "-t"}, statusFailed, "no terminal"},
		{[]string{"console", "--detach-keys", "ctrl-1", "x"}, statusFailed, "no machine"},
		{[]string{"cp", "a", "b"}, statusFailed, "in a machine"},
		{[]string{"logs", "x"}, statusFailed, "capsa ps"},
		{[]string{"hold"}, statusFailed, "not for people"},
	} {
		r := h.run(test.args...)
		require.Equal(t, test.status, r.status, "%v: %s", test.args, r.stderr)
		require.Contains(t, r.stderr, test.says, "%v", test.args)
		require.Empty(t, r.stdout)
	}
	r := h.run("--json", "stop", "x")
	require.JSONEq(t, `{"error": {"message": "find machines: there is no machine called x", "kind": "not found", "hint": "capsa ps lists those that run"}}`, r.stderr)
}

func TestForeignRuntimeDir(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	require.NoError(t, os.Mkdir(filepath.Join(h.dir, "capsa"), 0o755))
	r := h.run("ps")
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, "not a directory of yours alone")
}

func TestConfigFiles(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	path := filepath.Join(h.dir, "vm.toml")
	require.NoError(t, os.WriteFile(path, []byte("cpus = 2\nmemory_mib = 128\nname = \"x\"\n[boot]\nkernel = \""+vmtest.KernelPolite+"\"\nargs = [\"quiet\"]\n"), 0o600))
	require.Contains(t, h.ok("config", "check", path), "is valid")
	text := h.ok("config", "show", path)
	require.Contains(t, text, `"memory_mib": 128`)
	jsonPath := filepath.Join(h.dir, "vm.json")
	require.NoError(t, os.WriteFile(jsonPath, []byte(text), 0o600))
	back := h.ok("config", "show", jsonPath)
	require.Contains(t, back, "memory_mib = 128")
	require.NoError(t, os.WriteFile(path, []byte(back), 0o600))
	require.Equal(t, text, h.ok("config", "show", path), "there and back again")

	h.ok("run", "-d", "--config", path, "--name", "configured", "--memory", "64M")
	var list []hold.Info
	h.json(&list, "ps")
	require.Equal(t, 2, list[0].CPUs, "the file's")
	require.EqualValues(t, 64<<20, list[0].Memory, "the flag's")
	h.ok("stop", "configured")

	require.NoError(t, os.WriteFile(path, []byte("cpus = 0\nmemory = 1\n"), 0o600))
	r := h.run("config", "check", path)
	require.Equal(t, statusFailed, r.status)
	require.Contains(t, r.stderr, "memory")
	require.NoError(t, os.WriteFile(path, []byte("cpus = = 0"), 0o600))
	require.Contains(t, h.run("config", "check", path).stderr, "TOML")
}

func TestDocumentation(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok("man", filepath.Join(h.dir, "man"))
	page, err := os.ReadFile(filepath.Join(h.dir, "man", "capsa-run.1"))
	require.NoError(t, err)
	require.Contains(t, string(page), "root directory is an image")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		require.Contains(t, h.ok("completion", shell), "capsa", shell)
	}
	require.Contains(t, h.ok("version"), "capsa 0.")
	var backends []struct{ Name string }
	h.json(&backends, "backends")
	require.NotEmpty(t, backends)
	r := h.run("doctor")
	require.Contains(t, r.stdout, "kernel")
}
