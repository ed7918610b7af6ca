package vmtest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// CheckLeaks makes the test fail if, at its end and after its other cleanups that
// were registered later, it has left goroutines of this project or file
// descriptors behind. It is not for parallel tests.
func CheckLeaks(t testing.TB) {
	t.Helper()
	warmPoller(t)
	goroutines, fds := ours(), openFDs()
	t.Cleanup(func() {
		// A goroutine that was joined may not quite have gone yet; it needs the
		// scheduler, not time.
		deadline := time.Now().Add(10 * time.Second)
		for {
			left, open := ours(), openFDs()
			if len(left) <= len(goroutines) && len(open) <= len(fds) {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("left behind: goroutines %d -> %d, file descriptors %d -> %d\n%s\n%s", len(goroutines), len(left),
					len(fds), len(open), strings.Join(left, "\n\n"), fresh(fds, open))
				return
			}
			runtime.Gosched()
		}
	})
}

// warmPoller makes the runtime open its own descriptors (epoll or kqueue) before
// they are counted.
func warmPoller(t testing.TB) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	_ = r.Close()
	_ = w.Close()
}

// ours is the stacks of the goroutines that run code of this project, except that
// of the caller.
func ours() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var found []string
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(stack, "libcapsa/libcapsa/") && !strings.Contains(stack, "testing.tRunner") &&
			!strings.Contains(stack, "testing.(*T).Run(") {
			found = append(found, stack)
		}
	}
	return found
}

// openFDs is what each open descriptor refers to, as far as the system tells.
func openFDs() map[string]string {
	dir := "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		dir = "/dev/fd"
		entries, err = os.ReadDir(dir)
	}
	if err != nil {
		return nil
	}
	open := map[string]string{}
	for _, e := range entries {
		target, err := os.Readlink(dir + "/" + e.Name())
		if err != nil && dir == "/proc/self/fd" {
			continue // the descriptor of the directory itself
		}
		open[e.Name()] = target
	}
	return open
}

func fresh(before, after map[string]string) string {
	var lines []string
	for fd, target := range after {
		if _, was := before[fd]; !was {
			lines = append(lines, fmt.Sprintf("fd %s -> %s", fd, target))
		}
	}
	return strings.Join(lines, "\n")
}
