package main

/*
#include "priv.h"
*/
import "C"

import (
	"bytes"
	"context"
	"io/fs"
	"math"
	"sync"
	"time"
	"unsafe"

	"github.com/libcapsa/libcapsa/capsa"
)

//export goBuilderNewSandbox
func goBuilderNewSandbox(out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return guard(c, "builder.new_sandbox", func() error { return give(out, kindBuilder, capsa.NewSandbox()) })
}

// overlayOf decodes where writes to the root directory go.
func overlayOf(name string, n C.uint32_t) (capsa.Overlay, error) {
	switch n {
	case C.CAPSA_OVERLAY_MEMORY:
		return capsa.OverlayMemory, nil
	case C.CAPSA_OVERLAY_NONE:
		return capsa.OverlayNone, nil
	}
	return "", errorf(capsa.KindInvalidArg, name, "overlay %d is not known", uint32(n))
}

//export goBuilderSetRootDir
func goBuilderSetRootDir(h C.uintptr_t, path *C.char, overlay C.uint32_t, c *C.priv_call) C.capsa_status {
	const name = "builder.set_root_dir"
	return builder(h, c, name, func(b *capsa.Builder) error {
		o, err := overlayOf(name, overlay)
		if err != nil {
			return err
		}
		return b.SetRootDir(C.GoString(path), o)
	})
}

//export goBuilderSetRootDisk
func goBuilderSetRootDisk(h C.uintptr_t, path *C.char, o *C.capsa_disk_options, overlay C.uint32_t,
	c *C.priv_call) C.capsa_status {
	const name = "builder.set_root_disk"
	return builder(h, c, name, func(b *capsa.Builder) error {
		where, err := overlayOf(name, overlay)
		if err != nil {
			return err
		}
		disk, err := diskOf(C.GoString(path), o)
		if err != nil {
			return err
		}
		return b.SetRootDisk(disk, where)
	})
}

//export goBuilderMount
func goBuilderMount(h C.uintptr_t, path, target *C.char, o *C.capsa_share_options, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.mount", func(b *capsa.Builder) error {
		share, err := shareOf(o)
		if err != nil {
			return err
		}
		share.Path = C.GoString(path)
		return b.Mount(share, C.GoString(target))
	})
}

//export goBuilderSetGuestJSON
func goBuilderSetGuestJSON(h C.uintptr_t, s *C.char, n C.size_t, c *C.priv_call) C.capsa_status {
	const name = "builder.set_guest_json"
	return builder(h, c, name, func(b *capsa.Builder) error {
		if n > maxJSON {
			return errorf(capsa.KindConfig, name, "%d bytes are no JSON text", n)
		}
		return b.SetGuestJSON([]byte(callerString(s, n)))
	})
}

// onGuest runs an export that calls the guest of a machine's handle. commit stores the
// results of run, if it has some.
func onGuest(h C.uintptr_t, c *C.priv_call, name string, ms C.int64_t, cancel C.uintptr_t,
	run func(ctx context.Context, m *machine) error, commit func() error) C.capsa_status {
	return onVM(h, c, name, func(m *machine) error {
		return wait{
			name: name, timeout: ms, cancel: cancel, life: m.life, strict: true,
			run: func(ctx context.Context) error {
				err := run(ctx, m)
				if err != nil && m.cut.Load() { // the end is the free's doing, whichever is seen first
					err = errorf(capsa.KindClosed, name, "%w", errFreed)
				}
				return err
			},
			commit: func(err error) error {
				if err == nil && commit != nil {
					err = commit()
				}
				return err
			},
		}.begin(c)
	})
}

// guestJSON is capsa_vm_wait_ready's information.
type guestJSON struct {
	Agent     string   `json:"agent_version"`
	Kernel    string   `json:"kernel"`
	Hostname  string   `json:"hostname"`
	OS        string   `json:"os,omitempty"`
	CPUs      int      `json:"cpus"`
	Memory    uint64   `json:"memory"`
	Init      bool     `json:"init"`
	Limits    bool     `json:"limits"`
	Addresses []string `json:"addresses,omitempty"`
	StartNs   int64    `json:"agent_start_ns"`
	ReadyNs   int64    `json:"ready_ns"`
}

//export goVMWaitReady
func goVMWaitReady(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, out **C.char, c *C.priv_call) C.capsa_status {
	var info capsa.GuestInfo
	return onGuest(h, c, "vm.wait_ready", ms, cancel, func(ctx context.Context, m *machine) (err error) {
		info, err = m.WaitReady(ctx)
		return err
	}, func() error {
		if out == nil {
			return nil
		}
		return giveJSON(out, guestJSON{
			Agent: info.AgentVersion, Kernel: info.Kernel, Hostname: info.Hostname, OS: info.OS, CPUs: info.CPUs,
			Memory: info.Memory, Init: info.Init, Limits: info.Limits, Addresses: info.Addresses,
			StartNs: int64(info.AgentStart), ReadyNs: int64(info.Ready),
		})
	})
}

