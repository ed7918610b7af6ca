//go:build linux

// Package kvmtest is for tests that need /dev/kvm: it decides whether they can
// run here, and counts what a test may leave behind. Not for production code.
package kvmtest

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
)

// RequireEnv is the environment variable whose word "kvm" turns a skip into a
// failure, so that a CI machine without KVM cannot pass by skipping.
const RequireEnv = "CAPSA_REQUIRE"

// Require skips the test when /dev/kvm cannot be used, or fails it when
// RequireEnv demands KVM.
func Require(t testing.TB) {
	t.Helper()
	sys, err := kvmsys.Open(kvmsys.DevicePath, nil)
	if err == nil {
		_ = sys.Close()
		return
	}
	if strings.Contains(os.Getenv(RequireEnv), "kvm") {
		t.Fatalf("%s demands KVM, but %s cannot be used: %v", RequireEnv, kvmsys.DevicePath, err)
	}
	t.Skipf("no KVM: %s cannot be used: %v", kvmsys.DevicePath, err)
}

// Usage is what a process holds.
type Usage struct {
	FDs, Threads, Goroutines, Mappings int
}

// Measure counts what the process holds now. Mappings are those that could be
// ours: shared memory (guest RAM) and files of KVM (vCPU areas).
func Measure(t testing.TB) Usage {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	u := Usage{FDs: entries(t, "/proc/self/fd"), Threads: entries(t, "/proc/self/task"), Goroutines: runtime.NumGoroutine()}
	for line := range bytes.Lines(maps) {
		if bytes.Contains(line, []byte("memfd:")) || bytes.Contains(line, []byte("kvm")) {
			u.Mappings++
		}
	}
	return u
}

func entries(t testing.TB, dir string) int {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// settleTime is how long NoLeak waits for goroutines and threads that have been
// told to end and joined, but that the runtime has not yet reaped.
const settleTime = 10 * time.Second

// NoLeak fails the test when the process holds more than before. Threads may
// exceed it by slack, as the Go runtime keeps threads for later.
func NoLeak(t testing.TB, before Usage, slack int) {
	t.Helper()
	deadline := time.Now().Add(settleTime)
	for {
		now := Measure(t)
		ok := now.FDs <= before.FDs && now.Mappings <= before.Mappings &&
			now.Goroutines <= before.Goroutines && now.Threads <= before.Threads+slack
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind:\n- before: %+v\n-  after: %+v\n%s", before, now, stacks())
		}
		runtime.Gosched()
	}
}

func stacks() []byte {
	buf := make([]byte, 64<<10)
	return buf[:runtime.Stack(buf, true)]
}
