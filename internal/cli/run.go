package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/cli/hold"
	"github.com/libcapsa/libcapsa/internal/cli/terminal"
	"github.com/libcapsa/libcapsa/internal/image"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// runFlags are those of run besides the machine's.
type runFlags struct {
	machineFlags
	programFlags
	pullFlags
	name       string
	background bool
	entrypoint string
	detachKeys string
}

// programFlags say how a program is run.
type programFlags struct {
	env, envFiles []string
	dir, user     string
	stdin, tty    bool
	limit         time.Duration
	memory        string
	pids          uint64
}

func (p *programFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&p.env, "env", "e", nil, "`variable` for the program: NAME=value, or NAME for your own (repeat)")
	f.StringArrayVar(&p.envFiles, "env-file", nil, "`file` with variables, one a line (repeat)")
	f.StringVarP(&p.dir, "workdir", "w", "", "`directory` in the guest to run the program in")
	f.StringVarP(&p.user, "user", "u", "", "`user` in the guest, as name, number or user:group")
	f.BoolVarP(&p.stdin, "interactive", "i", false, "give the program your standard input")
	f.BoolVarP(&p.tty, "tty", "t", false, "give the program a terminal")
}

// command is the program to be run.
func (p *programFlags) command(a *App, args []string) (hold.Command, error) {
	env, err := environment(p.env, p.envFiles)
	if err != nil {
		return hold.Command{}, err
	}
	c := hold.Command{Args: args, Env: env, Dir: p.dir, User: p.user, TTY: p.tty, Stdin: p.stdin, Timeout: p.limit, Pids: p.pids}
	if p.memory != "" {
		if c.Memory, err = parseSize("memory of the program", p.memory); err != nil {
			return c, err
		}
	}
	if !p.tty {
		return c, nil
	}
	if !terminal.Is(a.Stdin) {
		return c, bad("terminal", "leave -t out", "standard input is no terminal to lend to the guest")
	}
	c.Cols, c.Rows = terminal.Size(a.Stdin)
	if term := os.Getenv("TERM"); term != "" {
		c.Env = append([]string{"TERM=" + term}, c.Env...)
	}
	return c, nil
}

func (a *App) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [PROGRAM [ARGUMENT...]]\n  capsa run [flags] --kernel FILE",
		Short: "Run a program in a fresh machine, or boot a kernel",
		Long: "Runs a program in a machine of its own, whose root directory is an image, and ends with the program's status. Nothing\n" +
			"that it does is kept, and it reaches neither the network nor this host's files unless you say so.\n\n" +
			"IMAGE is an image of a registry (debian:12), or what begins with / or ./ : a directory, a tar, an OCI layout, a disk\n" +
			"image. Without IMAGE the kernel is booted, and its console is yours.",
		Example: "  capsa run debian:12 cat /etc/os-release\n  capsa run -it -v .:/work -w /work ./rootfs bash\n" +
			"  capsa run -d --name web -p 8080:80 nginx\n  capsa run --kernel vmlinux --initrd initrd.cpio",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.changed = cmd.Flags().Changed
			return a.run(cmd.Context(), &f, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	f.machineFlags.register(flags)
	f.programFlags.register(cmd)
	f.pullFlags.register(flags)
	flags.StringVar(&f.name, "name", "", "`name` of the machine")
	flags.BoolVarP(&f.background, "detach", "d", false, "leave the machine running in the background, and print its name")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "`program` in place of the image's entrypoint")
	flags.StringVar(&f.detachKeys, "detach-keys", terminal.DefaultDetach, "`keys` that leave a kernel's console, which ends the machine")
	return cmd
}

// run runs what the flags and arguments say.
func (a *App) run(ctx context.Context, f *runFlags, args []string) error {
	if f.name == "" {
		f.name = newName()
	}
	if err := hold.CheckName(f.name); err != nil {
		return err
	}
	if f.kernel == "" && f.config == "" { // before an image is fetched for nothing
		if _, err := findKernel(); err != nil {
			return err
		}
	}
	spec := hold.Spec{Name: f.name, Keep: f.background}
	var img *image.Image
	if len(args) > 0 {
		got, err := a.getImage(ctx, args[0], &f.pullFlags)
		if err != nil {
			return err
		}
		img, spec.Image = &got, args[0]
	}
	if f.background && f.tty {
		return bad("run", "capsa exec -it NAME PROGRAM gives a program in it your terminal", "a machine in the background has no terminal")
	}
	b, err := f.builder(a, img)
	if err != nil {
		return err
	}
	if img != nil {
		if spec.Command, err = f.imageCommand(a, *img, args[1:]); err != nil {
			return err
		}
	}
	if err := b.SetName(f.name); err != nil {
		return err
	}
	if spec.Config, err = b.JSON(); err != nil {
		return err
	}
	switch {
	case f.background:
		return a.runBehind(ctx, spec)
	case spec.Command != nil:
		return a.runCommandIn(ctx, spec, b)
	}
	return a.runConsole(ctx, spec, b, f.detachKeys)
}

