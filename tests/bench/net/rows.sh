# rows.sh: prints samples as report/ reads them. Sourced; $bin has the peers that were built, $tmp/samples-PEER-TEST a sample a
# line.
version() {
	case $1 in
	passt) passt --version | head -n 1 | sed "s/unknown version/$(dpkg-query -W -f '${Version}' passt 2>/dev/null)/" ;;
	slirp) slirp4netns --version | head -n 1 | sed 's/ version//' ;;
	gvproxy) "$bin/gvproxy" -version | sed 's/.*version/gvisor-tap-vsock/' ;;
	esac
}
# goal TEST PEER: the least ratio that is wanted, at the usual MTU.
goal() {
	case $1/$2 in
	up-1500/passt | down-1500/passt) echo 0.7 ;;
	up-1500/slirp | down-1500/slirp) echo 2 ;;
	up-1500/gvproxy | down-1500/gvproxy) echo 5 ;;
	crr?-1500/passt) echo 0.6 ;;
	udpup-1500/gvproxy | udpdown-1500/gvproxy) echo 1 ;;
	*) echo 0 ;;
	esac
}
what() {
	case $1 in
	up) echo '"TCP to the host$","unit":"bit/s","more":true' ;;
	down) echo '"TCP from the host$","unit":"bit/s","more":true' ;;
	rr) echo '"TCP round trip$, median","unit":"ns"' ;;
	rr99) echo '"TCP round trip$, 99th percentile","unit":"ns"' ;;
	udprr) echo '"UDP round trip$, median","unit":"ns"' ;;
	crr1) echo '"connections$, one at a time","unit":"1/s","more":true' ;;
	crr8) echo '"connections$, eight at a time","unit":"1/s","more":true' ;;
	udpup) echo '"UDP to the host, 64 bytes$","unit":"1/s","more":true' ;;
	udpdown) echo '"UDP from the host, 1400 bytes$","unit":"1/s","more":true' ;;
	flows) echo '"round trips of 1,000 connections$","unit":"1/s","more":true' ;;
	esac
}
list() { [ ! -e "$1" ] || paste -sd, "$1"; }
# row TEST OURS PEER THEIRS [TEST]: our samples of a test against a peer's, of the same or of another test; OURS and THEIRS
# are said beside the names.
row() {
	echo "{\"name\":$(what "${1%-*}" | sed "s/\\$/$2/"),\"peer_name\":\"$(version "$3")$4\",\"goal\":$(goal "$1" "$3$4")" \
		",\"ours\":[$(list "$tmp/samples-ours-$1")],\"peer\":[$(list "$tmp/samples-$3-${5:-$1}")]}"
}
