// Package cli is the command capsa.
package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/cli/hold"
	"github.com/libcapsa/libcapsa/internal/image"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Exit statuses of the command itself, as docker and shells have them. Those of a guest's program are its own.
const (
	statusFailed     = 125 // capsa failed
	statusNoExec     = 126 // the program could not be run
	statusNotFound   = 127 // the program does not exist
	statusUsage      = 2
	statusSignalBase = 128 // and the signal that ended the program
)

// App is one call of the command.
type App struct {
	Stdin, Stdout, Stderr *os.File

	// Backend makes the machines, in this process; nil: the host's.
	Backend capsa.Backend

	json   bool
	status int // of the guest's program
}

// Main runs the command with arguments, without its name, and returns its exit status.
func (a *App) Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	signal.Ignore(unix.SIGPIPE) // a reader that goes away is not to leave a machine behind
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return a.status
	}
	a.printError(err)
	if _, ok := errors.AsType[*vm.Error](err); !ok {
		return statusUsage // cobra's own: an unknown flag or command
	}
	if a.status != 0 {
		return a.status
	}
	return statusFailed
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "capsa",
		Short: "Runs programs and kernels in small virtual machines",
		Long: "capsa runs a program in a fresh Linux machine of its own, from an image or a directory, and gives back its output\n" +
			"and its status. It also boots kernels. Machines that run in the background are found by their names.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       capsa.Version,
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetVersionTemplate("capsa {{.Version}}\n")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON, errors too")
	root.AddGroup(&cobra.Group{ID: "run", Title: "Running:"}, &cobra.Group{ID: "see", Title: "Looking:"},
		&cobra.Group{ID: "rest", Title: "Images and this host:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", a.runCommand(), a.execCommand(), a.copyCommand(), a.stopCommand(), a.killCommand(), a.forwardCommand())
	add("see", a.listCommand(), a.logsCommand(), a.consoleCommand(), a.statsCommand())
	add("rest", a.imagesCommand(), a.configCommand(), a.doctorCommand(), a.backendsCommand(), a.versionCommand())
	root.AddCommand(a.holdCommand(), a.manCommand())
	return root
}

// registry is where the machines of this user are found.
func (a *App) registry() (hold.Registry, error) { return hold.Open(hold.DefaultDir()) }

// client is the one for a machine.
func (a *App) client(name string) (*hold.Client, error) {
	r, err := a.registry()
	if err != nil {
		return nil, err
	}
	return r.Client(name)
}

// store is where the images of this user are.
func (a *App) store() (*image.Store, error) {
	dir, err := image.DefaultDir()
	if err != nil {
		return nil, err
	}
	return image.Open(dir)
}

// machineNames completes the name of a machine.
func (a *App) machineNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	r, err := a.registry()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := r.Names(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// holdCommand is the process that holds a machine in the background.
func (a *App) holdCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hold", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.registry()
			if err != nil {
				return err
			}
			return r.Serve(cmd.Context(), a.builder)
		},
	}
}

// builder is the one for a configuration in its JSON form.
func (a *App) builder(config []byte) (*capsa.Builder, error) {
	b, err := capsa.FromJSON(config)
	if err != nil {
		return nil, err
	}
	a.useBackend(b)
	return b, nil
}

func (a *App) useBackend(b *capsa.Builder) {
	if a.Backend != nil {
		b.UseBackend(a.Backend)
	}
}
