#!/bin/sh
# Has Apple notarize what is to be downloaded: notarize.sh ARCHIVE.zip FILE...
# Makes the archive of the files, which are signed with a Developer ID, sends it in and waits for the answer.
# NOTARY_PROFILE is what xcrun notarytool store-credentials has stored. Programs by themselves cannot be stapled: a Mac
# that has never seen them asks Apple when they first run; a pkg or dmg around them can be (xcrun stapler staple).
set -eu

[ $# -ge 2 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
: "${NOTARY_PROFILE:?set it to the name of a profile of xcrun notarytool store-credentials}"
archive=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/libcapsa"
cp -p "$@" "$dir/libcapsa/"
ditto -c -k --keepParent "$dir/libcapsa" "$archive"
xcrun notarytool submit "$archive" --keychain-profile "$NOTARY_PROFILE" --wait
