package wire

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"
)

// rawPrefix stands before the base64 form of text that JSON cannot carry: paths
// and what a guest prints are bytes. It begins with a zero byte, which no path has.
const rawPrefix = "\x00base64:"

// escape makes text that JSON can carry.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, rawPrefix) {
		return s
	}
	return rawPrefix + base64.StdEncoding.EncodeToString([]byte(s))
}

// unescape undoes escape.
func unescape(s string) (string, error) {
	rest, raw := strings.CutPrefix(s, rawPrefix)
	if !raw {
		return s, nil
	}
	b, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return "", violation("text: %w", err)
	}
	return string(b), nil
}

// text is a string of any bytes.
type text string

func (t text) MarshalJSON() ([]byte, error) { return json.Marshal(escape(string(t))) }

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	s, err := unescape(s)
	*t = text(s)
	return err
}

// eachString replaces every string inside of v, which must be settable.
func eachString(v reflect.Value, replace func(string) (string, error)) error {
	switch v.Kind() {
	case reflect.String:
		s, err := replace(v.String())
		v.SetString(s)
		return err
	case reflect.Pointer:
		if !v.IsNil() {
			return eachString(v.Elem(), replace)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := eachString(v.Index(i), replace); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Field(i).CanSet() { // of addresses, which are no text of ours
				continue
			}
			if err := eachString(v.Field(i), replace); err != nil {
				return err
			}
		}
	}
	return nil
}
