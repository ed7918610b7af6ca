package framework

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// entitlement is what a program needs to run machines.
const entitlement = "com.apple.security.virtualization"

// Domains of errors, and the codes of VZErrorDomain (VZError.h).
const (
	domainVZ    = "VZErrorDomain"
	domainPOSIX = "NSPOSIXErrorDomain"

	vzInternal      = 1
	vzInvalidConfig = 2
	vzInvalidState  = 3
	vzTransition    = 4
	vzDiskImage     = 5
	vzTooMany       = 6
	vzNetwork       = 7
	vzDiskSpace     = 8
	vzCancelled     = 9
	vzNotSupported  = 10
	vzSave          = 11
	vzRestore       = 12
)

// kinds says what each code means, and what a person can do.
var kinds = map[int]struct {
	kind vm.Kind
	hint string
}{
	vzInternal:      {vm.KindUnavailable, "it says no more; a kernel that does not boot looks like that, and Console.app shows com.apple.Virtualization"},
	vzInvalidConfig: {vm.KindInvalidArg, ""},
	vzInvalidState:  {vm.KindState, ""},
	vzTransition:    {vm.KindState, ""},
	vzDiskImage:     {vm.KindInvalidArg, "images have to be raw"},
	vzTooMany:       {vm.KindLimit, "too many machines run on this Mac"},
	vzNetwork:       {vm.KindUnavailable, ""},
	vzDiskSpace:     {vm.KindIO, "the disk is full"},
	vzCancelled:     {vm.KindCancelled, ""},
	vzNotSupported:  {vm.KindUnsupported, ""},
	vzSave:          {vm.KindIO, ""},
	vzRestore:       {vm.KindIO, "a state is only restored on the Mac that saved it, with the same configuration"},
}

// lacksEntitlement says whether an error is about the entitlement.
func lacksEntitlement(text string) bool { return strings.Contains(text, entitlement) }

// translate makes the typed error of an NSError.
func translate(domain string, code int, text string) error {
	switch {
	case domain == domainPOSIX:
		return syscall.Errno(code)
	case domain == domainVZ && lacksEntitlement(text):
		return vm.Errorf(vm.KindPermission, "", "%s", text).WithComponent(plan.Name).WithHint("run make sign")
	case domain == domainVZ:
		if k, known := kinds[code]; known {
			return vm.Errorf(k.kind, "", "%s", text).WithComponent(plan.Name).WithHint(k.hint)
		}
	}
	return fmt.Errorf("%s (%s %d)", text, domain, code)
}
