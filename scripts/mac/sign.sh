#!/bin/sh
# Signs programs for macOS: sign.sh [--entitlements PLIST] FILE...
# SIGN_ID is the identity: "-", the default, is ad hoc, which is enough on the Mac itself and for packages that carry no
# quarantine; releases want "Developer ID Application: NAME (TEAM)", and get the hardened runtime and a time stamp that
# notarization asks for. CODESIGN is the program that signs.
set -eu

identity=${SIGN_ID:--}
codesign=${CODESIGN:-codesign}
entitlements=
if [ "${1:-}" = --entitlements ]; then
	entitlements=$2
	shift 2
fi
[ $# -gt 0 ] || { sed -n '2,5p' "$0" >&2; exit 2; }

for file; do
	new=$file.signing
	cp -p "$file" "$new"
	set -- --force --sign "$identity" --identifier "org.libcapsa.$(basename "$file" | sed 's/\..*//')"
	[ -z "$entitlements" ] || set -- "$@" --entitlements "$entitlements"
	[ "$identity" = - ] || set -- "$@" --options runtime --timestamp
	"$codesign" "$@" "$new" || { rm -f "$new"; exit 1; }
	# A new file: the kernel remembers signatures by it, and kills programs that are overwritten in place.
	mv -f "$new" "$file"
done
