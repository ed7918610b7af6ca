# The KVM lab (tests/lab/README.md).
.PHONY: lab
lab: setup ## the lab keeps its promises: status, output, signals, time
	tests/lab/check.sh
