package capsa_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func dup(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return n
}

func run(t testing.TB, m *capsa.VM, c capsa.Command) capsa.Result {
	t.Helper()
	r, err := m.Run(bounded(t), c)
	require.NoError(t, err)
	return r
}

func shell(script string) []string { return []string{"/bin/sh", "-c", script} }

func TestExec(t *testing.T) {
	m := sandbox(t)
	dir := t.TempDir()

	r := run(t, m, capsa.Command{Args: shell(`echo out; echo err >&2; exit 7`)})
	require.Equal(t, 7, r.Code)
	require.Equal(t, "out\n", string(r.Stdout))
	require.Equal(t, "err\n", string(r.Stderr))
	require.False(t, r.Success() || r.OOM || r.TimedOut || r.Truncated)
	require.NotZero(t, r.MaxRSS)

	odd := "a b\"c\n\xff\xfe$HOME"
	r = run(t, m, capsa.Command{Args: []string{"printf", "%s", odd}})
	require.Equal(t, odd, string(r.Stdout))

	r = run(t, m, capsa.Command{Args: shell(`pwd; echo "$A $B"`), Dir: dir, Env: []string{"A=1", "B=2", "A=3"}})
	require.Equal(t, dir+"\n3 2\n", string(r.Stdout))

	r = run(t, m, capsa.Command{Args: []string{"/usr/bin/env"}, Env: []string{"ONLY=this"}, EnvOnly: true})
	require.Equal(t, "ONLY=this\n", string(r.Stdout))

	r = run(t, m, capsa.Command{Args: shell(`kill -9 $$`)})
	require.Equal(t, 9, r.Signal)
	require.Equal(t, 137, r.Code)
}

func TestExecRefuses(t *testing.T) {
	m := sandbox(t)
	for _, c := range []struct {
		name string
		kind vm.Kind
		c    capsa.Command
	}{
		{"no program", vm.KindInvalidArg, capsa.Command{}},
		{"NUL", vm.KindInvalidArg, capsa.Command{Args: []string{"a\x00b"}}},
		{"variable", vm.KindInvalidArg, capsa.Command{Args: []string{"true"}, Env: []string{"novalue"}}},
		{"two uses", vm.KindInvalidArg, capsa.Command{Args: []string{"true"}, Stdout: io.Discard, StdoutPipe: true}},
		{"terminal", vm.KindInvalidArg, capsa.Command{Args: []string{"true"}, TTY: true, Stderr: io.Discard}},
		{"too much", vm.KindLimit, capsa.Command{Args: []string{"true", strings.Repeat("x", 2<<20)}}},
		{"not in PATH", vm.KindNotFound, capsa.Command{Args: []string{"no-such-program"}}},
		{"no file", vm.KindNotFound, capsa.Command{Args: []string{"/no/such/program"}}},
		{"no permission", vm.KindPermission, capsa.Command{Args: []string{"/etc/passwd"}}},
		{"directory", vm.KindNotFound, capsa.Command{Args: []string{"true"}, Dir: "/no/such"}},
		{"user", vm.KindNotFound, capsa.Command{Args: []string{"true"}, User: "nobody-of-that-name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := m.Exec(bounded(t), c.c)
			refused(t, c.kind, err)
		})
	}
}

func TestExecLargeEnvironment(t *testing.T) {
	m := sandbox(t)
	var env []string
	size := 0
	for i := 0; size < 1<<20; i++ {
		e := fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 1000))
		size += len(e) + 1
		if size < 1<<20 {
			env = append(env, e)
		}
	}
	r := run(t, m, capsa.Command{Args: shell(`env | grep -c '^V[0-9]*=x'`), Env: env})
	require.Equal(t, strconv.Itoa(len(env))+"\n", string(r.Stdout))
}

// noise is a stream of bytes, the same for the same seed, and its sum.
type noise struct {
	left int
	sum  hash.Hash
	x    uint64
}

func newNoise(size int) *noise { return &noise{left: size, sum: sha256.New(), x: 88172645463325252} }

func (n *noise) Read(p []byte) (int, error) {
	if n.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(len(p), n.left)]
	for i := range p {
		if i%8 == 0 {
			n.x ^= n.x << 13
			n.x ^= n.x >> 7
			n.x ^= n.x << 17
		}
		p[i] = byte(n.x >> (8 * (i % 8)))
	}
	n.left -= len(p)
	n.sum.Write(p)
	return len(p), nil
}

