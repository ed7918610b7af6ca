#!/bin/sh
# net.sh BIN ROUNDS MS [TEST...]: the network in user space against its peers. Prints samples. BIN has the programs that
# run.sh builds. Namespaces of its own: h is the host, with servers at 10.99.0.1; g-PEER-MTU are guests, each the same kernel
# behind a tap. The rounds go from peer to peer, so that a busy machine disturbs all alike.
set -eu
if [ -z "${NETBENCH_INSIDE:-}" ]; then
	user=
	[ "$(id -u)" = 0 ] || user=-Ur
	NETBENCH_INSIDE=1 exec setsid -w unshare $user --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
# Before whatever else the machine does, as far as we may.
{ echo -20 >/proc/self/autogroup; } 2>/dev/null || true
bin=$1 rounds=$2 ms=$3
shift 3
[ $# -gt 0 ] || set -- up-1500 down-1500 up-65520 down-65520 rr-1500 rr99-1500 udprr-1500 crr1-1500 crr8-1500 udpup-1500 udpdown-1500 flows-1500
tests=$*
server=10.99.0.1 port=7000

mount -t tmpfs tmpfs /run
tmp=/run/netbench
mkdir -p /run/netns $tmp
chmod 1777 $tmp
# Of a namespace. BBR, which hosts may have, makes passt's uploads thirty times slower; Reno is allowed everywhere. The ends
# of the measured connections choose CUBIC themselves.
tune() {
	$1 sysctl -qw net.ipv4.tcp_congestion_control=reno net.ipv4.ip_local_port_range='10000 65535' net.ipv4.tcp_max_tw_buckets=1024
	$1 ip link set lo up
}
tune ''
sysctl -qw net.ipv4.ping_group_range='0 2147483647'
ip link add v0 type veth peer name v1
ip addr add $server/24 dev v0
ip link set v0 up
ip link set v1 up
ip route add default via 10.99.0.2
"$bin/traffic" serve $port &

# guest NAME MTU ADDRESS GATEWAY [wait]: a namespace with its tap, that the peer makes itself if it is to be waited for.
guest() {
	ip netns exec "$1" sh -c "
		for i in \$(seq 100); do [ -e /proc/sys/net/ipv4/conf/tap0 ] && break; sleep 0.1; done
		ip link set tap0 address 02:00:5e:10:00:01; ip addr replace $3/24 dev tap0; ip link set tap0 mtu $2 up
		ip route replace default via $4"
}

# start PEER MTU: a peer with its guest.
start() {
	ns=g-$1-$2
	ip netns add "$ns"
	tune "ip netns exec $ns"
	case $1 in
	ours)
		"$bin/ours" -ns /run/netns/"$ns" -mtu "$2" &
		guest "$ns" "$2" 10.0.2.15 10.0.2.2
		;;
	passt)
		passt -f -s $tmp/"$ns" -a 10.0.2.15 -n 24 -g 10.0.2.2 -m "$2" -4 -q >$tmp/"$ns".log 2>&1 &
		relayed "$2" 10.0.2.15 10.0.2.2
		;;
	gvproxy)
		"$bin/gvproxy" -listen-qemu unix://$tmp/"$ns" -mtu "$2" -ssh-port -1 >$tmp/"$ns".log 2>&1 &
		relayed "$2" 192.168.127.2 192.168.127.1
		;;
	slirp)
		slirp4netns --configure --mtu="$2" --netns-type=path /run/netns/"$ns" tap0 >$tmp/"$ns".log 2>&1 &
		guest "$ns" "$2" 10.0.2.100 10.0.2.2
		;;
	esac
}

# relayed MTU ADDRESS GATEWAY: a guest whose peer listens on a socket.
relayed() {
	for i in $(seq 100); do
		[ -S $tmp/"$ns" ] && break
		sleep 0.1
	done
	ip netns exec "$ns" "$bin/relay" tap0 $tmp/"$ns" &
	guest "$ns" "$@"
}

peers=
for p in passt slirp4netns "$bin/gvproxy"; do
	if command -v "$p" >/dev/null; then
		peers="$peers $(basename "${p%4netns}")"
	else
		echo "net: no $p here: without it" >&2
	fi
done
for mtu in 1500 65520; do
	for p in ours $peers; do start "$p" $mtu; done
done
sleep 1

for round in $(seq "$rounds"); do
	for t in $tests; do
		for p in ours $peers; do
			if v=$(ip netns exec "g-$p-${t#*-}" "$bin/traffic" "${t%-*}" $server $port "$ms"); then
				echo "$v" >>"$tmp/samples-$p-$t"
			else
				echo "net: $t of $p: none in round $round" >&2
			fi
		done
	done
done

. "$(dirname "$0")/rows.sh"
for t in $tests; do
	mtu=
	[ "${t#*-}" = 1500 ] || mtu=", MTU ${t#*-}"
	for p in $peers; do row "$t" "$mtu" "$p" ""; done
done
# Theirs with the longest packets there are, ours with the usual ones.
for t in $tests; do
	case " $tests " in *" ${t%-*}-65520 "*) [ "${t#*-}" = 65520 ] || for p in $peers; do row "$t" "" "$p" " at MTU 65520" "${t%-*}-65520"; done ;; esac
done
