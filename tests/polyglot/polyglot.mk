# One suite of scenarios through every language (tests/polyglot/README.md).
POLYGLOT_PREFIX := $(BUILD)/polyglot/prefix

.PHONY: polyglot polyglot-build
polyglot-build: node $(NODE_DIR)/guest.elf # interpreters over an installed tree
	rm -rf $(POLYGLOT_PREFIX)
	$(MAKE) -s install DESTDIR= PREFIX=$(abspath $(POLYGLOT_PREFIX))
	BUILD=$(BUILD) tests/polyglot/build.sh $(POLYGLOT_PREFIX)

polyglot: polyglot-build ## the same scenarios in C, C++, Rust, Go, Python, asyncio and JavaScript, with bare guests; leaks
	BUILD=$(BUILD) tests/polyglot/plant.sh
	BUILD=$(BUILD) tests/polyglot/polyglot.sh tests/polyglot/bare.toml tests/polyglot/leaks.toml
