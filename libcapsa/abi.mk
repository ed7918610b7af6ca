# The shared library and its ABI. Included by the top Makefile, which sets BUILD, PREFIX, GO and VERSION.

CAPSA_SONAME   := libcapsa.so.0
CAPSA_REAL     := libcapsa.so.$(VERSION)
CAPSA_OBJ      := $(BUILD)/obj/libcapsa.so
CAPSA_INCLUDES := include/capsa.h
CAPSA_CMAKE    := $(BUILD)/capsa-config.cmake $(BUILD)/capsa-config-version.cmake

# The version script and the soname are not among the flags that cgo lets source files set.
CAPSA_EXTLDFLAGS := -Wl,-soname,$(CAPSA_SONAME) -Wl,--version-script=$(CURDIR)/libcapsa/capsa.map \
	-Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro
# Go's build ID depends on where the version script is. A release has none: then the linker makes one of the contents, and
# go build links each time, since it cannot tell whether it has to.
ifdef CAPSA_RELEASE
CAPSA_EXTLDFLAGS += -Wl,--build-id=sha1
CAPSA_LDFLAGS := -buildid= -B none
endif

.PHONY: FORCE install check-abi record-abi abi abi-linux

FORCE:

# With debugging information: abidw reads the C types from it. Whether anything is to be done is go build's business.
$(CAPSA_OBJ): FORCE $(AGENT)
	@mkdir -p $(@D)
	CGO_ENABLED=1 $(GO) build -buildmode=c-shared -trimpath -ldflags="$(CAPSA_LDFLAGS) -extldflags '$(CAPSA_EXTLDFLAGS)'" -o $@ ./libcapsa

$(BUILD)/$(CAPSA_REAL): $(CAPSA_OBJ)
	strip --strip-unneeded -o $@.new $< && mv $@.new $@ # whole: programs may have the old one mapped

$(BUILD)/$(CAPSA_SONAME): $(BUILD)/$(CAPSA_REAL)
	ln -sf $(CAPSA_REAL) $@

$(BUILD)/libcapsa.so: $(BUILD)/$(CAPSA_SONAME) $(BUILD)/capsa.pc
	ln -sf $(CAPSA_SONAME) $@

$(BUILD)/capsa.pc: libcapsa/capsa.pc.in $(MAKEFILE_LIST)
	@mkdir -p $(@D)
	sed 's/@VERSION@/$(VERSION)/' $< > $@

$(BUILD)/capsa-config%cmake: libcapsa/capsa-config%cmake.in $(MAKEFILE_LIST)
	@mkdir -p $(@D)
	sed 's/@VERSION@/$(VERSION)/' $< > $@

# The program that runs a machine in a process of its own: no C, so that it starts fast and runs everywhere.
$(BUILD)/capsa-vzd: FORCE
	@mkdir -p $(@D)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o $@ ./cmd/capsa-vzd

install: $(BUILD)/libcapsa.so $(BUILD)/capsa-vzd $(CAPSA_CMAKE) install-cli ## installs library, capsa-vzd, capsa, header, capsa.pc and CMake's files below DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/lib/cmake/capsa $(DESTDIR)$(PREFIX)/include
	install -m 755 $(BUILD)/$(CAPSA_REAL) $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(BUILD)/capsa-vzd $(DESTDIR)$(PREFIX)/lib/ # where the library looks first
	ln -sf $(CAPSA_REAL) $(DESTDIR)$(PREFIX)/lib/$(CAPSA_SONAME)
	ln -sf $(CAPSA_SONAME) $(DESTDIR)$(PREFIX)/lib/libcapsa.so
	install -m 644 $(CAPSA_INCLUDES) $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(BUILD)/capsa.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/
	install -m 644 $(CAPSA_CMAKE) $(DESTDIR)$(PREFIX)/lib/cmake/capsa/

check-abi: $(BUILD)/libcapsa.so ## exported symbols and ABI against the recorded ones
	libcapsa/check-abi.sh $(BUILD)

record-abi: $(BUILD)/libcapsa.so ## records symbols and ABI after an intended addition
	libcapsa/check-abi.sh --record $(BUILD)

abi: $(BUILD)/libcapsa.so check-abi ## clients of the library in C, C++ and Rust
	BUILD=$(BUILD) tests/abi/run.sh

abi-linux: abi node guest polyglot-build docs-test ## examples and scenarios in every language boot Linux, in the lab where the host's KVM cannot
	LAB_TIMEOUT=$${LAB_TIMEOUT:-1800} BUILD=$(BUILD) LAB_TRIES=3 tests/lab/lab-run tests/abi/linux.sh
