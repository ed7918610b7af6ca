package plan

import "github.com/libcapsa/libcapsa/internal/vm"

// What it takes where this backend cannot do something on any Mac.
const (
	needsKVM     = "the kvm backend, on Linux"
	needsRaw     = `a raw image with format "raw": qemu-img convert -O raw makes one`
	needsCopy    = "a copy of the image: cp -c makes one that shares its blocks"
	needsSilicon = "a Mac with Apple silicon"
)

// offers is the table of what can be done on this Mac: "" is yes. What it says is what
// Capabilities tell and what Make refuses.
func (m Mac) offers() vm.Offers {
	return vm.Offers{
		vm.FeatureBootLinux:   "",
		vm.FeatureBootEFI:     m.from(13, 0, false),
		vm.FeatureConsole:     "",
		vm.FeatureEntropy:     "",
		vm.FeaturePause:       "",
		vm.FeaturePowerButton: "",
		vm.FeatureDisk:        "",
		vm.FeatureShare:       m.from(12, 0, false),
		vm.FeatureBalloon:     "",
		vm.FeatureVsock:       "",
		vm.FeatureNetwork:     "",
		vm.FeatureNetworkNAT:  "",
		vm.FeatureSave:        m.from(14, 0, true),
		vm.FeatureRosetta:     m.rosetta(),

		// The framework has no way to do it.
		vm.FeatureConsoleResize:    needsKVM + "; in the guest, stty sets the size",
		vm.FeatureEarlyConsole:     needsKVM + "; there is no output before the guest's virtio console driver is up",
		vm.FeatureRebootEnds:       needsKVM + "; a guest that reboots starts again",
		vm.FeatureExitStats:        needsKVM,
		vm.FeatureBalloonReporting: needsKVM + "; memory that the guest has touched goes back when it is asked for",
		vm.FeatureDiskQcow2:        needsRaw,
		vm.FeatureDiskOverlay:      needsCopy,
		vm.FeatureDiskTemporary:    needsCopy,
		vm.FeatureDiskDevice:       "an image file",
		vm.FeatureDiskLimit:        needsKVM,
		vm.FeatureDiskQueues:       needsKVM + "; the framework chooses",
		vm.FeatureShareOwner:       needsKVM + "; to each user of the guest all files are their own",
		vm.FeatureShareCache:       needsKVM + "; the framework chooses",
		vm.FeatureShareOptions:     needsKVM,
		vm.FeatureShareLimits:      needsKVM,
		vm.FeatureVsockSeqPacket:   needsKVM + "; sockets of this backend are streams",
		vm.FeatureNetworkFD:        needsKVM,
		vm.FeatureNetworkLimit:     needsKVM,
		vm.FeatureNetworkCapture:   needsKVM,
		// Frames above 1500 bytes stall the device.
		vm.FeatureNetworkMTU: needsKVM + "; here packets have at most 1500 bytes",
		vm.FeatureInProcess:  `isolation "process": only a signed program may run machines`,
	}
}

// from is what a feature takes that came with a version, and on Apple silicon only, if
// silicon.
func (m Mac) from(major, minor int, silicon bool) string {
	old := !m.Version.AtLeast(major, minor)
	intel := silicon && m.Arch != "arm64"
	version := Version{major, minor}.String() + " or later"
	switch {
	case old && intel:
		return version + ", on " + needsSilicon
	case old:
		return version
	case intel:
		return needsSilicon
	}
	return ""
}

// rosetta is what Rosetta takes. It is never installed silently.
func (m Mac) rosetta() string {
	if need := m.from(13, 0, true); need != "" {
		return need
	}
	switch m.Rosetta {
	case RosettaInstalled:
		return ""
	case RosettaNotInstalled:
		return "Rosetta to be installed: softwareupdate --install-rosetta"
	}
	return "a system that has Rosetta for Linux"
}
