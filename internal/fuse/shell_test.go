//go:build linux

package fuse

import "os/exec"

// shell runs a command in a directory.
func shell(dir, command string) (string, error) {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
