#!/usr/bin/env bash
# Compiles everything that is not bound to a platform for every platform, tests included. Without cgo, so that no C
# compiler for the target is needed; what cannot be compiled that way is skipped by its own build constraints.
set -euo pipefail
cd "$(dirname "$0")/.."

# These have no platform: to lose one of them on some platform is an error, where ./... would skip it silently.
neutral=(
    ./capsa ./internal/backend ./internal/console ./internal/guestmem ./internal/safe
    ./internal/virtio/console ./internal/virtio/mmio ./internal/virtio/rng ./internal/virtio/virtq
    ./internal/net/gateway ./internal/vm ./internal/vmtest ./internal/vz ./internal/vz/plan ./internal/vzd/client ./internal/vzd/daemon
)
status=0
for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do
    export CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/}
    if go build "${neutral[@]}" && go vet ./...; then
        echo "crossbuild: $target"
    else
        echo "crossbuild: $target failed" >&2
        status=1
    fi
done
exit $status
