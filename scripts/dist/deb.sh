#!/usr/bin/env bash
# Makes the Debian package: library, daemon, command, header, pkg-config and CMake files below /usr.
#
# usage: scripts/dist/deb.sh VERSION TREE LICENCES OUT     TREE is what make install DESTDIR=TREE PREFIX=/usr made
set -euo pipefail
version=$1 tree=$2 licences=$3 out=$4

# The oldest glibc with all symbol versions that the library needs.
glibc=$(objdump -T "$tree/usr/lib/libcapsa.so.$version" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)

mkdir -p "$tree/DEBIAN" "$tree/usr/share/doc/libcapsa"
{
    cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: libcapsa
Source: https://github.com/libcapsa/libcapsa

Files: *
Copyright: the libcapsa authors
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0. The licences of what is linked
 in are in THIRD-PARTY-LICENSES.gz beside this file.
END
} >"$tree/usr/share/doc/libcapsa/copyright"
gzip -9nc "$licences" >"$tree/usr/share/doc/libcapsa/THIRD-PARTY-LICENSES.gz"
gzip -9nc CHANGELOG.md >"$tree/usr/share/doc/libcapsa/changelog.gz"

cat >"$tree/DEBIAN/control" <<END
Package: libcapsa
Version: $version
Architecture: amd64
Maintainer: the libcapsa authors <libcapsa@users.noreply.github.com>
Installed-Size: $(find "$tree/usr" -type f -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')
Depends: libc6 (>= $glibc)
Section: libs
Priority: optional
Homepage: https://github.com/libcapsa/libcapsa
Description: run Linux virtual machines inside your program
 A shared library with a C interface that boots Linux on KVM within the
 calling process, or in a confined process of its own: console, disks,
 sockets, shared directories and a network in user space.
 .
 The package has the library, the program capsa-vzd, the command capsa, the
 header, and what pkg-config and CMake need.
END
printf 'activate-noawait ldconfig\n' >"$tree/DEBIAN/triggers"
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
find "$tree" -type d -exec chmod 755 {} +
chmod 644 "$tree"/DEBIAN/*
# dpkg-deb takes SOURCE_DATE_EPOCH for what is newer than that.
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz -b "$tree" "$out/libcapsa_${version}_amd64.deb" >/dev/null
