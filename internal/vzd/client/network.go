package client

import (
	"context"
	"encoding/json"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// AddForward implements vm.Networked.
func (m *machine) AddForward(f vm.Forward) (vm.Forward, error) {
	var open wire.Forward
	_, err := m.send(context.Background(), wire.MethodAddForward, wire.EncodeForward(f), &open)
	if err != nil {
		return vm.Forward{}, err
	}
	return open.Decode(), nil
}

// RemoveForward implements vm.Networked.
func (m *machine) RemoveForward(id uint32) error {
	return m.ask(wire.MethodRemoveForward, wire.RemoveForward{ID: id})
}

// Forwards implements vm.Networked.
func (m *machine) Forwards() ([]vm.Forward, error) {
	var list []wire.Forward
	if _, err := m.send(context.Background(), wire.MethodForwards, nil, &list); err != nil {
		return nil, err
	}
	var out []vm.Forward
	for _, f := range list {
		out = append(out, f.Decode())
	}
	return out, nil
}

// SetPolicy implements vm.Networked.
func (m *machine) SetPolicy(policy json.RawMessage) error {
	return m.ask(wire.MethodSetPolicy, wire.EncodePolicy(policy))
}

// SetLink implements vm.Networked.
func (m *machine) SetLink(up bool) error {
	return m.ask(wire.MethodSetLink, wire.SetLink{Up: up})
}
