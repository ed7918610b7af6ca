package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxConfigJSON is the largest JSON form that is read, in bytes.
const MaxConfigJSON = 1 << 20

// The JSON form of a Config, the one schema of bindings, command line tool and
// daemon:
//
//	{
//	  "name": "web",
//	  "boot": {
//	    "kernel": "/boot/vmlinuz",
//	    "initrd": "/boot/initrd.img",
//	    "args": ["quiet", "root=/dev/vda"],     // or
//	    "cmdline": "console=hvc0 root=/dev/vda", // the whole of it
//	    "efi": {"variables": "/images/web.efi"} // in place of all these
//	  },
//	  "cpus": 2,
//	  "memory_mib": 512,
//	  "console": {"ring_size": 1048576, "cols": 80, "rows": 24},
//	  "disks": [{"path": "/images/debian.qcow2", "root": true}], // see diskJSON
//	  "shares": [{"tag": "src", "path": "/home/me/src", "read_only": true}], // see shareJSON
//	  "balloon": {"enabled": true, "reporting": true, "deflate_on_oom": true}, // see balloonJSON
//	  "vsock": {"ports": [{"port": 1024, "mode": "listen", "path": "/run/web.sock"}]}, // see vsockJSON
//	  "network": {"mode": "user", "forwards": [{"protocol": "tcp", "host": "127.0.0.1:8080", "guest_port": 80}]}, // see networkJSON
//	  "rosetta": "rosetta",
//	  "restore": "/images/web.state",
//	  "guest": {"agent": "initrd", "root": {"kind": "disk", "source": "root"}}, // see guestjson.go
//	  "timeout_ms": 60000,
//	  "backend": "kvm",
//	  "isolation": "process", // or "none"
//	  "jail": "partial" // or "off"
//	}
//
// Memory is in MiB, the ring in bytes, the timeout in milliseconds. It is strict:
// a key that is unknown, spelled in another case or given twice is an error, as
// is anything after the object. A key that is left out or null keeps the value
// that the receiver has, so that decoding over DefaultConfig fills in defaults.
type configJSON struct {
	Name      *string      `json:"name,omitempty"`
	Boot      *bootJSON    `json:"boot,omitempty"`
	CPUs      *int         `json:"cpus,omitempty"`
	MemoryMiB *uint64      `json:"memory_mib,omitempty"`
	Console   *consoleJSON `json:"console,omitempty"`
	Disks     []diskJSON   `json:"disks,omitempty"`
	Shares    []shareJSON  `json:"shares,omitempty"`
	Balloon   *balloonJSON `json:"balloon,omitempty"`
	Vsock     *vsockJSON   `json:"vsock,omitempty"`
	Network   *networkJSON `json:"network,omitempty"`
	Rosetta   *string      `json:"rosetta,omitempty"`
	Restore   *string      `json:"restore,omitempty"`
	Guest     *GuestConfig `json:"guest,omitempty"`
	TimeoutMs *int64       `json:"timeout_ms,omitempty"`
	Backend   *string      `json:"backend,omitempty"`
	Isolation *Isolation   `json:"isolation,omitempty"`
	Jail      *Jail        `json:"jail,omitempty"`
}

type bootJSON struct {
	Kernel  *string  `json:"kernel,omitempty"`
	Initrd  *string  `json:"initrd,omitempty"`
	Args    []string `json:"args,omitempty"`
	Cmdline *string  `json:"cmdline,omitempty"`
	EFI     *efiJSON `json:"efi,omitempty"`
}

type efiJSON struct {
	Variables *string `json:"variables,omitempty"`
}

type consoleJSON struct {
	RingSize *int    `json:"ring_size,omitempty"`
	Cols     *uint16 `json:"cols,omitempty"`
	Rows     *uint16 `json:"rows,omitempty"`
}

