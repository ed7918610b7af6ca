package policy

import "strings"

// Limits of names: RFC 1035 section 2.3.4, as text without the last dot.
const (
	maxName  = 253
	maxLabel = 63
)

// Canonical is the one spelling under which names are compared: lower case,
// without a dot at the end. Names are letters, digits, '-' and '_', in labels of 1
// to 63 bytes, 253 bytes in all. It is false for others: for international names
// that are not in punycode, for escapes, and for what resolvers take for an IPv4
// address (the last label is a number).
func Canonical(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxName {
		return "", false
	}
	upper, label := false, 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case 'A' <= c && c <= 'Z':
			upper = true
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return "", false
		}
		if label++; label > maxLabel {
			return "", false
		}
	}
	if label == 0 || isNumber(name[strings.LastIndexByte(name, '.')+1:]) {
		return "", false
	}
	if upper {
		name = strings.ToLower(name) // ASCII alone by now
	}
	return name, true
}

// isNumber: what inet_aton takes, as a last label, for part of an address.
func isNumber(label string) bool {
	if hex, is := strings.CutPrefix(strings.ToLower(label), "0x"); is {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// pattern kinds, a set.
const (
	matchApex = 1 << iota
	matchBelow
)

// nameSet is a set of patterns: what is matched at and below each canonical name.
type nameSet map[string]uint8

// pattern splits a pattern of a rule. The reason, if any, is why it is none.
func pattern(text string) (name string, kind uint8, reason string) {
	kind, rest := uint8(matchApex), text
	switch {
	case strings.HasPrefix(text, "*."):
		kind, rest = matchBelow, text[2:]
	case strings.HasPrefix(text, "."):
		kind, rest = matchApex|matchBelow, text[1:]
	}
	name, ok := Canonical(rest)
	switch {
	case ok:
		return name, kind, ""
	case text == "*":
		return "", 0, `use "any" for every name`
	case strings.Contains(rest, "*"):
		return "", 0, `a star can only be the whole first label: "*.example.com"`
	case strings.ContainsFunc(rest, func(r rune) bool { return r > '~' }):
		return "", 0, `write international names in punycode: "xn--…"`
	}
	return "", 0, `wanted is "example.com", "*.example.com" or ".example.com"`
}

// has says whether a canonical name is in the set. Suffixes are whole labels.
func (s nameSet) has(name string) bool {
	if s[name]&matchApex != 0 {
		return true
	}
	for {
		_, parent, more := strings.Cut(name, ".")
		if !more {
			return false
		}
		if s[parent]&matchBelow != 0 {
			return true
		}
		name = parent
	}
}
