// Command confirm tries with a real guest what only a real host can tell, and prints what
// it finds. It is for a Mac, once for each version of macOS and processor, and works with
// any backend:
//
//	make confirm-macos KERNEL=Image INITRD=initrd.cpio.gz
//
// The guest needs a shell of root on hvc0 that prompts with "# ", with busybox's
// commands. What the backend says it cannot do is not tried. It exits with 1 if anything
// is not as it should be.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

// patience is how long one check may take.
const patience = 2 * time.Minute

// check is one thing to find out.
type check struct {
	name  string
	needs string // the capability; "": none
	run   func(context.Context, *bench) (found string, err error)
}

var checks = []check{
	{"a guest boots, answers and powers itself off", "boot-linux", powerOff},
	{"pause and resume", "pause", pauseResume},
	{"kill takes under a second", "boot-linux", kill},
	{"a panic ends the machine", "boot-linux", panics},
	{"a guest that reboots", "boot-linux", reboot},
	{"the power button is heard", "power-button", powerButton},
	{"a raw disk keeps what is written", "disk", disk},
	{"a shared directory, in both directions", "share", share},
	{"memory goes back", "balloon", memory},
	{"network in user space", "network", userNetwork},
	{"network of the platform", "network-nat", platformNetwork},
	{"sockets: the agent calls, and answers 200 times", "vsock", agent},
	{"a machine is saved and restored", "save", saveRestore},
	{"nothing outlives its program", "boot-linux", orphan},
}

// bench is what the checks share.
type bench struct {
	kernel, initrd string
	dir            string // for files of one check
	offers         capabilities
}

// capabilities is the doctor's answer, as far as it matters here.
type capabilities struct {
	Features map[string]bool   `json:"features"`
	Needs    map[string]string `json:"needs"`
}

func main() {
	b := &bench{}
	flag.StringVar(&b.kernel, "kernel", "", "the guest's kernel")
	flag.StringVar(&b.initrd, "initrd", "", "its initial RAM disk")
	only := flag.String("only", "", "checks whose name matches this pattern")
	child := flag.Bool("orphan", false, "for the program itself: run a machine until killed")
	flag.Parse()
	var err error
	failed := 0
	if *child {
		err = b.linger()
	} else {
		var pattern *regexp.Regexp
		if pattern, err = regexp.Compile(*only); err == nil {
			failed, err = b.all(pattern)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "confirm:", err)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

// all runs the checks and returns how many failed.
func (b *bench) all(only *regexp.Regexp) (failed int, err error) {
	report := capsa.Doctor()
	if !report.OK {
		return 0, fmt.Errorf("nothing works here: %+v", report.Backends)
	}
	for _, r := range report.Backends {
		if r.Name != report.Default {
			continue
		}
		text, err := json.Marshal(r.Capabilities)
		if err != nil {
			return 0, err
		}
		fmt.Printf("%s, backend %s: %s\n", report.Platform, r.Name, text)
		if err := json.Unmarshal(text, &b.offers); err != nil {
			return 0, err
		}
	}
	tried := 0
	for _, c := range checks {
		if !only.MatchString(c.name) {
			continue
		}
		tried++
		if !b.try(c) {
			failed++
		}
	}
	fmt.Printf("%d of %d checks failed\n", failed, tried)
	return failed, nil
}

// try runs one check and prints how it went.
func (b *bench) try(c check) bool {
	if c.needs != "" && !b.offers.Features[c.needs] {
		fmt.Printf("not here  %s: it needs %s\n", c.name, b.offers.Needs[c.needs])
		return true
	}
	dir, err := os.MkdirTemp("", "confirm-")
	if err != nil {
		fmt.Printf("FAILED    %s: %v\n", c.name, err)
		return false
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b.dir = dir
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begin := time.Now()
	found, err := c.run(ctx, b)
	took := time.Since(begin).Round(time.Millisecond)
	if err != nil {
		fmt.Printf("FAILED    %s (%v): %v\n", c.name, took, err)
		return false
	}
	fmt.Printf("confirmed %s (%v) %s\n", c.name, took, found)
	return true
}

// guest is a machine with a shell.
type guest struct {
	*capsa.VM
	reader *capsa.Reader
}

// boot makes a machine, with changes to its configuration, and waits for its shell.
func (b *bench) boot(ctx context.Context, change func(map[string]any)) (*guest, error) {
	g, err := b.start(ctx, change)
	if err != nil {
		return nil, err
	}
	if err := g.prompt(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("no shell: %w; the console said: %s", err, g.Console().Tail(2048)), g.Close())
	}
	return g, nil
}

func (b *bench) start(ctx context.Context, change func(map[string]any)) (*guest, error) {
	config := map[string]any{
		"name": "confirm", "cpus": 2, "memory_mib": 512, "boot": map[string]any{"kernel": b.kernel, "initrd": b.initrd},
	}
	if change != nil {
		change(config)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	builder, err := capsa.FromJSON(text)
	if err != nil {
		return nil, err
	}
	m, err := builder.Build()
	if err != nil {
		return nil, err
	}
	g := &guest{m, m.Console().NewReader()}
	if err := m.Start(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return g, nil
}

func (g *guest) prompt(ctx context.Context) error {
	_, err := g.reader.Expect(ctx, []capsa.Pattern{capsa.Literal("# ")})
	return err
}

// sh runs a command, which has to succeed, and returns what it printed.
func (g *guest) sh(ctx context.Context, command string) (string, error) {
	done, err := g.Console().Run(ctx, command)
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	out := strings.TrimSpace(string(done.Output))
	if done.Status != 0 {
		return out, fmt.Errorf("%s: status %d: %s", command, done.Status, out)
	}
	return out, nil
}

// ends waits for the end and compares its cause.
func (g *guest) ends(ctx context.Context, want capsa.Cause) (string, error) {
	exit, err := g.Wait(ctx)
	if err != nil {
		return "", err
	}
	if exit.Cause != want {
		return "", fmt.Errorf("it ended as %v, and not as %v", exit, want)
	}
	return exit.String(), nil
}
