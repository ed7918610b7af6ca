//go:build !linux

package cli

import (
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

func runAgent() {}

func fakeBackend() vm.Backend { return vmtest.NewFake() }
