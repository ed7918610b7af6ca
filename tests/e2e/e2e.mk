# End-to-end tests through the C header, with Linux guests on real KVM.
include tests/lab/lab.mk

.PHONY: e2e
e2e: build guest rootfs lab ## guests boot, talk, end and misbehave through libcapsa.so (in the lab where the host has no KVM)
	BUILD=$(BUILD) tests/e2e/run.sh $(E2E)