func TestExecBulk(t *testing.T) {
	const size = 100 << 20
	m := sandbox(t)
	in := newNoise(size)
	out := sha256.New()
	p, err := m.Exec(bounded(t), capsa.Command{Args: []string{"cat"}, Stdin: in, Stdout: out})
	require.NoError(t, err)
	status, err := p.Wait(bounded(t))
	require.NoError(t, err)
	require.True(t, status.Success())
	require.Equal(t, in.sum.Sum(nil), out.Sum(nil))
}

// TestExecBackPressure: a program whose output nobody takes waits, and so does a host
// whose input nobody reads.
func TestExecBackPressure(t *testing.T) {
	m := sandbox(t)
	p, err := m.Exec(bounded(t), capsa.Command{
		Args: shell(`head -c 50000000 /dev/zero; echo done >&2`), StdoutPipe: true, StderrPipe: true,
	})
	require.NoError(t, err)
	defer p.Close()
	select {
	case <-p.Done():
		t.Fatal("50 MB went where nobody reads")
	case <-time.After(200 * time.Millisecond):
	}
	n, err := io.Copy(io.Discard, p.Stdout())
	require.NoError(t, err)
	require.EqualValues(t, 50000000, n)
	_, err = p.Wait(bounded(t))
	require.NoError(t, err)

	p, err = m.Exec(bounded(t), capsa.Command{Args: []string{"sleep", "1000"}, StdinPipe: true})
	require.NoError(t, err)
	defer p.Close()
	written := make(chan error, 1)
	go func() {
		_, err := p.Stdin().Write(make([]byte, 50<<20))
		written <- err
	}()
	select {
	case err := <-written:
		t.Fatalf("50 MB were taken by a program that reads nothing: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, p.Kill(bounded(t)))
	require.Error(t, <-written)
}

func TestExecStdinEnds(t *testing.T) {
	m := sandbox(t)
	p, err := m.Exec(bounded(t), capsa.Command{Args: []string{"cat"}, StdinPipe: true, StdoutPipe: true})
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Stdin().Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, p.Stdin().CloseWrite())
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, "hello", string(out))
	status, err := p.Wait(bounded(t))
	require.NoError(t, err)
	require.True(t, status.Success())
	again, err := p.Wait(bounded(t))
	require.NoError(t, err)
	require.Equal(t, status, again)
}

func TestExecDetachedPipe(t *testing.T) {
	m := sandbox(t)
	p, err := m.Exec(bounded(t), capsa.Command{Args: []string{"echo", "hi"}, StdoutPipe: true})
	require.NoError(t, err)
	defer p.Close()
	fd, err := p.Stdout().Detach()
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), "stdout")
	defer f.Close()
	out, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "hi\n", string(out))
}

func TestExecTerminal(t *testing.T) {
	m := sandbox(t)
	p, err := m.Exec(bounded(t), capsa.Command{
		Args: shell(`stty -echo; stty size; tty; trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.05; done`),
		TTY:  true, Cols: 100, Rows: 30, StdoutPipe: true,
	})
	require.NoError(t, err)
	defer p.Close()
	var seen bytes.Buffer
	until := func(text string) {
		buf := make([]byte, 4096)
		for !strings.Contains(seen.String(), text) {
			n, err := p.Stdout().Read(buf)
			seen.Write(buf[:n])
			require.NoError(t, err, seen.String())
		}
	}
	until("ready")
	require.Contains(t, seen.String(), "30 100")
	require.Contains(t, seen.String(), "/dev/pts/")
	require.NoError(t, p.Resize(bounded(t), 120, 40))
	until("40 120")
	status, err := p.Wait(bounded(t))
	require.NoError(t, err)
	require.Equal(t, 5, status.Code)

	r, err := m.Run(bounded(t), capsa.Command{Args: []string{"tty"}, TTY: true})
	require.NoError(t, err)
	require.Contains(t, string(r.Stdout), "/dev/pts/")

	p, err = m.Exec(bounded(t), capsa.Command{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	defer p.Close()
	require.Error(t, p.Resize(bounded(t), 10, 10))
}

func TestExecMany(t *testing.T) {
	m := sandbox(t)
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for i := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := m.Run(bounded(t), capsa.Command{Args: shell(fmt.Sprintf("cat; echo %d; exit %d", i, i)), Stdin: strings.NewReader("in ")})
			if err == nil && (r.Code != i || string(r.Stdout) != fmt.Sprintf("in %d\n", i)) {
				err = fmt.Errorf("program %d: status %d, %q", i, r.Code, r.Stdout)
			}
			errs <- err
		}()
	}
	wg.Wait()
	for range 100 {
		require.NoError(t, <-errs)
	}
}

