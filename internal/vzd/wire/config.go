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
}

// EncodeConfig makes the form of a configuration that is valid. Errors: those of
// vm.Config.MarshalJSON, and KindLimit.
func EncodeConfig(cfg vm.Config) (Config, error) {
	c := cfg.Clone()
	c.Timeout = 0
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
	return Config{Config: form, Timeout: cfg.Timeout}, nil
}

// Decode is what was encoded. Whether it makes sense is for vm.Config.Validate.
func (c Config) Decode() (vm.Config, error) {
	var cfg vm.Config // not the defaults: what is left out is zero
	if err := cfg.UnmarshalJSON(c.Config); err != nil {
		return vm.Config{}, err
	}
	cfg.Timeout = c.Timeout
	return cfg, eachString(reflect.ValueOf(&cfg).Elem(), unescape)
}
