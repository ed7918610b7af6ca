package client

import (
	"cmp"
	"context"
	"os"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// Config says which daemon to use.
type Config struct {
	// Name is that of the daemon's backend.
	Name string

	// Path is the daemon's file; "": what Find finds.
	Path string

	// Args are arguments for the daemon, before its own.
	Args []string

	// Capabilities says what the backend can do on this host, when this process can
	// tell; nil: a daemon is started to ask it.
	Capabilities func() (vm.Capabilities, error)

	times times // zero: the constants
}

// times are how long a daemon may take.
type times struct{ hello, kill time.Duration }

// withDefaults replaces what is zero.
func (t times) withDefaults() times {
	return times{hello: cmp.Or(t.hello, helloTime), kill: cmp.Or(t.kill, killTime)}
}

// Backend makes machines in processes of their own. It is safe for concurrent use
// and keeps nothing open.
type Backend struct {
	cfg   Config
	known *known
}

// known is what a daemon has said. It is asked again when its file is another one.
type known struct {
	mu   sync.Mutex
	path string
	file os.FileInfo // nil: nothing is known; guarded by mu
	caps vm.Capabilities
}

// get returns what is known of the daemon at a path, or what ask says.
func (k *known) get(path string, ask func() (vm.Capabilities, error)) (vm.Capabilities, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, err := os.Stat(path)
	if err == nil && k.file != nil && k.path == path && os.SameFile(k.file, now) &&
		k.file.ModTime().Equal(now.ModTime()) && k.file.Size() == now.Size() {
		return k.caps, nil
	}
	caps, failed := ask()
	if failed == nil && err == nil {
		k.path, k.file, k.caps = path, now, caps
	}
	return caps, failed
}

var _ vm.Backend = (*Backend)(nil)

// New makes a backend. It does not touch the host.
func New(cfg Config) *Backend {
	cfg.times = cfg.times.withDefaults()
	return &Backend{cfg: cfg, known: new(known)}
}

// Name implements vm.Backend.
func (b *Backend) Name() string { return b.cfg.Name }

// path is the daemon's file.
func (b *Backend) path() (string, error) {
	if b.cfg.Path != "" {
		return b.cfg.Path, nil
	}
	return Find()
}

// Capabilities implements vm.Backend.
func (b *Backend) Capabilities() (vm.Capabilities, error) {
	path, err := b.path()
	if err != nil {
		return vm.Capabilities{}, err
	}
	if b.cfg.Capabilities != nil {
		return b.cfg.Capabilities()
	}
	return b.known.get(path, func() (vm.Capabilities, error) { return b.askDaemon(path) })
}

// askDaemon starts a daemon to say what it can do.
func (b *Backend) askDaemon(path string) (vm.Capabilities, error) {
	d, err := open(path, b.cfg.Args, "", func() {})
	if err != nil {
		return vm.Capabilities{}, err
	}
	defer d.leave()
	if err := b.greet(d); err != nil {
		return vm.Capabilities{}, err
	}
	var caps vm.Capabilities
	_, err = d.call(context.Background(), wire.MethodCapabilities, nil, nil, &caps)
	return caps, err
}

// greet also makes sure that the daemon has the right backend. When it fails the
// daemon is gone.
func (b *Backend) greet(d *daemon) error {
	welcome, err := d.greet(b.cfg.times.hello)
	if err != nil {
		return err
	}
	if welcome.Backend != b.cfg.Name {
		d.abort()
		return vm.Errorf(vm.KindUnavailable, "start daemon", "its backend is %q, and not %q", welcome.Backend, b.cfg.Name).
			WithComponent(component).WithPath(d.path)
	}
	return nil
}

// New implements vm.Backend.
func (b *Backend) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	capture, file, err := cfg.Network.Capture.Open("capture") // which a confined process cannot
	if err != nil {
		return nil, err
	}
	if file != nil {
		defer file.Close()
	}
	cfg.Network.Capture = capture
	form, err := wire.EncodeConfig(cfg)
	if err != nil {
		return nil, err
	}
	path, err := b.path()
	if err != nil {
		return nil, err
	}
	m, ends, err := newMachine(cfg, host, b.cfg.times.kill)
	if err != nil {
		return nil, err
	}
	if err := m.launch(b, path); err != nil {
		ends.Close()
		m.discard()
		return nil, err
	}
	own, err := copies(form.Descriptors)
	if err != nil {
		ends.Close()
		m.discard()
		return nil, err
	}
	if err := m.create(form, append(ends, own...)); err != nil {
		m.discard()
		return nil, err
	}
	return m, nil
}
