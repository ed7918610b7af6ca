// Polyglot-go is the interpreter of the polyglot suite (tests/polyglot/README.md) over package capsa.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

// The header's names of numbers.
var (
	classes = []string{
		"OK", "INVALID_ARG", "HANDLE", "STATE", "CONFIG", "UNSUPPORTED", "UNAVAILABLE", "NOT_FOUND", "EXISTS", "PERMISSION",
		"NO_MEMORY", "LIMIT", "TIMEOUT", "CANCELLED", "CLOSED", "IO", "BOOT", "GUEST", "PROTOCOL", "VMM_DIED", "FORKED", "INTERNAL",
	}
	causes = []string{
		"none", "guest-shutdown", "main-exited", "reboot", "panic", "oom", "stopped", "killed", "timed-out", "vmm-crash",
		"boot-failed", "triple-fault",
	}
	states = []string{"created", "starting", "running", "paused", "stopping", "stopped", "failed"}
	stages = []string{"none", "agent", "power-button", "kill"}
	events = []string{
		"", "state", "ready", "exited", "exec-exited", "console-data", "port-bound", "policy-deny", "oom", "log", "events-lost",
		"disk-error", "crash-kernel",
	}
)

type arguments map[string]string

func (a arguments) number(key string) int { n, _ := strconv.Atoi(a[key]); return n }

// patience is a context with the step's time.
func (a arguments) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(a.number("ms"))*time.Millisecond)
}

// interpreter has what the script has made, by name.
type interpreter struct {
	builder  *capsa.Builder
	vms      map[string]*capsa.VM
	readers  map[string]*capsa.Reader
	consoles map[string]*capsa.Console // of the reader with that name
	watched  map[string]*capsa.VM      // whose events are asked for
	forwards map[string]capsa.Forward
	streams  map[string]net.Conn
	ports    map[string]listening
}

// listening is a port of the host that the guest connects to.
type listening struct {
	net.Listener
	vm   *capsa.VM
	port uint32
}

func newInterpreter() *interpreter {
	return &interpreter{
		capsa.NewBuilder(), map[string]*capsa.VM{}, map[string]*capsa.Reader{}, map[string]*capsa.Console{}, map[string]*capsa.VM{},
		map[string]capsa.Forward{}, map[string]net.Conn{}, map[string]listening{},
	}
}

func exitOf(e capsa.Exit) string { return fmt.Sprintf("%s %d %d", causes[e.Cause], e.Code, e.Signal) }

// describe is set: one property of the description.
func (i *interpreter) describe(a arguments) error {
	b, value, number := i.builder, a["value"], a.number("value")
	switch a["what"] {
	case "name":
		return b.SetName(value)
	case "backend":
		return b.SetBackend(value)
	case "linux":
		return errors.Join(b.SetKernel(value), b.SetInitrd(a["initrd"]))
	case "arg":
		return b.AddArg(value)
	case "cmdline":
		return b.SetCmdline(value)
	case "cpus":
		return b.SetCPUs(number)
	case "memory_mib":
		return b.SetMemoryMiB(uint64(number))
	case "timeout_ms":
		return b.SetTimeout(time.Duration(number) * time.Millisecond)
	case "isolation":
		return b.SetIsolation(map[string]capsa.Isolation{"none": capsa.IsolationNone, "process": capsa.IsolationProcess}[value])
	case "disk":
		return b.AddDisk(capsa.Disk{Path: value, Format: capsa.DiskRaw})
	case "share":
		_, readOnly := a["read_only"]
		return b.AddShare(capsa.Share{Tag: a["tag"], Path: value, ReadOnly: readOnly})
	case "ring_size":
		return b.SetConsole(capsa.ConsoleConfig{RingSize: number})
	case "vsock":
		return b.SetVsock(true)
	case "vsock_listen":
		return b.BindVsock(capsa.VsockPort{Port: uint32(a.number("port")), Mode: capsa.VsockModeListen, Path: value})
	case "network":
		return b.SetNetwork(capsa.NetworkConfig{Mode: capsa.NetworkUser, HostAccess: true, MTU: number})
	case "policy":
		return b.SetPolicyJSON([]byte(value))
	case "forward":
		return b.AddForward(capsa.Forward{Protocol: capsa.ForwardTCP, Guest: uint16(number)})
	}
	return fmt.Errorf("nothing is called %q", a["what"])
}

// clear frees everything.
func (i *interpreter) clear() {
	for _, s := range i.streams {
		_ = s.Close()
	}
	for _, l := range i.ports {
		_ = l.Close()
	}
	for _, m := range i.vms {
		_ = m.Close()
	}
	*i = *newInterpreter()
}

