//go:build linux

package fuse

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// childEnv tells a test that it runs in a process of its own.
const childEnv = "CAPSA_FUSE_CHILD"

// child runs one test of this binary in another process, as another user if
// cred is not nil.
func child(t *testing.T, name string, cred *syscall.Credential) {
	t.Helper()
	// The binary lies where others may not go.
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^"+name+"$", "-test.v")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), childEnv+"=1", "TMPDIR=/tmp")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+name)
}
