package hold

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Descriptors of a process in the background: what it is to hold, and where it says how that went.
const (
	specFD   = 3
	statusFD = 4
)

// started is what a holder in the background says once.
type started struct {
	Error *fault `json:"error,omitempty"`
}

// Background starts a process that holds a machine, and returns when the machine runs and its command was started. argv
// makes the process call Serve.
func Background(ctx context.Context, spec Spec, argv []string) error {
	const op = "run in the background"
	data, err := json.Marshal(spec)
	if err != nil {
		return vm.Errorf(vm.KindInternal, op, "%w", err)
	}
	specOut, specIn, err := os.Pipe()
	if err != nil {
		return vm.Wrap(op, err)
	}
	defer specOut.Close()
	defer specIn.Close()
	statusOut, statusIn, err := os.Pipe()
	if err != nil {
		return vm.Wrap(op, err)
	}
	defer statusOut.Close()
	defer statusIn.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.ExtraFiles = []*os.File{specOut, statusIn}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return vm.Wrap(op, err)
	}
	specOut.Close()
	statusIn.Close()
	// The process outlives this one, or says why it does not; when the caller gives up, it is not to stay.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	_, writeErr := specIn.Write(data)
	specIn.Close()
	answer, readErr := io.ReadAll(io.LimitReader(statusOut, maxFrame))
	if !stop() {
		_ = cmd.Wait()
		return vm.ContextError(ctx, op)
	}
	var s started
	if err := json.Unmarshal(answer, &s); err != nil {
		_ = cmd.Process.Kill()
		return vm.Errorf(vm.KindVMMDied, op, "the process that was to hold the machine has died: %w",
			errors.Join(cmd.Wait(), writeErr, readErr))
	}
	if s.Error != nil {
		_ = cmd.Wait() // it ends by itself; its status says nothing more
		return s.Error.err()
	}
	return vm.Wrap(op, cmd.Process.Release())
}

// Serve is the life of a process in the background. builder makes the builder of the specification's configuration.
func (r Registry) Serve(ctx context.Context, builder func([]byte) (*capsa.Builder, error)) error {
	for _, fd := range []int{specFD, statusFD} {
		var s syscall.Stat_t
		if err := syscall.Fstat(fd, &s); err != nil || s.Mode&syscall.S_IFMT != syscall.S_IFIFO {
			return vm.Errorf(vm.KindInvalidArg, "hold a machine", "this command is not for people")
		}
		syscall.CloseOnExec(fd)
	}
	in, out := os.NewFile(specFD, "specification"), os.NewFile(statusFD, "status")
	defer out.Close()
	h, err := r.begin(ctx, in, builder)
	_ = json.NewEncoder(out).Encode(started{faultOf(err)}) // if nobody listens, nobody has use for the machine
	out.Close()
	if err != nil {
		return err
	}
	return errors.Join(h.Wait(ctx), h.Close())
}

// begin starts the machine and its command.
func (r Registry) begin(ctx context.Context, in *os.File, builder func([]byte) (*capsa.Builder, error)) (*Holder, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxFrame))
	in.Close()
	if err != nil {
		return nil, vm.Wrap("hold a machine", err)
	}
	var spec Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, vm.Errorf(vm.KindProtocol, "hold a machine", "%w", err)
	}
	b, err := builder(spec.Config)
	if err != nil {
		return nil, err
	}
	h, err := r.Hold(ctx, spec, b)
	if err != nil || spec.Command == nil {
		return h, err
	}
	if err := h.Run(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}
