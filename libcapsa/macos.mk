# macOS: the library and the daemon, built and signed on a Mac with Xcode's command line tools. Included by the top
# Makefile, which sets BUILD, PREFIX, GO and VERSION. docs/macos.md has the rest.

# The oldest macOS with what every machine needs; build with the newest SDK there is.
MAC_MIN     := 13.0
MAC_CGO     := CGO_ENABLED=1 MACOSX_DEPLOYMENT_TARGET=$(MAC_MIN) CGO_CFLAGS="-O2 -mmacosx-version-min=$(MAC_MIN)" \
	CGO_LDFLAGS="-mmacosx-version-min=$(MAC_MIN)"
MAC_LIBRARY := $(BUILD)/macos/libcapsa.0.dylib
MAC_DAEMON  := $(BUILD)/macos/capsa-vzd
ENTITLEMENTS := cmd/capsa-vzd/capsa-vzd.entitlements

.PHONY: macos sign verify-signature notarize install-macos confirm-macos

macos: $(MAC_LIBRARY) $(MAC_DAEMON) sign verify-signature ## on a Mac: libcapsa.dylib and capsa-vzd in build/macos, signed

# Exported is what libcapsa/capsa.map says: what begins with capsa_.
$(MAC_LIBRARY): FORCE $(AGENT)
	@mkdir -p $(@D)
	$(MAC_CGO) $(GO) build -buildmode=c-shared -trimpath \
		-ldflags="-extldflags '-Wl,-install_name,@rpath/libcapsa.0.dylib -Wl,-exported_symbol,_capsa_*'" -o $@ ./libcapsa
	ln -sf libcapsa.0.dylib $(BUILD)/macos/libcapsa.dylib

$(MAC_DAEMON): FORCE
	@mkdir -p $(@D)
	$(MAC_CGO) $(GO) build -trimpath -ldflags='-s -w' -o $@ ./cmd/capsa-vzd

sign: ## signs build/macos; SIGN_ID="Developer ID Application: ..." for releases, ad hoc without
	SIGN_ID="$(SIGN_ID)" scripts/mac/sign.sh $(MAC_LIBRARY)
	SIGN_ID="$(SIGN_ID)" scripts/mac/sign.sh --entitlements $(ENTITLEMENTS) $(MAC_DAEMON)

verify-signature: ## makes sure that capsa-vzd is signed with its one entitlement
	scripts/mac/verify.sh $(MAC_DAEMON)

notarize: verify-signature ## has Apple notarize build/macos; NOTARY_PROFILE names the credentials
	scripts/mac/notarize.sh $(BUILD)/macos/libcapsa-$(VERSION).zip $(MAC_LIBRARY) $(MAC_DAEMON) include/capsa.h

install-macos: verify-signature ## installs library, capsa-vzd and header below DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	install -m 755 $(MAC_LIBRARY) $(MAC_DAEMON) $(DESTDIR)$(PREFIX)/lib/ # the daemon is looked for beside the library
	ln -sf libcapsa.0.dylib $(DESTDIR)$(PREFIX)/lib/libcapsa.dylib
	install -m 644 include/capsa.h $(DESTDIR)$(PREFIX)/include/

confirm-macos: macos ## on a Mac, once: what only a Mac can tell. KERNEL= and INITRD= of a guest with a shell on hvc0
	CAPSA_VZD_PATH=$(CURDIR)/$(MAC_DAEMON) $(GO) run ./tests/darwin/confirm -kernel "$(KERNEL)" -initrd "$(INITRD)"
