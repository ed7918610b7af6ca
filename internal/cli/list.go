package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/cli/hold"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// answerPatience is how long a holder may take to say what it holds, when many are asked.
const answerPatience = 5 * time.Second

func (a *App) listCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"ls", "list"},
		Short:   "List the machines that run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.machines(cmd.Context())
			if err != nil {
				return err
			}
			if quiet {
				for _, m := range list {
					a.say("%s", m.Name)
				}
				return nil
			}
			return a.print(list, func() {
				var rows [][]string
				for _, m := range list {
					rows = append(rows, []string{
						m.Name, orDash(m.Image), orDash(clean(strings.Join(m.Command, " "))), m.State, age(m.Started),
						fmt.Sprint(m.CPUs), size(m.Memory), orDash(forwardList(m.Forwards)),
					})
				}
				a.table("NAME IMAGE COMMAND STATE AGE CPUS MEMORY PORTS", rows)
			})
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print names alone")
	return cmd
}

// machines asks all holders. One that does not answer is in the list, with that as its state.
func (a *App) machines(ctx context.Context) ([]hold.Info, error) {
	r, err := a.registry()
	if err != nil {
		return nil, err
	}
	names, err := r.Names(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	list := []hold.Info{}
	for _, name := range names {
		c, err := r.Client(name)
		if err != nil {
			continue // it is just coming or going
		}
		info, err := c.Info(ctx)
		switch {
		case vm.KindOf(err) == vm.KindNotFound || vm.KindOf(err) == vm.KindState:
			continue
		case err != nil:
			info = hold.Info{Name: name, State: "does not answer"}
		}
		list = append(list, info)
	}
	return list, nil
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (a *App) logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a machine's program has written",
		Long: "Prints what the program of a machine in the background has written, or what its console has, if it has no program. The\n" +
			"last MiB is kept, for as long as the machine runs.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.machineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(args[0])
			if err != nil {
				return err
			}
			f, err := c.Logs(cmd.Context(), follow)
			if err != nil {
				return err
			}
			defer f.Close()
			return a.show(cmd.Context(), f)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what it writes, until the machine ends")
	return cmd
}

// show copies a stream to standard output until its end or that of ctx.
func (a *App) show(ctx context.Context, f *os.File) error {
	conn, err := net.FileConn(f)
	if err != nil {
		return vm.Wrap("logs", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err = io.Copy(a.Stdout, conn); ctx.Err() != nil {
		return vm.ContextError(ctx, "logs")
	}
	return vm.Wrap("logs", err)
}

func (a *App) stopCommand() *cobra.Command {
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "stop NAME...",
		Short: "Shut machines down",
		Long: "Asks the guest to shut down, through its agent and then its power button, and kills what has not gone in time. It returns\n" +
			"when nothing is left of the machine.",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.moreMachineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(args, func(c *hold.Client, name string) error {
				stage, err := c.Stop(cmd.Context(), grace)
				if err != nil {
					return err
				}
				return a.print(map[string]string{"name": name, "ended_by": stage.String()}, func() { a.say("%s", name) })
			})
		},
	}
	cmd.Flags().DurationVar(&grace, "time", hold.StopGrace, "how long a guest may take before it is killed; negative: for ever")
	return cmd
}

func (a *App) killCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "kill NAME...",
		Short:             "End machines at once",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.moreMachineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(args, func(c *hold.Client, name string) error {
				if err := c.Kill(cmd.Context()); err != nil {
					return err
				}
				return a.print(map[string]string{"name": name}, func() { a.say("%s", name) })
			})
		},
	}
}

// each does something for each of several machines, and fails at the end if one of them did.
func (a *App) each(names []string, fn func(c *hold.Client, name string) error) error {
	var last error
	for _, name := range names {
		c, err := a.client(name)
		if err == nil {
			err = fn(c, name)
		}
		if err != nil && last != nil {
			a.printError(last)
		}
		if err != nil {
			last = err
		}
	}
	return last
}

func (a *App) moreMachineNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	names, directive := a.machineNames(cmd, nil, "")
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) }), directive
}

func (a *App) forwardCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "forward NAME [PORT...]",
		Short: "Open ports of a machine here, close them, or list them",
		Long: "Opens ports of a machine that runs: [ADDRESS:]HOST:GUEST[/udp], as run -p does; HOST 0 is any that is free. With\n" +
			"--remove, closes those with the numbers of the list. Without ports, lists those that are open.",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.machineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(args[0])
			if err != nil {
				return err
			}
			return a.forward(cmd.Context(), c, args[1:], remove)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "close the ports with these numbers")
	return cmd
}

func (a *App) forward(ctx context.Context, c *hold.Client, ports []string, remove bool) error {
	if len(ports) == 0 {
		list, err := c.Forwards(ctx)
		if err != nil {
			return err
		}
		if list == nil {
			list = []capsa.Forward{}
		}
		return a.print(list, func() {
			var rows [][]string
			for _, f := range list {
				rows = append(rows, []string{fmt.Sprint(f.ID), forwardList([]capsa.Forward{f})})
			}
			a.table("ID PORT", rows)
		})
	}
	for _, text := range ports {
		if remove {
			var id uint32
			if _, err := fmt.Sscan(text, &id); err != nil {
				return bad("forward", "capsa forward NAME lists the numbers", "%q is no number of a port", text)
			}
			if err := c.Unforward(ctx, id); err != nil {
				return err
			}
			continue
		}
		f, err := parseForward(text)
		if err != nil {
			return err
		}
		if f, err = c.Forward(ctx, f); err != nil {
			return err
		}
		if err := a.print(f, func() { a.say("%s", forwardList([]capsa.Forward{f})) }); err != nil {
			return err
		}
	}
	return nil
}

// forwardList is open ports for people.
func forwardList(list []capsa.Forward) string {
	var out []string
	for _, f := range list {
		host := f.Host.String()
		if f.Path != "" {
			host = f.Path
		}
		out = append(out, fmt.Sprintf("%s->%d/%s", host, f.Guest, f.Protocol))
	}
	return strings.Join(out, ", ")
}
