//go:build linux

package kvm

import (
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/kvm/legacy"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// lastWords bounds how long a kernel that reported its panic may take to say why.
// It has said so before, but where another processor was printing: that one goes
// on, or the panicking one prints what is left (kernel/panic.c,
// console_flush_on_panic).
const lastWords = time.Second

// noLastWords is the record's detail where the kernel did not say why.
const noLastWords = "the guest's kernel reported that it panicked, and did not say why"

// panicReport is what the guest's kernel said through the panic port.
type panicReport struct {
	mu       sync.Mutex
	panicked bool        // guarded by mu
	crash    bool        // the crash kernel was reported; guarded by mu
	timer    *time.Timer // ends the machine without the kernel's words; guarded by mu
}

func (m *machine) panicPort() *legacy.Panic {
	return legacy.NewPanic(legacy.PanicConfig{Panicked: m.panicked, CrashLoaded: m.crashLoaded})
}

// panicked ends the machine, once the reason of the panic is known: now, as a
// rule. A kernel with panic=0 would wait for ever.
func (m *machine) panicked() {
	r := &m.report
	r.mu.Lock()
	first := !r.panicked
	r.panicked = true
	if first {
		r.timer = time.AfterFunc(lastWords, m.endOfPanic)
	}
	r.mu.Unlock()
	// After panicked is set: panicSaid looks at that after the text is there.
	if m.panicText() != "" {
		m.endOfPanic()
	}
}

// panicSaid is called with the text of a panic when it has been printed.
func (m *machine) panicSaid(text string) {
	m.log("guest", text)
	m.report.mu.Lock()
	panicked := m.report.panicked
	m.report.mu.Unlock()
	if panicked {
		m.endOfPanic()
	}
}

func (m *machine) endOfPanic() { m.end(ending{cause: vm.CausePanic}) }

// crashLoaded tells the host, once, that the guest goes on with its crash kernel.
func (m *machine) crashLoaded() {
	r := &m.report
	r.mu.Lock()
	first := !r.crash
	r.crash = true
	r.mu.Unlock()
	if first && m.host.Event != nil {
		m.host.Event(vm.Event{Type: vm.EventCrashKernel, Message: m.panicText()})
	}
}

// stop makes sure that the timer does not outlive the machine.
func (r *panicReport) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}
