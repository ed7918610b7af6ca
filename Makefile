# libcapsa: build, check and test. `make help` lists the targets.
#
# Two commands do everything on a fresh Debian 12 machine:
#   make demo    installs what is missing, builds, boots a guest that greets you
#   make test    installs what is missing, builds, runs every check and test

BUILD  ?= build
PREFIX ?= /usr/local
GO     ?= go

VERSION := 0.1.0

.PHONY: all build help setup check unit race test demo bench clean

all: build

include internal/agent/agent.mk
include libcapsa/abi.mk
include libcapsa/macos.mk
include cmd/capsa/capsa.mk
include bindings/python/python.mk
include guest/guest.mk
include tests/e2e/e2e.mk
include tests/bench/bench.mk
include tests/faults/faults.mk
include tests/posix/posix.mk
include bindings/node/node.mk
include tests/polyglot/polyglot.mk
include scripts/dist/dist.mk
include docs/docs.mk

build: setup $(BUILD)/libcapsa.so $(BUILD)/capsa-vzd $(BUILD)/capsa ## libcapsa.so, capsa-vzd, capsa, header and pkg-config file in build/

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort -u | sed 's/:.*## /\t/' | expand -t 14

setup: ## installs the Debian packages that building and testing need
	scripts/setup.sh

check: setup ## format, vet, lint, cross-build, import rules, exported symbols, clean tree
	scripts/check.sh

unit: setup ## unit tests of the Go packages; bare guests on /dev/kvm
	$(GO) test -timeout 15m ./...

race: setup ## the same with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./internal/... ./capsa/...

demo: build guest ## boots a guest that greets you, on the host's KVM or in the lab
	BUILD=$(BUILD) scripts/demo.sh

test: check unit posix abi python-test node-test faults e2e e2e-isolated cli-test abi-linux polyglot docs docs-test dist-check ## everything; CI runs this

clean: ## removes build/
	rm -rf $(BUILD)
