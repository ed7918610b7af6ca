#!/bin/sh
# stock.sh FLAVOUR: finds Debian 12's own kernel (FLAVOUR amd64 or cloud-amd64)
# and prints a directory that holds
#
#   vmlinuz   the unmodified kernel       modules   the tree with its modules
#
# An installed linux-image package is used in place; else the package is
# downloaded and unpacked, never installed, so that the machine's boot loader
# stays as it is. The directory lies in ${XDG_CACHE_HOME:-~/.cache}/capsa/kernel,
# named by the package's version.
set -eu
flavour=${1:?usage: stock.sh amd64|cloud-amd64}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/capsa/kernel
mkdir -p "$cache"
exec 9>"$cache/stock-lock"
flock 9

# The real package behind linux-image-FLAVOUR: linux-image-6.1.0-NN-FLAVOUR.
newest() { sed -n "s/^\(linux-image-6\.1\.0-[0-9]*-$flavour\)\$/\1/p" | sort -V | tail -n 1; }

# fill DIR ROOT RELEASE: DIR gets links into an installed or unpacked package.
fill() {
	tmp=$(mktemp -d "$cache/.stock-XXXXXX")
	ln -s "$2/boot/vmlinuz-$3" "$tmp/vmlinuz"
	ln -s "$2/lib/modules/$3/kernel" "$tmp/modules"
	rm -rf "$1"
	mv -T "$tmp" "$1"
}

package=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'linux-image-6.1.0-*' 2>/dev/null | sed -n 's/^installed //p' | newest)
if [ -n "$package" ]; then
	version=$(dpkg-query -W -f '${Version}' "$package")
	dir=$cache/stock-$flavour-$version
	release=${package#linux-image-}
	[ -e "$dir/vmlinuz" ] && [ -e "$dir/modules" ] || fill "$dir" '' "$release"
	echo "$dir"
	exit 0
fi

package=$(apt-cache depends "linux-image-$flavour" 2>/dev/null | sed -n 's/^ *Depends: //p' | newest)
[ -n "$package" ] || {
	echo "stock.sh: apt knows no linux-image-$flavour; run apt-get update (Debian 12)" >&2
	exit 1
}
version=$(apt-cache show --no-all-versions "$package" | sed -n 's/^Version: //p' | head -n 1)
dir=$cache/stock-$flavour-$version
release=${package#linux-image-}
if ! { [ -e "$dir/vmlinuz" ] && [ -e "$dir/modules" ]; }; then
	echo "downloading $package $version (unpacked, not installed)" >&2
	tmp=$(mktemp -d "$cache/.deb-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM HUP
	# apt drops to an unprivileged user, which must be able to write there.
	chmod 755 "$tmp"
	(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$package=$version" >&2)
	dpkg-deb --extract "$tmp"/*.deb "$tmp/root"
	rm -rf "$dir.root"
	mv -T "$tmp/root" "$dir.root"
	fill "$dir" "$dir.root" "$release"
fi
echo "$dir"