// step does what a word says.
func (i *interpreter) step(word string, a arguments) (string, error) {
	m := i.vms[a["vm"]]
	switch word {
	case "clear":
		i.clear()
	case "version":
		return capsa.Version, nil
	case "has":
		return strconv.FormatBool(capsa.Has(a["feature"])), nil
	case "set":
		return "", i.describe(a)
	case "json":
		text, err := i.builder.JSON()
		return string(text), err
	case "from_json":
		b, err := capsa.FromJSON([]byte(a["json"]))
		if err == nil {
			i.builder = b
		}
		return "", err
	case "build":
		made, err := i.builder.Build()
		if err == nil {
			i.vms[a["vm"]] = made
		}
		return "", err
	case "start":
		return "", m.Start(context.Background())
	case "state":
		return states[m.State()], nil
	case "wait":
		ctx, cancel := a.patience()
		defer cancel()
		return waitFor(ctx, m)
	case "cancelled":
		return cancelled(m)
	case "stop":
		stage, err := m.Stop(context.Background(), time.Duration(a.number("ms"))*time.Millisecond)
		return stages[stage], err
	case "kill":
		return "", m.Kill()
	case "pause":
		return "", m.Pause()
	case "resume":
		return "", m.Resume()
	case "close":
		return "", i.close(a["of"])
	case "boot_log":
		return string(m.BootLog()), nil
	case "stats":
		s := m.Stats()
		return fmt.Sprintf("%d %d", s.CPUs, s.Memory>>20), nil
	case "watch":
		i.watched[a["as"]] = m
	case "events":
		return eventsOf(i.watched[a["of"]])
	case "churn":
		return "", i.churn(a)
	case "many":
		return i.many(a)
	case "policy":
		if text, ok := a["json"]; ok {
			return "", m.SetPolicyJSON([]byte(text))
		}
		return "", m.SetPolicyJSON(nil)
	case "link":
		return "", m.SetLink(a["up"] == "1")
	case "file":
		text, err := os.ReadFile(a["path"])
		return string(text), err
	default:
		return i.talk(word, a)
	}
	return "", nil
}

func (i *interpreter) close(name string) error {
	if m, ok := i.vms[name]; ok {
		delete(i.vms, name)
		return m.Close()
	}
	l := i.ports[name]
	delete(i.ports, name)
	return errors.Join(l.Close(), l.vm.VsockUnlisten(l.port))
}

// cancelled waits for a machine's end, and is cancelled.
func cancelled(m *capsa.VM) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(0, cancel)
	return waitFor(ctx, m)
}

func waitFor(ctx context.Context, m *capsa.VM) (string, error) {
	exit, err := m.Wait(ctx)
	if err != nil {
		return "", err
	}
	return exitOf(exit), nil
}

func eventsOf(m *capsa.VM) (string, error) {
	seen := map[string]bool{}
	for {
		e, err := m.NextEvent(context.Background())
		if errors.Is(err, capsa.KindClosed) {
			break
		}
		if err != nil {
			return "", err
		}
		seen[events[e.Type]] = true
	}
	var names []string
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " "), nil
}

// churn makes machines and drops them, one after the other.
func (i *interpreter) churn(a arguments) error {
	for range a.number("count") {
		m, err := i.builder.Build()
		if err != nil {
			return err
		}
		if _, ok := a["started"]; ok {
			err = m.Start(context.Background())
		}
		if err := errors.Join(err, m.Close()); err != nil {
			return err
		}
	}
	return nil
}

// many runs machines of one description at once.
func (i *interpreter) many(a arguments) (string, error) {
	ctx, cancel := a.patience()
	defer cancel()
	ends, errs := make([]string, a.number("count")), make([]error, a.number("count"))
	var group sync.WaitGroup
	for n := range ends {
		group.Go(func() {
			m, err := i.builder.Build()
			if err != nil {
				errs[n] = err
				return
			}
			defer func() { _ = m.Close() }()
			if errs[n] = m.Start(ctx); errs[n] == nil {
				ends[n], errs[n] = waitFor(ctx, m)
			}
		})
	}
	group.Wait()
	return strings.Join(ends, " "), errors.Join(errs...)
}

func main() {
	i := newInterpreter()
	defer i.clear()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		a := arguments{}
		for _, pair := range words[1:] {
			key, value, _ := strings.Cut(pair, "=")
			a[key], _ = url.PathUnescape(value)
		}
		value, err := i.step(words[0], a)
		var e *capsa.Error
		switch {
		case errors.Is(err, errUnknown):
			fmt.Println("unknown", words[0])
		case errors.As(err, &e):
			hint := "nohint"
			if e.Hint != "" {
				hint = "hint"
			}
			fmt.Println("error", "CAPSA_E_"+classes[e.Kind], hint, url.PathEscape(e.Error()))
		case err != nil:
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		default:
			fmt.Println("ok", url.PathEscape(value))
		}
	}
}

var errUnknown = errors.New("not a word of this interpreter")

// readAll reads a console to its end.
func readAll(r *capsa.Reader) (string, error) {
	var all []byte
	piece := make([]byte, 65536)
	for {
		n, err := r.Read(context.Background(), piece)
		all = append(all, piece[:n]...)
		if errors.Is(err, io.EOF) {
			return string(all), nil
		}
		if err != nil {
			return "", err
		}
	}
}
