package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/cli/hold"
	"github.com/libcapsa/libcapsa/internal/cli/terminal"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func (a *App) consoleCommand() *cobra.Command {
	var keys string
	cmd := &cobra.Command{
		Use:   "console NAME",
		Short: "Use a machine's console",
		Long: "Shows what the console has printed and prints, and types what you type. The keys of --detach-keys leave it; the machine\n" +
			"goes on.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.machineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(args[0])
			if err != nil {
				return err
			}
			f, err := c.Console(cmd.Context())
			if err != nil {
				return err
			}
			_, err = a.lendConsole(cmd.Context(), f, keys, func(cols, rows uint16) { _ = c.Resize(cmd.Context(), cols, rows) })
			return err
		},
	}
	cmd.Flags().StringVar(&keys, "detach-keys", terminal.DefaultDetach, "`keys` that leave the console; \"\" for none")
	return cmd
}

// lendConsole joins a console with this process's streams until it ends, the keys are typed, or ctx ends. f is closed.
func (a *App) lendConsole(ctx context.Context, f *os.File, keyText string, resize func(cols, rows uint16)) (detached bool, err error) {
	keys, err := terminal.ParseKeys(keyText)
	if err != nil {
		f.Close()
		return false, err
	}
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return false, vm.Wrap("console", err)
	}
	defer conn.Close()
	var in io.Reader = a.Stdin
	if terminal.Is(a.Stdin) {
		restore, err := terminal.Raw(a.Stdin)
		if err != nil {
			return false, err
		}
		defer restore()
		if len(keys) > 0 {
			write(a.Stderr, "%s\r\n", colour(a.Stderr, dim, "The console is yours; "+keyText+" leaves it."))
		}
		in = terminal.NewDetacher(a.Stdin, keys)
		defer terminal.Follow(a.Stdin, resize)()
	}
	typed := make(chan error, 1) // nobody joins this one: a terminal may never say anything again
	safe.Go("console input", nil, func() {
		_, err := io.Copy(conn, in)
		typed <- err
	})
	shown := make(chan error, 1)
	safe.Go("console output", func(err error) { shown <- err }, func() {
		_, err := io.Copy(a.Stdout, conn)
		shown <- err
	})
	for {
		select {
		case err := <-typed:
			if errors.Is(err, terminal.ErrDetached) {
				return true, nil
			}
			typed = nil // the input has ended; the console has not
		case err := <-shown:
			return false, vm.Wrap("console", err)
		case <-ctx.Done():
			return false, vm.ContextError(ctx, "console")
		}
	}
}

// runConsole boots a kernel whose console is this process's, and ends with it.
func (a *App) runConsole(ctx context.Context, spec hold.Spec, b *capsa.Builder, keys string) error {
	h, err := a.hold(ctx, spec, b)
	if err != nil {
		return err
	}
	fd, err := h.VM.Console().FD()
	if err != nil {
		return errors.Join(err, h.Close())
	}
	_, err = a.lendConsole(ctx, os.NewFile(uintptr(fd), "console"), keys, func(cols, rows uint16) { _ = h.VM.Console().Resize(cols, rows) })
	if err != nil { // a signal
		a.shutDown(h)
	}
	if !h.VM.State().Final() {
		// The console ends with the machine, or was left; then the machine has no more use.
		wait, cancel := context.WithTimeout(context.Background(), endPatience)
		if _, waitErr := h.VM.Wait(wait); errors.Is(waitErr, vm.KindTimeout) {
			a.shutDown(h)
		}
		cancel()
	}
	exit, err := h.VM.Wait(context.Background())
	closeErr := h.Close()
	if err != nil {
		return err
	}
	a.status = exitStatus(exit)
	if a.status == statusFailed {
		return vm.Errorf(vm.KindGuest, "run", "the guest ended badly: %s", exit)
	}
	return closeErr
}

// endPatience is how long a machine may take to end whose console has.
const endPatience = time.Second

// exitStatus is the command's for a machine's end.
func exitStatus(exit capsa.Exit) int {
	switch exit.Cause {
	case capsa.CauseGuestShutdown, capsa.CauseReboot, capsa.CauseStopped:
		return 0
	case capsa.CauseMainExited:
		return int(exit.Code)
	case capsa.CauseKilled:
		return statusSignalBase + 9
	}
	return statusFailed
}
