package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// checkKeys walks the tokens: one object, known keys, each once, nothing after.
func checkKeys(data []byte, p *Problems) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	tok, err := dec.Token()
	if err != nil {
		return unexpectedEnd(err)
	}
	if tok != json.Delim('{') {
		return errors.New("the configuration is not a JSON object")
	}
	if err := checkObject(dec, "", "", p); err != nil {
		return unexpectedEnd(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is something after the JSON object")
	}
	return nil
}

// unexpectedEnd says in words that the text ends too early.
func unexpectedEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the JSON is incomplete")
	}
	return err
}

// checkObject checks the object of a shape at field, whose brace was read. It
// recurses only along the schema, so its depth is the schema's.
func checkObject(dec *json.Decoder, shape, field string, p *Problems) error {
	var seen []string
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string)
		inner := strings.TrimPrefix(field+"."+key, ".")
		if !slices.Contains(schema[shape], key) {
			p.add(inner, "known are: "+strings.Join(schema[shape], ", "), "unknown key")
			if err := skipValue(dec); err != nil {
				return err
			}
			continue
		}
		if slices.Contains(seen, key) {
			p.add(inner, "", "given twice")
		}
		seen = append(seen, key)
		if err := checkValue(dec, strings.TrimPrefix(shape+"."+key, "."), inner, p); err != nil {
			return err
		}
	}
	_, err := dec.Token() // the closing brace
	return err
}

func skipValue(dec *json.Decoder) error {
	var skip json.RawMessage
	return dec.Decode(&skip)
}

// checkValue checks a value: an object of the schema, a list of such, or anything.
func checkValue(dec *json.Decoder, shape, field string, p *Problems) error {
	_, isObject := schema[shape]
	_, isList := schema[shape+"[]"]
	if !isObject && !isList {
		return skipValue(dec)
	}
	tok, err := dec.Token()
	switch {
	case err != nil:
		return err
	case tok == json.Delim('{') && isObject:
		return checkObject(dec, shape, field, p)
	case tok == json.Delim('[') && isList:
		for i := 0; dec.More(); i++ {
			if err := checkValue(dec, shape+"[]", fmt.Sprintf("%s[%d]", field, i), p); err != nil {
				return err
			}
		}
		_, err := dec.Token() // the closing bracket
		return err
	case tok == json.Delim('['):
		return fmt.Errorf("%s is not an object", field)
	case tok == json.Delim('{'):
		return fmt.Errorf("%s is not a list", field)
	default: // null is fine; another scalar is found by the decoding proper
		return nil
	}
}
