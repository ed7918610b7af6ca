package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/libcapsa/libcapsa/internal/cli/terminal"
	"github.com/libcapsa/libcapsa/internal/image"
)

// pullFlags say how an image is got.
type pullFlags struct {
	pull     string
	platform string
	insecure bool
	quiet    bool
}

func (p *pullFlags) register(f *pflag.FlagSet) {
	f.StringVar(&p.pull, "pull", "missing", "when to ask the registry: missing, always, never")
	p.registerPull(f)
}

func (p *pullFlags) registerPull(f *pflag.FlagSet) {
	f.StringVar(&p.platform, "platform", "", "`platform` of the image, such as linux/arm64 (default: this host's)")
	f.BoolVar(&p.insecure, "insecure-registry", false, "speak to the registry without TLS")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "do not show how far the work is")
}

// getImage returns an image, and shows how far that is while it takes long.
func (a *App) getImage(ctx context.Context, reference string, f *pullFlags) (image.Image, error) {
	store, err := a.store()
	if err != nil {
		return image.Image{}, err
	}
	pull, ok := map[string]image.Pull{"missing": image.PullMissing, "always": image.PullAlways, "never": image.PullNever}[f.pull]
	if !ok {
		return image.Image{}, bad("pull", "missing, always or never", "%q is no time to pull", f.pull)
	}
	o := image.Options{Pull: pull, Platform: f.platform, Insecure: f.insecure}
	bar := &progress{app: a}
	if !f.quiet && !a.json && terminal.Is(a.Stderr) {
		o.Progress = bar.show
		defer bar.clear()
	}
	return store.Get(ctx, reference, o)
}

// progress is one line of a terminal that says how far the work is.
type progress struct {
	app   *App
	next  time.Time // nothing is drawn before
	drawn bool
}

// drawEvery is the time between two drawings.
const drawEvery = 100 * time.Millisecond

// show is called by one goroutine at a time.
func (p *progress) show(at image.Progress) {
	now := time.Now()
	if now.Before(p.next) && at.Done < at.Total {
		return
	}
	p.next, p.drawn = now.Add(drawEvery), true
	cols, _ := terminal.Size(p.app.Stderr)
	width := max(10, min(40, int(cols)-40))
	full := 0
	if at.Total > 0 {
		full = int(int64(width) * at.Done / at.Total)
	}
	write(p.app.Stderr, "\r%-9s %s%s %s of %s\x1b[K", at.Step, strings.Repeat("█", full), strings.Repeat("░", width-full),
		size(uint64(at.Done)), size(uint64(at.Total)))
}

func (p *progress) clear() {
	if p.drawn {
		write(p.app.Stderr, "\r\x1b[K")
	}
}

func (a *App) imagesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Fetch, list and remove images",
		Long: "Images are kept below $XDG_CACHE_HOME/capsa, as file systems that all machines share. Credentials for registries are\n" +
			"taken from where docker and podman have theirs.",
	}
	var f pullFlags
	pull := &cobra.Command{
		Use:   "pull IMAGE...",
		Short: "Fetch images, or newer ones of the same name",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.pull = "always"
			for _, reference := range args {
				img, err := a.getImage(cmd.Context(), reference, &f)
				if err != nil {
					return err
				}
				if err := a.print(img, func() { a.say("%s", img.Reference) }); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.registerPull(pull.Flags())
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the images that are here", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.listImages() },
	}
	var all bool
	prune := &cobra.Command{
		Use: "prune", Short: "Remove what no image needs", Args: cobra.NoArgs,
		Long: "Removes layers that have been unpacked, downloads that were not finished, and images that no name leads to any more.\n" +
			"Machines that run are not touched.",
		RunE: func(*cobra.Command, []string) error {
			store, err := a.store()
			if err != nil {
				return err
			}
			freed, err := store.Prune(all)
			if err != nil {
				return err
			}
			return a.print(freed, func() { a.say("%d files removed, %s freed", freed.Files, size(uint64(freed.Bytes))) })
		},
	}
	prune.Flags().BoolVarP(&all, "all", "a", false, "remove all images")
	cmd.AddCommand(pull, list, prune)
	return cmd
}

func (a *App) listImages() error {
	store, err := a.store()
	if err != nil {
		return err
	}
	images, err := store.List()
	if err != nil {
		return err
	}
	if images == nil {
		images = []image.Image{}
	}
	return a.print(images, func() {
		var rows [][]string
		for _, img := range images {
			digest := strings.TrimPrefix(img.Digest, "sha256:")
			rows = append(rows, []string{img.Reference, orDash(digest[:min(12, len(digest))]), size(uint64(img.Size)), age(img.Made)})
		}
		a.table("IMAGE DIGEST SIZE AGE", rows)
	})
}