// TestExecTimeout: the program's children go with it.
func TestExecTimeout(t *testing.T) {
	m := sandbox(t)
	var out bytes.Buffer
	p, err := m.Exec(bounded(t), capsa.Command{
		Args: shell(`sh -c 'echo $$; sleep 1000' & wait`), Stdout: &out, Timeout: 300 * time.Millisecond,
	})
	require.NoError(t, err)
	status, err := p.Wait(bounded(t)) // for the output's end: nobody has it open any more
	require.NoError(t, err)
	require.True(t, status.TimedOut)
	require.Equal(t, 9, status.Signal)
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	require.NoError(t, err)
	gone := func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }
	require.Eventually(t, gone, patience, 5*time.Millisecond)
}

func TestExecSignals(t *testing.T) {
	m := sandbox(t)
	p, err := m.Exec(bounded(t), capsa.Command{
		Args: shell(`trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.05; done`), StdoutPipe: true,
	})
	require.NoError(t, err)
	defer p.Close()
	buf := make([]byte, 6)
	_, err = io.ReadFull(p.Stdout(), buf)
	require.NoError(t, err)
	require.NoError(t, p.Signal(bounded(t), int(syscall.SIGUSR1)))
	out, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	require.Equal(t, "got\n", string(out))
	status, err := p.Wait(bounded(t))
	require.NoError(t, err)
	require.Equal(t, 3, status.Code)
	require.NoError(t, p.Signal(bounded(t), int(syscall.SIGUSR1)), "one that has ended")
}

func TestExecWait(t *testing.T) {
	m := sandbox(t)
	p, err := m.Exec(bounded(t), capsa.Command{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	_, err = p.Wait(expired())
	refused(t, vm.KindTimeout, err)
	_, err = p.Wait(cancelled())
	refused(t, vm.KindCancelled, err)
	_, over := p.Exit()
	require.False(t, over)
	require.NoError(t, p.Close())
	status, err := p.Wait(bounded(t))
	require.NoError(t, err)
	require.Equal(t, 9, status.Signal)

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = m.Run(ctx, capsa.Command{Args: []string{"sleep", "1000"}})
	refused(t, vm.KindCancelled, err)
}

func TestExecLimits(t *testing.T) {
	m := sandbox(t)
	r := run(t, m, capsa.Command{Args: shell("ulimit -n; ulimit -c"), Rlimits: []capsa.Rlimit{
		{Resource: unix.RLIMIT_NOFILE, Soft: 77, Hard: 99}, {Resource: unix.RLIMIT_CORE, Soft: 0, Hard: 0},
	}})
	require.Equal(t, "77\n0\n", string(r.Stdout))
}

func TestExecUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	m := sandbox(t)
	r := run(t, m, capsa.Command{Args: shell("id -u; id -g; echo $HOME"), User: "nobody"})
	require.Equal(t, "65534\n65534\n/nonexistent\n", string(r.Stdout))
	r = run(t, m, capsa.Command{Args: shell("id -u; id -g; echo x > /dev/stderr"), User: "1234:5678"})
	require.Equal(t, "1234\n5678\n", string(r.Stdout))
	require.Equal(t, "x\n", string(r.Stderr))
}

// TestMachineEnds: who waits for a program learns of its machine's end.
func TestMachineEnds(t *testing.T) {
	m := sandbox(t)
	p, err := m.Exec(bounded(t), capsa.Command{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	require.NoError(t, m.Kill())
	_, err = p.Wait(bounded(t))
	refused(t, vm.KindState, err)
	_, err = m.Exec(bounded(t), capsa.Command{Args: []string{"true"}})
	refused(t, vm.KindState, err)
	_, err = m.WaitReady(bounded(t))
	refused(t, vm.KindState, err)
}

func TestNoAgent(t *testing.T) {
	m := running(t, "/fake/spin")
	_, err := m.WaitReady(bounded(t))
	refused(t, vm.KindUnsupported, err)
	_, err = m.Run(bounded(t), capsa.Command{Args: []string{"true"}})
	refused(t, vm.KindUnsupported, err)
}
