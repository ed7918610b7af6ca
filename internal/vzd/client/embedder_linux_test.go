package client

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func init() { roles["embedder"] = embedder }

// embedder is a program that has a machine, with a bound socket, and a child that
// holds the sockets to its daemon. It prints the daemon's pid and waits to be killed.
func embedder(args []string) int {
	exe, err := os.Executable()
	if err != nil {
		return 1
	}
	cfg := vmtest.Config(vmtest.KernelSpin)
	cfg.Vsock.Ports = []vm.VsockPort{{Port: 1, Mode: vm.VsockListen, Path: args[0]}}
	made, err := New(Config{Name: "fake", Path: exe, Args: []string{"daemon"}}).New(cfg, vm.Host{})
	if err != nil || made.Start() != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m := made.(*machine)
	child := exec.Command(exe, "holder")
	child.Stdin = os.Stdin // at its end when the test is over
	control, err := m.conn.Dup()
	if err != nil {
		return 1
	}
	child.ExtraFiles = append(child.ExtraFiles, os.NewFile(uintptr(control), "control"))
	for _, f := range m.in {
		child.ExtraFiles = append(child.ExtraFiles, f.file)
	}
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(m.pid, child.Process.Pid)
	select {}
}

// TestEmbedderIsKilled: with the program that has the machine, the daemon goes, and
// what it has made.
func TestEmbedderIsKilled(t *testing.T) {
	vmtest.CheckLeaks(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "sock")
	cmd := exec.Command(exe, "embedder", path)
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(path))
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	fields := strings.Fields(line)
	require.Len(t, fields, 2)
	pid, err := strconv.Atoi(fields[0])
	require.NoError(t, err)
	pidfd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	require.FileExists(t, path)

	require.NoError(t, cmd.Process.Kill())
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	require.NoError(t, retry(func() error {
		n, err := unix.Poll(poll, int(patience.Milliseconds()))
		if n == 0 && err == nil {
			return errors.New("the daemon lives on")
		}
		return err
	}))
	require.NoError(t, unix.Close(pidfd))
	holder, err := strconv.Atoi(fields[1])
	require.NoError(t, err)
	require.NoError(t, unix.Kill(holder, 0), "the child that holds the sockets is there")
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, stdin.Close())
	_ = cmd.Wait() // it was killed
}
