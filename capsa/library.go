package capsa

import (
	"maps"
	"slices"

	"github.com/libcapsa/libcapsa/internal/backend"
)

const (
	// Version is the library's version, by semver.org.
	Version = "0.1.0"
	// ABIVersion is the version of the C ABI: the number in the soname.
	ABIVersion = 0
)

// features are the things that this build of the library knows, besides its
// backends. Whether they work on this host is for Doctor to say.
var features = map[string]bool{
	"balloon":        true,
	"boot-efi":       true,
	"boot-linux":     true,
	"console":        true,
	"console-expect": true,
	"console-resize": true,
	"console-run":    true,
	"disk":           true,
	"events":         true,
	"isolation":      true,
	"metrics":        true,
	"network":        true,
	"pause":          true,
	"pool":           true,
	"power-button":   true,
	"rosetta":        true,
	"save":           true,
	"share":          true,
	"stop-in-stages": true,
	"timeout":        true,
	"vsock":          true,
}

// Has says whether this build knows a feature: the name of a backend ("kvm"), or
// one of "balloon", "boot-efi", "boot-linux", "console", "console-expect", "console-resize",
// "console-run", "disk", "events", "isolation", "metrics", "network", "pause", "pool", "power-button",
// "rosetta", "save", "share", "stop-in-stages", "timeout", "vsock". Whether it works on this host is for Doctor to say.
func Has(feature string) bool {
	if features[feature] {
		return true
	}
	_, err := backend.ByName(feature)
	return err == nil
}

// Report says what works on this host, what does not, and how to fix it. It is
// meant to be encoded as JSON.
type Report struct {
	Version    string   `json:"version"`
	ABIVersion int      `json:"abi_version"`
	Features   []string `json:"features"` // for which Has is true, but the backends
	backend.Report
}

// BackendReport is what Doctor says about one backend.
type BackendReport = backend.BackendReport

// Doctor examines the host: whether each backend works here, what it can do, and if
// not, why and what to do about it. It changes nothing.
func Doctor() Report {
	return Report{
		Version:    Version,
		ABIVersion: ABIVersion,
		Features:   slices.Sorted(maps.Keys(features)),
		Report:     backend.Doctor(),
	}
}
