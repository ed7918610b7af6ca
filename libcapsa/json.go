package main

import (
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

// exitJSON is the text of capsa_vm_exit_json.
type exitJSON struct {
	Cause     string `json:"cause"` // in words; the number is cause_code
	CauseCode int32  `json:"cause_code"`
	Code      int32  `json:"code"`
	Signal    int32  `json:"signal"`
	UptimeNs  int64  `json:"uptime_ns"`
	PanicText string `json:"panic_text,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Error     string `json:"error,omitempty"`
}

func newExitJSON(e capsa.Exit) exitJSON {
	j := exitJSON{
		Cause: e.Cause.String(), CauseCode: int32(e.Cause), Code: e.Code, Signal: e.Signal,
		UptimeNs: int64(e.Uptime), PanicText: e.PanicText, Detail: e.Detail,
	}
	if e.Err != nil {
		j.Error = e.Err.Error()
	}
	return j
}

// eventJSON is the text of capsa_vm_next_event.
type eventJSON struct {
	Type      string         `json:"type"`
	Time      time.Time      `json:"time"`
	State     string         `json:"state,omitempty"`
	Exit      *exitJSON      `json:"exit,omitempty"`
	Component string         `json:"component,omitempty"`
	Message   string         `json:"message,omitempty"`
	Lost      uint64         `json:"lost,omitempty"`
	Disk      *int           `json:"disk,omitempty"`
	Forward   *capsa.Forward `json:"forward,omitempty"`
}

func newEventJSON(e capsa.Event) eventJSON {
	j := eventJSON{Type: e.Type.String(), Time: e.Time, Component: e.Component, Message: e.Message, Lost: e.Lost, Forward: e.Forward}
	if e.Type == capsa.EventState {
		j.State = e.State.String()
	}
	if e.Type == capsa.EventDiskError {
		j.Disk = &e.Disk
	}
	if e.Exit != nil {
		exit := newExitJSON(*e.Exit)
		j.Exit = &exit
	}
	return j
}
