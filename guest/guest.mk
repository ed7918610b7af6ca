# Guest kernels and initial file systems, in $(GUEST).
GUEST := $(BUILD)/guest

.PHONY: guest rootfs
guest: setup ## guest kernels and images in build/guest
	guest/images.sh $(GUEST)

rootfs: setup ## a Debian root file system with systemd, as links in build/guest
	guest/rootfs/build.sh --into $(GUEST)
