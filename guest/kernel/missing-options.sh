#!/bin/sh
# missing-options.sh FRAGMENT CONFIG: lists what a configuration fragment asks
# for and the finished configuration does not have. Kconfig drops options whose
# dependencies are off without a word; this says which.
set -eu
grep -E '^(CONFIG_[A-Z0-9_]+=|# CONFIG_[A-Z0-9_]+ is not set)' "$1" | while read -r line; do
	case $line in
	'# '*)
		option=${line#\# }
		option=${option%% *}
		;;
	*=n) option=${line%=n} ;;
	*)
		grep -qxF "$line" "$2" || echo "not accepted: $line"
		continue
		;;
	esac
	got=$(grep "^$option=" "$2") && echo "not accepted: $line (it is $got)"
done || true