// MarshalJSON gives the JSON form. It fails with an *Error of KindConfig for what
// JSON cannot say: memory that is not whole MiB, text and paths that are not
// UTF-8. A timeout is rounded up to whole milliseconds.
func (c Config) MarshalJSON() ([]byte, error) {
	var p Problems
	if c.Memory%MiB != 0 {
		p.Memory(c.Memory)
	}
	mib := c.Memory / MiB
	ms := int64(c.Timeout / time.Millisecond)
	if c.Timeout%time.Millisecond > 0 {
		ms++
	}
	text := func(field, s string) *string {
		p.utf8(field, s)
		if s == "" {
			return nil
		}
		return &s
	}
	boot := &bootJSON{
		Kernel: text("boot.kernel", c.Boot.Kernel),
		Initrd: text("boot.initrd", c.Boot.Initrd),
		Args:   c.Boot.Args,
	}
	for i, arg := range c.Boot.Args {
		text(fmt.Sprintf("boot.args[%d]", i), arg)
	}
	if c.Boot.Cmdline != nil {
		text("boot.cmdline", *c.Boot.Cmdline)
		boot.Cmdline = c.Boot.Cmdline
	}
	if v := text("boot.efi.variables", c.EFI.Variables); v != nil {
		boot.EFI = &efiJSON{Variables: v}
	}
	out := configJSON{
		Name: text("name", c.Name), Boot: boot, CPUs: &c.CPUs, MemoryMiB: &mib,
		Backend: text("backend", c.Backend),
		Console: &consoleJSON{RingSize: &c.Console.RingSize, Cols: &c.Console.Cols, Rows: &c.Console.Rows},
		Disks:   encodeDisks(c.Disks, &p),
		Shares:  encodeShares(c.Shares, &p),
		Balloon: encodeBalloon(c.Balloon),
		Vsock:   encodeVsock(c.Vsock, &p),
		Network: encodeNetwork(c.Network, &p),
		Rosetta: text("rosetta", c.Rosetta),
		Restore: text("restore", c.Restore),
		Guest:   encodeGuest(c.Guest, &p),
	}
	if ms != 0 {
		out.TimeoutMs = &ms
	}
	if s := text("isolation", string(c.Isolation)); s != nil {
		out.Isolation = &c.Isolation
	}
	if s := text("jail", string(c.Jail)); s != nil {
		out.Jail = &c.Jail
	}
	if err := p.Err(KindConfig, "encode configuration"); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the JSON form, strictly. It checks the form only; whether
// the values make sense is for Validate. The error is an *Error of KindConfig
// with every unknown or repeated key, and c is then unchanged.
func (c *Config) UnmarshalJSON(data []byte) error {
	const op = "decode configuration"
	if len(data) > MaxConfigJSON {
		return Errorf(KindConfig, op, "%d bytes of JSON; at most %d are read", len(data), MaxConfigJSON)
	}
	if !utf8.Valid(data) {
		return Errorf(KindConfig, op, "the JSON is not UTF-8")
	}
	var p Problems
	if err := checkKeys(data, &p); err != nil {
		return Errorf(KindConfig, op, "%w", err)
	}
	if err := p.Err(KindConfig, op); err != nil {
		return err
	}
	var in configJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return decodeError(op, err)
	}
	next := c.Clone()
	if err := in.apply(&next); err != nil {
		return err
	}
	*c = next
	return nil
}

// decodeError names the field of a value of the wrong type.
func decodeError(op string, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return Errorf(KindConfig, op, "%w", err)
	}
	var p Problems
	p.add(wrong.Field, "", "is a %s; wanted is a %s in its range", wrong.Value, wrong.Type)
	return p.Err(KindConfig, op)
}