// imageCommand is the program to be run in an image's machine; nil: none, in the background.
func (f *runFlags) imageCommand(a *App, img image.Image, args []string) (*hold.Command, error) {
	config := img.Config
	if f.entrypoint != "" {
		config.Entrypoint, config.Cmd = []string{f.entrypoint}, nil
	}
	c, err := f.command(a, config.Command(args))
	if err != nil {
		return nil, err
	}
	c.Env = append(append([]string{}, imageEnv(config.Env)...), c.Env...)
	if c.Dir == "" {
		c.Dir = config.WorkingDir
	}
	if c.User == "" {
		c.User = config.User
	}
	if len(c.Args) == 0 {
		if f.background {
			return nil, nil
		}
		return nil, bad("run", "capsa run IMAGE PROGRAM", "the image names no program to run")
	}
	return &c, nil
}

// imageEnv is what of an image's environment is one.
func imageEnv(env []string) []string {
	var out []string
	for _, v := range env {
		if i := strings.IndexByte(v, '='); i > 0 && strings.IndexByte(v, 0) < 0 {
			out = append(out, v)
		}
	}
	return out
}

// newName is a name that no other machine is likely to have.
func newName() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return "vm-" + hex.EncodeToString(b)
}

// runBehind leaves a machine in the background.
func (a *App) runBehind(ctx context.Context, spec hold.Spec) error {
	if _, err := a.registry(); err != nil { // what is wrong with it is better said here
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return vm.Wrap("run in the background", err)
	}
	if err := hold.Background(ctx, spec, []string{exe, "hold"}); err != nil {
		a.status = startStatus(spec, err)
		return err
	}
	return a.print(map[string]string{"name": spec.Name}, func() { a.say("%s", spec.Name) })
}

// startStatus is the exit status for a program that could not be started.
func startStatus(spec hold.Spec, err error) int {
	if e, ok := errors.AsType[*vm.Error](err); spec.Command == nil || !ok || e.Op != "exec" {
		return statusFailed // it was not the program that is missing
	}
	return statusOf(capsa.ExitStatus{}, err)
}

// hold makes the machine in this process.
func (a *App) hold(ctx context.Context, spec hold.Spec, b *capsa.Builder) (*hold.Holder, error) {
	r, err := a.registry()
	if err != nil {
		return nil, err
	}
	return r.Hold(ctx, spec, b)
}

// runCommandIn runs a program in a machine of this process, and ends both.
func (a *App) runCommandIn(ctx context.Context, spec hold.Spec, b *capsa.Builder) error {
	h, err := a.hold(ctx, spec, b)
	if err != nil {
		return err
	}
	p, err := hold.Start(ctx, h.VM, *spec.Command)
	if err != nil {
		if a.status = startStatus(spec, err); a.status != statusFailed {
			a.shutDown(h)
		}
		return errors.Join(err, h.Close())
	}
	status, err := a.attach(ctx, p, *spec.Command, true)
	a.status = statusOf(status, err)
	if err != nil {
		exit, over := h.VM.Exit()
		if over && (exit.Cause == capsa.CauseStopped || exit.Cause == capsa.CauseKilled) {
			err, a.status = nil, statusSignalBase+15 // somebody's capsa stop, as SIGTERM would
		}
		return errors.Join(err, h.Close())
	}
	if status.OOM {
		write(a.Stderr, "capsa: the program ran out of memory; --memory gives the machine more\n")
	}
	a.shutDown(h)
	return h.Close()
}

// shutDown lets the guest write what it has not: to shared directories and disks. A second signal does not wait for it.
func (a *App) shutDown(h *hold.Holder) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*hold.StopGrace)
	defer cancel()
	_, _ = h.VM.Stop(ctx, hold.StopGrace) // Close ends what Stop could not
}
