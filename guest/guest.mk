# Guest kernels and initial file systems, in $(GUEST).
GUEST := $(BUILD)/guest

.PHONY: guest
guest: setup ## guest kernels and images in build/guest
	guest/images.sh $(GUEST)
