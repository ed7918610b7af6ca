//go:build linux

package kvm

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/boot"
	"github.com/libcapsa/libcapsa/internal/kvm/kvmtest"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// patience is how long a step of a test may take before it counts as hanging.
const patience = time.Minute

// testPort is the first of the ports of a probe.
const testPort = 0xC00

// access is one access of the guest to a probe.
type access struct {
	write bool
	off   uint64
	data  string
}

// probe is a device that records what the guest does and answers reads with a
// pattern: 0x80 plus the offset of each byte.
type probe struct {
	mu   sync.Mutex
	all  []access
	seen chan access // every write; nil: not wanted
}

func (p *probe) Read(off uint64, b []byte) {
	for i := range b {
		b[i] = byte(0x80 + off + uint64(i))
	}
	p.mu.Lock()
	p.all = append(p.all, access{off: off, data: string(b)})
	p.mu.Unlock()
}

func (p *probe) Write(off uint64, b []byte) {
	a := access{write: true, off: off, data: string(b)}
	p.mu.Lock()
	p.all = append(p.all, a)
	p.mu.Unlock()
	if p.seen != nil {
		p.seen <- a
	}
}

func (p *probe) accesses() []access {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]access(nil), p.all...)
}

func config(kernel string) vm.Config {
	cfg := vm.DefaultConfig()
	cfg.Memory = 64 * vm.MiB
	cfg.Boot.Kernel = kernel
	return cfg
}

// bare makes a machine that runs code, with changes to it before it is loaded.
func bare(t testing.TB, a *asm, change func(m *machine), host vm.Host) *machine {
	t.Helper()
	return bareCfg(t, config(elf(t, a.assemble())), change, host)
}

func bareCfg(t testing.TB, cfg vm.Config, change func(m *machine), host vm.Host) *machine {
	t.Helper()
	kvmtest.Require(t)
	b := New()
	b.load = func(m *machine) (boot.Entry, error) {
		entry, err := loadLinux(m)
		if err == nil && change != nil {
			change(m)
		}
		return entry, err
	}
	m, err := b.New(cfg, host)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m.(*machine)
}

// wait waits for something to be over.
func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		require.FailNow(t, "hangs", what)
	}
}

// runToEnd starts a machine and returns its exit record.
func runToEnd(t testing.TB, m *machine) vm.Exit {
	t.Helper()
	require.NoError(t, m.Start())
	wait(t, "the guest", m.Done())
	return m.Exit()
}

// serialHost collects what the guest prints to COM1.
func serialHost() (*vmtest.Recorder, vm.Host) {
	r := vmtest.NewRecorder()
	return r, vm.Host{Serial: r}
}