// program is a capsa_exec.
type program struct {
	*capsa.Process
	life context.Context // ends with errFreed when the handle is freed
	end  context.CancelCauseFunc

	mu    sync.Mutex
	given [3]bool // which streams the caller has; guarded by mu
}

// goStrings copies an array of the caller's texts.
func goStrings(p **C.char, n C.size_t) []string {
	var out []string
	for _, s := range callerStrings(p, n) {
		out = append(out, C.GoString(s))
	}
	return out
}

// commandOf decodes the options of a program.
func commandOf(o *C.capsa_exec_options) (capsa.Command, error) {
	const name = "vm.exec"
	const known = C.CAPSA_EXEC_TTY | C.CAPSA_EXEC_ENV_ONLY | C.CAPSA_EXEC_STDIN | C.CAPSA_EXEC_STDOUT | C.CAPSA_EXEC_STDERR
	if o.flags&^known != 0 {
		return capsa.Command{}, errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(o.flags&^known))
	}
	if o.timeout_ms < 0 || o.timeout_ms > math.MaxInt64/C.int64_t(time.Millisecond) {
		return capsa.Command{}, errorf(capsa.KindInvalidArg, name, "%d ms is no timeout", o.timeout_ms)
	}
	cmd := capsa.Command{
		Args: goStrings(o.args, o.n_args), Env: goStrings(o.env, o.n_env), EnvOnly: o.flags&C.CAPSA_EXEC_ENV_ONLY != 0,
		Dir: C.GoString(o.dir), User: C.GoString(o.user),
		TTY: o.flags&C.CAPSA_EXEC_TTY != 0, Cols: uint16(o.columns), Rows: uint16(o.rows),
		StdinPipe: o.flags&C.CAPSA_EXEC_STDIN != 0, StdoutPipe: o.flags&C.CAPSA_EXEC_STDOUT != 0,
		StderrPipe: o.flags&C.CAPSA_EXEC_STDERR != 0,
		Memory:     uint64(o.memory), Pids: uint64(o.pids), Timeout: time.Duration(o.timeout_ms) * time.Millisecond,
	}
	for _, l := range callerRlimits(o.rlimits, o.n_rlimits) {
		cmd.Rlimits = append(cmd.Rlimits, capsa.Rlimit{Resource: int(l.resource), Soft: uint64(l.soft), Hard: uint64(l.hard)})
	}
	return cmd, nil
}

//export goVMExec
func goVMExec(h C.uintptr_t, o *C.capsa_exec_options, ms C.int64_t, cancel C.uintptr_t, out *C.uintptr_t,
	c *C.priv_call) C.capsa_status {
	var p *capsa.Process
	return onGuest(h, c, "vm.exec", ms, cancel, func(ctx context.Context, m *machine) error {
		cmd, err := commandOf(o)
		if err != nil {
			return err
		}
		p, err = m.Exec(ctx, cmd)
		return err
	}, func() error {
		x := &program{Process: p}
		x.life, x.end = context.WithCancelCause(context.Background())
		if err := give(out, kindExec, x); err != nil {
			_ = p.Close()
			return err
		}
		return nil
	})
}

// onExec runs an export on the program of a handle.
func onExec(h C.uintptr_t, c *C.priv_call, name string, fn func(p *program) error) C.capsa_status {
	return on(kindExec, h, c, name, fn)
}

