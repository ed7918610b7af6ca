package framework

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		domain string
		code   int
		text   string
		kind   vm.Kind
		want   string
	}{
		"entitlement": {domainVZ, vzInvalidConfig, "Invalid virtual machine configuration. The process doesn’t have the “com.apple.security.virtualization” entitlement.",
			vm.KindPermission, "make sign"},
		"configuration": {domainVZ, vzInvalidConfig, "Invalid", vm.KindInvalidArg, "Invalid"},
		"internal":      {domainVZ, vzInternal, "Internal Virtualization error.", vm.KindUnavailable, "kernel"},
		"too many":      {domainVZ, vzTooMany, "The number of virtual machines exceeds the limit.", vm.KindLimit, "too many"},
		"not supported": {domainVZ, vzNotSupported, "no", vm.KindUnsupported, "no"},
		"posix":         {domainPOSIX, int(syscall.ECONNREFUSED), "", vm.KindIO, "connection refused"},
		"unknown":       {domainVZ, 10007, "new", vm.KindInternal, "new (VZErrorDomain 10007)"},
		"foreign":       {"NSCocoaErrorDomain", 4, "no file", vm.KindInternal, "no file (NSCocoaErrorDomain 4)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := translate(c.domain, c.code, c.text)
			require.Equal(t, c.kind, vm.KindOf(err))
			require.ErrorContains(t, err, c.want)
		})
	}
	require.ErrorIs(t, translate(domainPOSIX, int(syscall.ECONNRESET), ""), syscall.ECONNRESET)
	for code := vzInternal; code <= vzRestore; code++ {
		require.Contains(t, kinds, code)
	}
}
