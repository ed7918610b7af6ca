package vm

import (
	"fmt"
	"strings"
)

// Feature names something that a backend may or may not do.
type Feature string

// The features a Config or a call can ask for.
const (
	FeaturePause         Feature = "pause"          // Pause and Resume
	FeaturePowerButton   Feature = "power-button"   // PowerButton
	FeatureConsole       Feature = "console"        // a console with input and output
	FeatureConsoleResize Feature = "console-resize" // ResizeConsole
	FeatureEarlyConsole  Feature = "early-console"  // output before the console driver is up (COM1)
	FeatureEntropy       Feature = "entropy"        // an entropy device
	FeatureBootLinux     Feature = "boot-linux"     // direct boot of a Linux kernel
	FeatureDisk          Feature = "disk"           // disks
	FeatureShare         Feature = "share"          // shared directories
	FeatureBalloon       Feature = "balloon"        // SetMemoryTarget, and free memory goes back to the host
	FeatureVsock         Feature = "vsock"          // sockets between guest and host
	FeatureNetwork       Feature = "network"        // a network in user space: NetworkUser
	FeatureNetworkNAT    Feature = "network-nat"    // the platform's network: NetworkNAT
)

// Needs lists the features without which a machine cannot be what c says.
func (c Config) Needs() []Feature {
	needs := []Feature{FeatureBootLinux}
	if len(c.Disks) > 0 {
		needs = append(needs, FeatureDisk)
	}
	if len(c.Shares) > 0 {
		needs = append(needs, FeatureShare)
	}
	if c.Vsock.Enabled() {
		needs = append(needs, FeatureVsock)
	}
	switch c.Network.Mode {
	case NetworkUser:
		needs = append(needs, FeatureNetwork)
	case NetworkNAT:
		needs = append(needs, FeatureNetworkNAT)
	}
	return needs
}

// Capabilities is what a backend can do on this host. The maps are shared and not to
// be written.
type Capabilities struct {
	MaxCPUs   int               `json:"max_cpus"`   // per machine; 0: not known
	MaxMemory uint64            `json:"max_memory"` // bytes per machine; 0: not known
	Features  map[Feature]bool  `json:"features"`
	Detail    map[string]string `json:"detail,omitempty"` // for a person: API version, extension values

	// Fits finds limits of the backend that are more than a number, such as the
	// interrupt lines that devices share; nil: there are none.
	Fits func(Config) Problems `json:"-"`
}

// Lacks is the error of a machine that needs what the backend cannot do, with
// everything that is missing, or nil.
func (c Capabilities) Lacks(cfg Config, op, backend string) error {
	var missing []string
	for _, f := range cfg.Needs() {
		if !c.Has(f) {
			missing = append(missing, fmt.Sprintf("%q", string(f)))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return Errorf(KindUnsupported, op, "backend %s lacks the capability %s", backend, strings.Join(missing, " and "))
}

// Has says whether the feature is there.
func (c Capabilities) Has(f Feature) bool { return c.Features[f] }
