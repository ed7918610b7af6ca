#!/bin/sh
# udhcpc.sh - what busybox's udhcpc calls when it has a lease: sets what the server said.
case $1 in
deconfig) ip -4 addr flush dev "$interface" && ip link set "$interface" up ;;
renew | bound)
	ip addr add "$ip/$mask" broadcast "${broadcast:-+}" dev "$interface" 2>/dev/null
	[ "$mtu" ] && ip link set "$interface" mtu "$mtu"
	for via in $router; do ip route replace default via "$via" dev "$interface"; done
	{
		[ "$search" ] && echo "search $search"
		for server in $dns; do echo "nameserver $server"; done
	} >/etc/resolv.conf
	[ "$hostname" ] && hostname "$hostname"
	:
	;;
esac
