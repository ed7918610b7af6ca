package cli

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/libcapsa/libcapsa/internal/cli/hold"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func (a *App) copyCommand() *cobra.Command {
	var keepOwner bool
	cmd := &cobra.Command{
		Use:   "cp [flags] PATH NAME:PATH\n  capsa cp [flags] NAME:PATH PATH",
		Short: "Copy files and directories into a machine or out of it",
		Long: "Copies a file or a directory with all that is in it. Into a directory that exists, or a path that ends with a slash, it\n" +
			"is copied under its own name. \"-\" on this host's side is a tar archive, from standard input or to standard output.",
		Example: "  capsa cp ./site web:/var/www\n  capsa cp web:/var/log/nginx .\n  tar c src | capsa cp - build:/work",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.copy(cmd.Context(), args[0], args[1], keepOwner)
		},
	}
	cmd.Flags().BoolVarP(&keepOwner, "archive", "a", false, "keep the numbers of users and groups")
	return cmd
}

func (a *App) copy(ctx context.Context, from, to string, keepOwner bool) error {
	fromName, fromPath, fromGuest := guestPath(from)
	toName, toPath, toGuest := guestPath(to)
	if fromGuest == toGuest {
		return bad("copy", "NAME:PATH is in a machine, and a path of this host with a colon begins with ./", "one of %q and %q has to be in a machine", from, to)
	}
	name := fromName + toName
	c, err := a.client(name)
	if err != nil {
		return err
	}
	what := hold.Copy{In: toGuest, From: fromPath, To: toPath, KeepOwner: keepOwner}
	switch {
	case toGuest && from == "-":
		what.Archive = true
		return c.Copy(ctx, what, a.Stdin)
	case toGuest:
		if what.From, err = filepath.Abs(from); err != nil {
			return vm.Wrap("copy", err)
		}
		dir, err := a.isGuestDir(ctx, c, toPath)
		if err != nil {
			return err
		}
		if dir || strings.HasSuffix(toPath, "/") {
			what.To = path.Join(toPath, filepath.Base(what.From))
		}
		return c.Copy(ctx, what, nil)
	case to == "-":
		what.Archive = true
		return c.Copy(ctx, what, a.Stdout)
	}
	if what.To, err = filepath.Abs(to); err != nil {
		return vm.Wrap("copy", err)
	}
	if info, err := os.Stat(what.To); strings.HasSuffix(to, "/") || err == nil && info.IsDir() {
		what.To = filepath.Join(what.To, path.Base(fromPath))
	}
	return c.Copy(ctx, what, nil)
}

// guestPath takes NAME:PATH apart. What begins with a dot or a slash is a path of this host.
func guestPath(text string) (name, path string, ok bool) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		return "", text, false
	}
	name, path, ok = strings.Cut(text, ":")
	if !ok {
		return "", text, false
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return name, path, true
}

// isGuestDir says whether a directory is there in the guest.
func (a *App) isGuestDir(ctx context.Context, c *hold.Client, path string) (bool, error) {
	dir, err := c.IsDir(ctx, path)
	if errors.Is(err, vm.KindNotFound) {
		if _, infoErr := c.Info(ctx); infoErr == nil {
			return false, nil
		}
	}
	return dir, err
}
