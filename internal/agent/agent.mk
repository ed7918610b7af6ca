# The guest's agent, which internal/agent/initrd embeds: static, for the library's own architecture.
AGENT_ARCH := $(shell $(GO) env GOARCH)
AGENT      := internal/agent/initrd/bin/agent-$(AGENT_ARCH)

.PHONY: agent FORCE
agent: $(AGENT) ## the program that runs in guests, for the library to embed

# Replaced only by another, so that what embeds it is not built again.
$(AGENT): FORCE
	CGO_ENABLED=0 GOOS=linux GOARCH=$(AGENT_ARCH) $(GO) build -trimpath -buildvcs=false \
		-ldflags='-s -w -X main.version=$(VERSION)' -o $@.new ./guest/cmd/agent
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@
