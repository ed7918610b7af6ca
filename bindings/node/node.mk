# The Node package. Included by the top Makefile, which sets BUILD. Needs node; npm only to have its types checked.

NODE_DIR     := $(BUILD)/node
NODE_TARBALL := $(NODE_DIR)/capsa-$(VERSION).tgz
NODE_SOURCES := $(wildcard bindings/node/*.* bindings/node/src/* bindings/node/lib/*)

.PHONY: node node-test

node: $(NODE_TARBALL) ## the Node package, build/node/capsa-VERSION.tgz

$(NODE_TARBALL): $(NODE_SOURCES) include/capsa.h $(BUILD)/libcapsa.so $(BUILD)/capsa-vzd
	BUILD=$(BUILD) bindings/node/build.sh

$(NODE_DIR)/guest.elf: $(wildcard tests/abi/guest/*)
	tests/abi/guest/build.sh $@

$(NODE_DIR)/pair.node: bindings/node/test/native/pair.c bindings/node/build.sh
	BUILD=$(BUILD) bindings/node/build.sh --addon $< $@

# What checks the declarations for TypeScript comes from npm's registry; without it that test is skipped.
$(NODE_DIR)/tools/package-lock.json: $(wildcard bindings/node/tools/*)
	@mkdir -p $(@D)
	cp bindings/node/tools/package.json $(@D)/
	cp bindings/node/tools/package-lock.json $(@D)/
	-npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent

node-test: node $(NODE_DIR)/guest.elf $(NODE_DIR)/pair.node $(NODE_DIR)/tools/package-lock.json ## tests of the Node package, with bare guests on /dev/kvm
	BUILD=$(BUILD) bindings/node/test.sh
