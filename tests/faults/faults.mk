# Fault injection: every system call of a machine's life fails once, and nothing is lost but that machine.
.PHONY: faults
faults: $(BUILD)/libcapsa.so ## an error at every system call of a machine's life; bare guests on /dev/kvm
	BUILD=$(BUILD) tests/faults/run.sh $(FAULTS)