// apply puts what is given into c.
func (in *configJSON) apply(c *Config) error {
	give(&c.Name, in.Name)
	if b := in.Boot; b != nil {
		give(&c.Boot.Kernel, b.Kernel)
		give(&c.Boot.Initrd, b.Initrd)
		if b.Args != nil {
			c.Boot.Args = b.Args
		}
		if b.Cmdline != nil {
			c.Boot.Cmdline = b.Cmdline
		}
		if b.EFI != nil {
			give(&c.EFI.Variables, b.EFI.Variables)
		}
	}
	give(&c.CPUs, in.CPUs)
	give(&c.Rosetta, in.Rosetta)
	give(&c.Restore, in.Restore)
	give(&c.Backend, in.Backend)
	give(&c.Isolation, in.Isolation)
	give(&c.Jail, in.Jail)
	if t := in.Console; t != nil {
		give(&c.Console.RingSize, t.RingSize)
		give(&c.Console.Cols, t.Cols)
		give(&c.Console.Rows, t.Rows)
	}
	if in.Disks != nil {
		c.Disks = nil
		for _, d := range in.Disks {
			c.Disks = append(c.Disks, d.disk())
		}
	}
	if in.Shares != nil {
		c.Shares = nil
		for _, s := range in.Shares {
			c.Shares = append(c.Shares, Share(s))
		}
	}
	in.Balloon.apply(&c.Balloon)
	in.Vsock.apply(&c.Vsock)
	var p Problems
	in.Network.apply(&c.Network, &p)
	give(&c.Guest, in.Guest)
	if m := in.MemoryMiB; m != nil {
		if *m > MaxMemory/MiB { // also keeps the product from wrapping
			p.add("memory_mib", "", "%d is too much; at most %d are possible", *m, uint64(MaxMemory)/MiB)
		} else {
			c.Memory = *m * MiB
		}
	}
	if t := in.TimeoutMs; t != nil {
		const most = int64(1<<63-1) / int64(time.Millisecond)
		if *t > most || *t < -most {
			p.add("timeout_ms", "use 0 for no timeout", "%d is out of range", *t)
		} else {
			c.Timeout = time.Duration(*t) * time.Millisecond
		}
	}
	return p.Err(KindConfig, "decode configuration")
}

func give[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// schema maps each object of the JSON form, by its shape, to its keys: a shape is
// a path, and "disks[]" is every object in the list "disks". encoding/json would
// take keys in any case and the last of several.
var schema = map[string][]string{
	"":                   keysOf(reflect.TypeFor[configJSON]()),
	"boot":               keysOf(reflect.TypeFor[bootJSON]()),
	"boot.efi":           keysOf(reflect.TypeFor[efiJSON]()),
	"console":            keysOf(reflect.TypeFor[consoleJSON]()),
	"balloon":            keysOf(reflect.TypeFor[balloonJSON]()),
	"vsock":              keysOf(reflect.TypeFor[vsockJSON]()),
	"vsock.ports[]":      keysOf(reflect.TypeFor[vsockPortJSON]()),
	"network":            keysOf(reflect.TypeFor[networkJSON]()),
	"network.hosts[]":    keysOf(reflect.TypeFor[hostNameJSON]()),
	"network.forwards[]": keysOf(reflect.TypeFor[forwardJSON]()),
	"shares[]":           keysOf(reflect.TypeFor[shareJSON]()),
	"shares[].uids[]":    keysOf(reflect.TypeFor[IDRange]()),
	"shares[].gids[]":    keysOf(reflect.TypeFor[IDRange]()),
	"disks[]":            keysOf(reflect.TypeFor[diskJSON]()),
	"disks[].limit":      keysOf(reflect.TypeFor[diskLimitJSON]()),
	"guest":              keysOf(reflect.TypeFor[GuestConfig]()),
	"guest.root":         keysOf(reflect.TypeFor[RootConfig]()),
	"guest.mounts[]":     keysOf(reflect.TypeFor[Mount]()),
	"guest.network":      keysOf(reflect.TypeFor[GuestNetwork]()),
	"guest.main":         keysOf(reflect.TypeFor[ProgramConfig]()),
	"network.cable":      keysOf(reflect.TypeFor[cableJSON]()),
	"network.capture":    keysOf(reflect.TypeFor[captureJSON]()),
	"network.limits":     keysOf(reflect.TypeFor[limitsJSON]()),

	"network.limits.from_guest": keysOf(reflect.TypeFor[rateJSON]()),
	"network.limits.to_guest":   keysOf(reflect.TypeFor[rateJSON]()),
}

func keysOf(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	return keys
}
