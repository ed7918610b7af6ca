//go:build linux

package main

import (
	"bufio"
	"os"
	"strings"
)

// hostHasKVM says whether the host can run unmodified guests by itself: the
// processor has virtualization extensions and /dev/kvm is usable. A /dev/kvm
// without the extensions is a software one (the module kvm_pvm), which cannot
// boot a stock kernel.
func hostHasKVM() bool {
	if _, err := os.Stat("/sys/module/kvm_pvm"); err == nil {
		return false
	}
	flags := cpuinfo("flags")
	if !contains(flags, "vmx") && !contains(flags, "svm") {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// cpuinfo returns the words of a field of the first processor.
func cpuinfo(field string) []string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(name) == field {
			return strings.Fields(value)
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// tscKHz is the frequency of the time stamp counter in kHz, which the emulated
// processor passes through; "" when the host does not say. A kernel under
// emulation on a busy machine measures it wrongly.
func tscKHz() string {
	mhz := cpuinfo("cpu MHz")
	if len(mhz) != 1 {
		return ""
	}
	whole, frac, ok := strings.Cut(mhz[0], ".")
	if !ok || len(frac) != 3 { // the kernel prints three decimals
		return ""
	}
	return whole + frac
}
