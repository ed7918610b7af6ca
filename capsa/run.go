package capsa

import (
	"context"
	"sync"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Run runs a program in the guest to its end and returns its status and what it has
// written: MaxOutput bytes of each stream, unless c has Writers of its own. When ctx ends
// first, the program is killed. A status other than 0 is no error. Errors: those of Exec
// and Process.Wait.
func (v *VM) Run(ctx context.Context, c Command) (Result, error) {
	const op = "exec"
	if c.StdinPipe || c.StdoutPipe || c.StderrPipe {
		return Result{}, vm.Errorf(vm.KindInvalidArg, op, "nobody would use the pipes of a program that runs to its end")
	}
	var out, errs *head
	if c.Stdout == nil {
		out = &head{}
		c.Stdout = out
	}
	if c.Stderr == nil && !c.TTY {
		errs = &head{}
		c.Stderr = errs
	}
	p, err := v.Exec(ctx, c)
	if err != nil {
		return Result{}, err
	}
	defer p.Close()
	status, err := p.Wait(ctx)
	r := Result{ExitStatus: status}
	for _, x := range []struct {
		from *head
		to   *[]byte
	}{{out, &r.Stdout}, {errs, &r.Stderr}} {
		if x.from != nil {
			data, truncated := x.from.taken()
			*x.to, r.Truncated = data, r.Truncated || truncated
		}
	}
	return r, err
}

// head keeps the first MaxOutput bytes.
type head struct {
	mu        sync.Mutex
	data      []byte // guarded by mu
	truncated bool   // guarded by mu
}

// Write takes everything and keeps what fits.
func (t *head) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keep := min(len(p), MaxOutput-len(t.data))
	t.data = append(t.data, p[:keep]...)
	t.truncated = t.truncated || keep < len(p)
	return len(p), nil
}

func (t *head) taken() ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data, t.truncated
}
