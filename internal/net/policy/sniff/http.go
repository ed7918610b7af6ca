package sniff

import (
	"bytes"
	"strings"
)

// maxMethod is the longest method that is taken for HTTP. The longest registered
// one has 17 bytes (UPDATEREDIRECTREF).
const maxMethod = 32

// Request looks for the host of an HTTP/1 request (RFC 9112). All of its header is
// looked at: there may be a second Host. What does not look like a request is
// Unnamed; HTTP/2 without TLS (its preface) is too.
func Request(b []byte) Result {
	full := len(b) >= MaxFlight
	res := request(b[:min(len(b), MaxFlight)])
	if res.Status == NeedMore && full {
		return Result{Status: Malformed, Kind: res.Kind}
	}
	return res
}

func request(b []byte) Result {
	// Servers skip empty lines before a request (RFC 9112 section 2.2).
	b = bytes.TrimLeft(b, "\r\n")
	if method := methodSize(b); method < 0 {
		return Result{Status: Unnamed}
	} else if method == len(b) {
		return Result{}
	}
	broken := Result{Status: Malformed, Kind: HTTP}
	line, rest, status := nextLine(b)
	if status != Named {
		return Result{Status: status, Kind: HTTP}
	}
	words := strings.Split(line, " ")
	switch {
	case !strings.Contains(strings.ToUpper(line), " HTTP/"): // another protocol, or HTTP/0.9
		return Result{Status: Unnamed}
	case len(words) != 3 || words[1] == "":
		return broken
	case line == "PRI * HTTP/2.0":
		return Result{Status: Unnamed, Kind: HTTP}
	case words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0":
		return broken
	}
	host, given, status := hostField(rest)
	if status != Named {
		return Result{Status: status, Kind: HTTP}
	}
	target, absolute, ok := authority(words[0], words[1])
	switch {
	case !ok:
		return broken
	case absolute && given && !strings.EqualFold(target, host):
		return broken
	case absolute:
		host = target
	case host == "": // not given, or with nothing in it, as RFC 9112 wants it for targets without
		return Result{Status: Unnamed, Kind: HTTP}
	}
	return hostName(host)
}

// methodSize is the size of the token at the beginning: all of b while it may go
// on, -1 when this is no request.
func methodSize(b []byte) int {
	for i, c := range b {
		switch {
		case i > maxMethod:
			return -1
		case c == ' ' && i > 0:
			return i
		case !isToken(c):
			return -1
		}
	}
	if len(b) > maxMethod {
		return -1
	}
	return len(b)
}

// isToken: tchar of RFC 9110 section 5.6.2.
func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// nextLine splits a line off. It ends with LF, before which there may be one CR;
// other control characters but tabs are in none. Named: there is a line.
func nextLine(b []byte) (string, []byte, Status) {
	for i, c := range b {
		switch {
		case c == '\n':
			line, _ := strings.CutSuffix(string(b[:i]), "\r")
			return line, b[i+1:], Named
		case c == '\r' && (i+1 == len(b) || b[i+1] == '\n'):
		case c < ' ' && c != '\t', c == 0x7F:
			return "", nil, Malformed
		}
	}
	return "", nil, NeedMore
}

// hostField reads the header to its end. Named: it is complete.
func hostField(b []byte) (host string, given bool, status Status) {
	for {
		line, rest, status := nextLine(b)
		if status != Named || line == "" {
			return host, given, status
		}
		b = rest
		key, value, hasColon := strings.Cut(line, ":")
		if !hasColon || key == "" {
			return "", false, Malformed
		}
		for i := 0; i < len(key); i++ {
			if !isToken(key[i]) { // also: folded lines, space before the colon
				return "", false, Malformed
			}
		}
		if !strings.EqualFold(key, "Host") {
			continue
		}
		if given {
			return "", false, Malformed
		}
		host, given = strings.Trim(value, " \t"), true
	}
}

// authority is the host within a request target, if the target has one (RFC 9112
// section 3.2).
func authority(method, target string) (host string, has, ok bool) {
	if method == "CONNECT" {
		return target, true, true
	}
	if target[0] == '/' || target == "*" {
		return "", false, true
	}
	scheme, after, absolute := strings.Cut(target, "://")
	if !absolute || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false, false
	}
	if end := strings.IndexAny(after, "/?#"); end >= 0 {
		after = after[:end]
	}
	return after, true, after != ""
}

// hostName takes the port off a Host.
func hostName(host string) Result {
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || !isPort(host[end+1:]) {
			return Result{Status: Malformed, Kind: HTTP}
		}
		if res := name(HTTP, host[1:end]); res.Status == Unnamed {
			return res
		}
		return Result{Status: Malformed, Kind: HTTP}
	}
	text, port, found := strings.Cut(host, ":")
	if found && !isPort(":"+port) {
		return Result{Status: Malformed, Kind: HTTP}
	}
	return name(HTTP, text)
}

// isPort: nothing, or a colon and digits, of which there may be none.
func isPort(s string) bool {
	digits, colon := strings.CutPrefix(s, ":")
	return s == "" || colon && len(digits) <= len("65535") && strings.Trim(digits, "0123456789") == ""
}
