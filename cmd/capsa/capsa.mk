# The command capsa. Included by the top Makefile, which sets BUILD, PREFIX and GO.

.PHONY: cli install-cli

cli: $(BUILD)/capsa ## the command capsa

$(BUILD)/capsa: FORCE $(AGENT)
	@mkdir -p $(@D)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o $@ ./cmd/capsa

# The guest's kernel goes along when it has been built (make guest).
install-cli: $(BUILD)/capsa
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/capsa \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(BUILD)/capsa $(DESTDIR)$(PREFIX)/bin/
	$(BUILD)/capsa man $(DESTDIR)$(PREFIX)/share/man/man1
	$(BUILD)/capsa completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/capsa
	$(BUILD)/capsa completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_capsa
	$(BUILD)/capsa completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/capsa.fish
	[ ! -f $(BUILD)/guest/vmlinux ] || install -m 644 $(BUILD)/guest/vmlinux $(DESTDIR)$(PREFIX)/share/capsa/

.PHONY: cli-test
cli-test: build guest ## the command capsa with Linux guests (in the lab where the host has no KVM)
	BUILD=$(BUILD) LAB_TIMEOUT=1200 LAB_TRIES=3 tests/lab/lab-run tests/cli/lab.sh
