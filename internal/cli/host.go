package cli

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func (a *App) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Args: cobra.NoArgs,
		Short: "Examine this host, and say what is missing",
		Long:  "Says whether machines can run here, with which backends, and what to do where they cannot. The status is 1 if none can.",
		RunE: func(*cobra.Command, []string) error {
			report := capsa.Doctor()
			kernel, kernelErr := findKernel()
			usable := slices.ContainsFunc(report.Backends, func(b capsa.BackendReport) bool { return b.Usable })
			if !usable {
				a.status = 1
			}
			out := struct {
				capsa.Report
				Kernel string `json:"kernel,omitempty"` // for run without --kernel
			}{report, kernel}
			return a.print(out, func() {
				for _, b := range report.Backends {
					a.backend(b)
				}
				if kernelErr != nil {
					a.mark(false, "kernel", vm.KindOf(kernelErr).String(), hintOf(kernelErr))
				} else {
					a.mark(true, "kernel", kernel, "")
				}
			})
		},
	}
}

// mark prints one finding.
func (a *App) mark(good bool, name, text, hint string) {
	sign := colour(a.Stdout, green, "✓")
	if !good {
		sign = colour(a.Stdout, red, "✗")
	}
	a.say("%s %s: %s", sign, colour(a.Stdout, bold, name), text)
	if hint != "" {
		a.say("    %s", hint)
	}
}

func (a *App) backend(b capsa.BackendReport) {
	if b.Usable {
		text := "works"
		if !b.Isolated {
			text += ", but not in processes of their own"
		}
		a.mark(true, b.Name, text, b.Isolation)
		return
	}
	a.mark(false, b.Name, orDash(b.Problem), b.Hint)
}

func hintOf(err error) string {
	var hint string
	if e, ok := err.(*vm.Error); ok { //nolint:errorlint // the outermost one's
		hint = e.Hint
	}
	return hint
}

func (a *App) backendsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backends", Args: cobra.NoArgs,
		Short: "List the backends, and what they can do here",
		RunE: func(*cobra.Command, []string) error {
			list := capsa.Doctor().Backends
			return a.print(list, func() {
				for _, b := range list {
					a.backend(b)
				}
			})
		},
	}
}

func (a *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Args: cobra.NoArgs,
		Short: "Print the version",
		RunE: func(*cobra.Command, []string) error {
			out := map[string]any{
				"version": capsa.Version, "abi_version": capsa.ABIVersion, "platform": runtime.GOOS + "/" + runtime.GOARCH,
			}
			return a.print(out, func() { a.say("capsa %s, ABI %d, %s", capsa.Version, capsa.ABIVersion, out["platform"]) })
		},
	}
}

// manCommand writes the manual pages, for make install.
func (a *App) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIRECTORY", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Write the manual pages into a directory",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return vm.Wrap("manual pages", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "CAPSA", Section: "1", Source: "capsa " + capsa.Version, Manual: "Manual of capsa"}
			return vm.Wrap("manual pages", doc.GenManTree(root, header, args[0]))
		},
	}
}

func (a *App) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats NAME",
		Short: "Print the counters of a machine",
		Long:  "Prints what a machine takes of this host, what its devices have done, and what its guest says of itself.",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: a.machineNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(args[0])
			if err != nil {
				return err
			}
			s, err := c.Stats(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(s, func() {
				rows := [][]string{
					{"memory", size(s.Machine.Memory)}, {"resident", size(s.Machine.Resident)}, {"processors", fmt.Sprint(s.Machine.CPUs)},
					{"OOM kills", fmt.Sprint(s.Machine.OOMKills)},
				}
				if g := s.Guest; g != nil {
					rows = append(rows, []string{"guest: free memory", size(g.MemoryAvailable)},
						[]string{"guest: processes", fmt.Sprint(g.Processes)}, []string{"guest: up", g.Uptime.String()})
				}
				for _, d := range s.Machine.Devices {
					rows = append(rows, []string{d.Name, fmt.Sprintf("%d requests, %s in, %s out", d.Requests, size(d.BytesIn), size(d.BytesOut))})
				}
				a.table("WHAT VALUE", spaced(rows))
			})
		},
	}
}

// spaced keeps a table's first column in one piece.
func spaced(rows [][]string) [][]string {
	for _, row := range rows {
		row[0] = strings.TrimSpace(row[0])
	}
	return rows
}
