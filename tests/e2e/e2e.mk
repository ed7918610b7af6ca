# End-to-end tests through the C header, with Linux guests on real KVM.
include tests/lab/lab.mk

# What of it runs once more with machines in processes of their own: something of each device and of each end.
ISOLATED := boot.stock_2_cpus_512_mib exit.poweroff exit.panic exit.kill_a_busy_guest exit.stop console.expect* \
	disk.overlays vsock.paths vsock.messages fs.both_ways fs.read_only net.addresses net.rules net.tcp_forward net.bulk

.PHONY: e2e e2e-isolated
e2e: build guest rootfs lab ## guests boot, talk, end and misbehave through libcapsa.so (in the lab where the host has no KVM)
	BUILD=$(BUILD) tests/e2e/run.sh $(E2E)

e2e-isolated: build guest ## some of them again, each machine in a confined process of its own
	BUILD=$(BUILD) E2E_ISOLATION=process tests/e2e/run.sh $(ISOLATED)
