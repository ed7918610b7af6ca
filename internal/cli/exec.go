package cli

import (
	"github.com/spf13/cobra"

	"github.com/libcapsa/libcapsa/capsa"
)

func (a *App) execCommand() *cobra.Command {
	var f programFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] NAME PROGRAM [ARGUMENT...]",
		Short: "Run a program in a machine that runs",
		Long: "Runs a program in a machine that runs, and ends with its status. There is no shell in between. When this command is\n" +
			"killed, so is the program.",
		Example:           "  capsa exec web nginx -s reload\n  capsa exec -it web sh",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.machineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(args[0])
			if err != nil {
				return err
			}
			command, err := f.command(a, args[1:])
			if err != nil {
				return err
			}
			var status capsa.ExitStatus
			p, err := c.Exec(cmd.Context(), command)
			if err == nil {
				status, err = a.attach(cmd.Context(), p, command, false)
			}
			a.status = statusOf(status, err)
			return err
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	f.register(cmd)
	flags.DurationVar(&f.limit, "timeout", 0, "kill the program and all its children after this `time`, such as 30s")
	flags.StringVar(&f.memory, "memory", "", "memory `size` that the program and its children may have")
	flags.Uint64Var(&f.pids, "pids", 0, "`number` of processes and threads that they may be")
	return cmd
}