//export goExecFD
func goExecFD(h C.uintptr_t, stream C.uint32_t, out *C.int, c *C.priv_call) C.capsa_status {
	const name = "exec.fd"
	return onExec(h, c, name, func(p *program) error {
		pipes := []*capsa.Pipe{p.Stdin(), p.Stdout(), p.Stderr()}
		if int64(stream) >= int64(len(pipes)) {
			return errorf(capsa.KindInvalidArg, name, "%d is no stream", uint32(stream))
		}
		pipe := pipes[stream]
		if pipe != nil && pipe == pipes[0] { // a terminal has one for both directions
			stream = 0
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if pipe == nil || p.given[stream] {
			return errorf(capsa.KindState, name, "the program has no such stream, or it was given already")
		}
		if err := giveFD(out, pipe.Detach); err != nil {
			return err
		}
		p.given[stream] = true
		return nil
	})
}

//export goExecWait
func goExecWait(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, out *C.capsa_exec_status, c *C.priv_call) C.capsa_status {
	return onExec(h, c, "exec.wait", func(p *program) error {
		var s capsa.ExitStatus
		return wait{
			name: "exec.wait", timeout: ms, cancel: cancel, life: p.life, try: true,
			run: func(ctx context.Context) (err error) {
				s, err = p.Wait(ctx)
				return err
			},
			commit: func(err error) error {
				out.code, out.signal = C.int32_t(s.Code), C.int32_t(s.Signal)
				if s.OOM {
					out.flags |= C.CAPSA_EXEC_OOM
				}
				if s.TimedOut {
					out.flags |= C.CAPSA_EXEC_TIMED_OUT
				}
				out.user_ns, out.system_ns = C.uint64_t(s.UserTime), C.uint64_t(s.SystemTime)
				out.real_ns, out.max_rss = C.uint64_t(s.Duration), C.uint64_t(s.MaxRSS)
				return err
			},
		}.begin(c)
	})
}

// callExec runs an export that calls the guest about a program.
func callExec(h C.uintptr_t, c *C.priv_call, name string, ms C.int64_t, cancel C.uintptr_t,
	run func(ctx context.Context, p *program) error) C.capsa_status {
	return onExec(h, c, name, func(p *program) error {
		return wait{
			name: name, timeout: ms, cancel: cancel, life: p.life, strict: true,
			run: func(ctx context.Context) error { return run(ctx, p) },
		}.begin(c)
	})
}

//export goExecSignal
func goExecSignal(h C.uintptr_t, signal C.int32_t, flags C.uint32_t, ms C.int64_t, cancel C.uintptr_t,
	c *C.priv_call) C.capsa_status {
	const name = "exec.signal"
	return callExec(h, c, name, ms, cancel, func(ctx context.Context, p *program) error {
		const sigkill = 9
		switch {
		case flags&^C.CAPSA_SIGNAL_ALL != 0:
			return errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(flags))
		case signal < 0 || signal > 64:
			return errorf(capsa.KindInvalidArg, name, "%d is no signal", int(signal))
		case flags != 0 && signal != sigkill:
			return errorf(capsa.KindInvalidArg, name, "only %d goes to all", sigkill)
		case flags != 0:
			return p.Kill(ctx)
		}
		return p.Signal(ctx, int(signal))
	})
}

//export goExecResize
func goExecResize(h C.uintptr_t, columns, rows C.uint16_t, ms C.int64_t, cancel C.uintptr_t, c *C.priv_call) C.capsa_status {
	return callExec(h, c, "exec.resize", ms, cancel, func(ctx context.Context, p *program) error {
		return p.Resize(ctx, uint16(columns), uint16(rows))
	})
}

//export goExecFree
func goExecFree(h C.uintptr_t) {
	free("exec.free", func() {
		if p, ok := handles.take(kindExec, uintptr(h)).(*program); ok {
			p.end(errFreed)
			_ = p.Close()
		}
	})
}

//export goVMCopy
func goVMCopy(h C.uintptr_t, from, to *C.char, flags C.uint32_t, in C.int, ms C.int64_t, cancel C.uintptr_t,
	c *C.priv_call) C.capsa_status {
	name := "vm.copy_out"
	if in != 0 {
		name = "vm.copy_in"
	}
	src, dst := C.GoString(from), C.GoString(to)
	return onGuest(h, c, name, ms, cancel, func(ctx context.Context, m *machine) error {
		if flags&^C.CAPSA_COPY_KEEP_OWNER != 0 {
			return errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(flags))
		}
		o := capsa.CopyOptions{KeepOwner: flags != 0}
		if in != 0 {
			return m.Files().CopyIn(ctx, src, dst, o)
		}
		return m.Files().CopyOut(ctx, src, dst, o)
	}, nil)
}

//export goVMFileRead
func goVMFileRead(h C.uintptr_t, path *C.char, ms C.int64_t, cancel C.uintptr_t, out *C.uintptr_t,
	c *C.priv_call) C.capsa_status {
	var data []byte
	name := C.GoString(path)
	return onGuest(h, c, "vm.file_read", ms, cancel, func(ctx context.Context, m *machine) (err error) {
		data, err = m.Files().ReadFile(ctx, name)
		return err
	}, func() error { return newOutput(out, data, 0) })
}

//export goVMFileWrite
func goVMFileWrite(h C.uintptr_t, path *C.char, data unsafe.Pointer, size C.size_t, mode C.uint32_t, ms C.int64_t,
	cancel C.uintptr_t, c *C.priv_call) C.capsa_status {
	const op = "vm.file_write"
	name := C.GoString(path)
	return onGuest(h, c, op, ms, cancel, func(ctx context.Context, m *machine) error {
		if mode&^0o777 != 0 {
			return errorf(capsa.KindInvalidArg, op, "mode %#o is none of a file", uint32(mode))
		}
		_, err := m.Files().WriteFrom(ctx, name, bytes.NewReader(callerBytes(data, size)), capsa.WriteOptions{Mode: fs.FileMode(mode)})
		return err
	}, nil)
}
