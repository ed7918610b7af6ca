package vm

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
)

// Capabilities is what a backend can do on this host.
type Capabilities struct {
	MaxCPUs   int               `json:"max_cpus"`   // per machine; 0: not known
	MaxMemory uint64            `json:"max_memory"` // bytes per machine; 0: not known
	Features  map[Feature]bool  `json:"features"`
	Detail    map[string]string `json:"detail,omitempty"` // for a person: API version, extension values
}

// Has says whether the feature is there.
func (c Capabilities) Has(f Feature) bool { return c.Features[f] }
