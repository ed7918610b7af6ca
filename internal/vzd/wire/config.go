package wire

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Config is a machine's configuration: its JSON form, with text that is not UTF-8
// escaped, and with the timeout in full.
type Config struct {
	Config  json.RawMessage `json:"config"`
	Timeout time.Duration   `json:"timeout_ns,omitempty"`
	// Descriptors are those of vm.Config.Descriptors, by the client's numbers. Those
	// that are not 0 come with the request, behind the ends of the streams.
	Descriptors []int `json:"descriptors,omitempty"`
}

// EncodeConfig makes the form of a configuration that is valid. Errors: those of
// vm.Config.MarshalJSON, and KindLimit.
func EncodeConfig(cfg vm.Config) (Config, error) {
	c := cfg.Clone()
	c.Timeout = 0
	out := Config{Timeout: cfg.Timeout}
	own := c.Descriptors()
	for i, fd := range own {
		if *fd != 0 && out.Descriptors == nil {
			out.Descriptors = make([]int, len(own))
		}
		if *fd != 0 {
			out.Descriptors[i], *fd = *fd, 0
		}
	}
	escaped := func(s string) (string, error) { return escape(s), nil }
	if err := eachString(reflect.ValueOf(&c).Elem(), escaped); err != nil {
		return Config{}, err
	}
	form, err := c.MarshalJSON()
	if err != nil {
		return Config{}, err
	}
	if len(form) > vm.MaxConfigJSON {
		return Config{}, vm.Errorf(vm.KindLimit, "create", "the configuration takes %d bytes; at most %d can be passed on",
			len(form), vm.MaxConfigJSON)
	}
	out.Config = form
	return out, nil
}

// Decode is what was encoded. Whether it makes sense is for vm.Config.Validate.
func (c Config) Decode() (vm.Config, error) {
	var cfg vm.Config // not the defaults: what is left out is zero
	if err := cfg.UnmarshalJSON(c.Config); err != nil {
		return vm.Config{}, err
	}
	cfg.Timeout = c.Timeout
	for i, fd := range cfg.Descriptors() {
		if i < len(c.Descriptors) {
			*fd = max(c.Descriptors[i], 0)
		}
	}
	return cfg, eachString(reflect.ValueOf(&cfg).Elem(), unescape)
}

// Adopt puts the descriptors that have come in place of the numbers they had. They stay
// their owner's.
func Adopt(cfg *vm.Config, files Files) error {
	for _, fd := range cfg.Descriptors() {
		if *fd == 0 {
			continue
		}
		if len(files) == 0 {
			return violation("a descriptor of the configuration is missing")
		}
		*fd, files = files[0], files[1:]
	}
	if len(files) > 0 {
		return violation("%d descriptors too many", len(files))
	}
	return nil
}
