#!/bin/sh
# Verifies the signature of capsa-vzd: valid, and with com.apple.security.virtualization as its only entitlement.
# verify.sh FILE; CODESIGN is the program that looks.
set -eu

file=$1
codesign=${CODESIGN:-codesign}
entitlement=com.apple.security.virtualization

"$codesign" --verify --strict "$file" || { echo "verify: $file: the signature is not valid; run make sign" >&2; exit 1; }
keys=$("$codesign" -d --entitlements - --xml "$file" 2>/dev/null | grep -o '<key>[^<]*</key>' | sed 's/<[^>]*>//g' | sort) || keys=
case $keys in
"$entitlement") echo "verify: $file: signed, with $entitlement" ;;
'')
	echo "verify: $file is signed without entitlements: it cannot run machines. Whoever signed it again left out" \
		"--entitlements; run make sign" >&2
	exit 1
	;;
*)
	echo "verify: $file has other entitlements than $entitlement:" $keys >&2
	exit 1
	;;
esac
