package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds the recursion over JSON text: a policy nests MaxDepth matches,
// each an object in a list.
const maxNesting = 2*MaxDepth + 16

// Parse reads the JSON form and validates it.
func Parse(data []byte) (Policy, error) {
	var p Policy
	if err := p.UnmarshalJSON(data); err != nil {
		return Policy{}, err
	}
	return p, p.Validate()
}

// UnmarshalJSON reads the JSON form, strictly: a key that is unknown, spelled in
// another case or given twice is an error, as are null and anything after the
// object. It checks the form only; the values are for Validate. After an error,
// an *Error, p is unchanged.
func (p *Policy) UnmarshalJSON(data []byte) error {
	var found problems
	switch {
	case len(data) > MaxJSON:
		found.add("", "", "%d bytes of JSON; at most %d are read", len(data), MaxJSON)
		return found.err()
	case !utf8.Valid(data):
		found.add("", "", "the JSON is not UTF-8")
		return found.err()
	}
	if err := checkForm(data, &found); err != nil {
		found.add("", "", "%v", err)
	}
	if err := found.err(); err != nil {
		return err
	}
	type plain Policy // without methods: else Unmarshal would come back here
	var next plain
	if err := json.Unmarshal(data, &next); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			found.add(wrong.Field, "", "is a %s; wanted is a %s", wrong.Value, wrong.Type)
		} else {
			found.add("", "", "%v", err)
		}
		return found.err()
	}
	*p = Policy(next)
	return nil
}

// MarshalJSON gives a number or a range.
func (p Ports) MarshalJSON() ([]byte, error) {
	if p.First == p.Last {
		return strconv.AppendInt(nil, int64(p.First), 10), nil
	}
	return json.Marshal(fmt.Sprintf("%d-%d", p.First, p.Last))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Ports) UnmarshalJSON(data []byte) error {
	var n int
	if json.Unmarshal(data, &n) == nil {
		*p = Port(n)
		return nil
	}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return fmt.Errorf("port %s: a number or \"first-last\" is wanted", quoted(string(data)))
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	a, okA := decimal(first)
	b, okB := decimal(last)
	if !okA || !okB {
		return fmt.Errorf("port %s: a number or \"first-last\" is wanted", quoted(text))
	}
	*p = Ports{a, b}
	return nil
}

// decimal reads up to five digits and nothing else: no signs, no spaces.
func decimal(s string) (int, bool) {
	if s == "" || len(s) > len("65535") || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// checkForm finds what encoding/json would let pass. Its error is one of syntax.
func checkForm(data []byte, found *problems) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := checkValue(dec, reflect.TypeFor[Policy](), "", 0, found); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the policy")
	}
	return nil
}

func checkValue(dec *json.Decoder, t reflect.Type, field string, depth int, found *problems) error {
	if depth > maxNesting {
		return fmt.Errorf("the JSON is nested more than %d deep", maxNesting)
	}
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case nil:
		found.add(field, "leave it out", "is null")
	case json.Delim('{'):
		if t == nil || t.Kind() != reflect.Struct || t == reflect.TypeFor[Ports]() {
			return fmt.Errorf("%s: an object is not wanted here", place(field))
		}
		return checkObject(dec, t, field, depth, found)
	case json.Delim('['):
		if t == nil || t.Kind() != reflect.Slice {
			return fmt.Errorf("%s: a list is not wanted here", place(field))
		}
		for i := 0; dec.More(); i++ {
			if err := checkValue(dec, t.Elem(), fmt.Sprintf("%s[%d]", field, i), depth+1, found); err != nil {
				return err
			}
		}
		_, err = dec.Token()
		return err
	default:
		if field == "" {
			return errors.New("a policy is an object")
		}
	}
	return nil
}

func place(field string) string {
	if field == "" {
		return "the policy"
	}
	return field
}

func checkObject(dec *json.Decoder, t reflect.Type, field string, depth int, found *problems) error {
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		name := key
		if field != "" {
			name = field + "." + key
		}
		value, known := fieldType(t, key)
		if !known {
			found.add(quotedField(field, key), "", "is not known")
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		if seen[key] {
			found.add(name, "", "is given twice")
		}
		seen[key] = true
		if err := checkValue(dec, value, name, depth+1, found); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// quotedField keeps odd keys of strangers out of messages.
func quotedField(field, key string) string {
	q := quoted(key)
	if field == "" {
		return q
	}
	return field + "." + q
}

// fieldType finds the field of a struct, or of what it embeds, with that very key.
func fieldType(t reflect.Type, key string) (reflect.Type, bool) {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag != "" && tag == key {
			return f.Type, true
		}
	}
	return nil, false
}
