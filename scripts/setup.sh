#!/bin/sh
# setup.sh: installs the Debian packages that building and testing need, when
# they are missing. Debian 12; as root, or with sudo. Go, and cargo for the Rust
# clients, are expected to be there.
set -eu

build='gcc libc6-dev make pkg-config'
check='clang-format abigail-tools tcpdump stress-ng acpica-tools'
clients='g++ clang libclang-rt-14-dev cmake'
python='python3-venv python3-pytest mypy python3-flake8'
kernel='linux-source-6.1 flex bison bc libelf-dev libssl-dev lz4 xz-utils zstd busybox-static'
lab='qemu-system-x86 qemu-utils'
rootfs='mmdebstrap e2fsprogs'
bench='iproute2 passt slirp4netns'
docs='doxygen'

# Node from elsewhere will do, when it has come with its headers.
node=
if ! command -v node >/dev/null 2>&1; then
	node='nodejs libnode-dev'
elif [ ! -f "$(dirname "$(readlink -f "$(command -v node)")")/../include/node/node_api.h" ]; then
	node=libnode-dev
fi

packages="$build $check $clients $python $kernel $lab $rootfs $bench $docs $node"
missing=
for p in $packages; do
	dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
# Stock kernels are downloaded later, which needs the lists as well.
[ -n "$missing" ] || ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || exit 0
echo "setup: installing$missing"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
[ -n "$missing" ] || exit 0
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
