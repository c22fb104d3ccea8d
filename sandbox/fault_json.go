package sandbox

import (
	"encoding/json"
	"time"
)

// faultJSON is a Fault as the control API spells it: snake case, durations as
// text such as 40ms.
type faultJSON struct {
	Action      Action            `json:"action"`
	Method      string            `json:"method,omitempty"`
	Path        string            `json:"path,omitempty"`
	Key         string            `json:"key,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Event       string            `json:"event,omitempty"`
	Nth         int               `json:"nth,omitempty"`
	Count       int               `json:"count,omitempty"`
	P50         textDuration      `json:"p50,omitzero"`
	P99         textDuration      `json:"p99,omitzero"`
	Delay       textDuration      `json:"delay,omitzero"`
	Copies      int               `json:"copies,omitempty"`
	Window      int               `json:"window,omitempty"`
	Variant     string            `json:"variant,omitempty"`
	Status      int               `json:"status,omitempty"`
	Type        string            `json:"type,omitempty"`
	Code        string            `json:"code,omitempty"`
	Message     string            `json:"message,omitempty"`
	ShouldRetry string            `json:"should_retry,omitempty"`
}

// textDuration is a duration that JSON spells as time.ParseDuration reads it.
type textDuration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d textDuration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *textDuration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = textDuration(parsed)

	return err //nolint:wrapcheck // ParseDuration's error names the text
}

func (f faultJSON) fault() Fault {
	return Fault{
		Action: f.Action, Method: f.Method, Path: f.Path, Key: f.Key, Metadata: f.Metadata, Event: f.Event,
		Nth: f.Nth, Count: f.Count, P50: time.Duration(f.P50), P99: time.Duration(f.P99), Delay: time.Duration(f.Delay),
		Copies: f.Copies, Window: f.Window, Variant: f.Variant, Status: f.Status, Type: f.Type, Code: f.Code,
		Message: f.Message, ShouldRetry: f.ShouldRetry,
	}
}

func toFaultJSON(f Fault) faultJSON {
	return faultJSON{
		Action: f.Action, Method: f.Method, Path: f.Path, Key: f.Key, Metadata: f.Metadata, Event: f.Event,
		Nth: f.Nth, Count: f.Count, P50: textDuration(f.P50), P99: textDuration(f.P99), Delay: textDuration(f.Delay),
		Copies: f.Copies, Window: f.Window, Variant: f.Variant, Status: f.Status, Type: f.Type, Code: f.Code,
		Message: f.Message, ShouldRetry: f.ShouldRetry,
	}
}

// MarshalJSON implements json.Marshaler.
func (s FaultStatus) MarshalJSON() ([]byte, error) {
	//nolint:wrapcheck // every field can be marshalled
	return json.Marshal(struct {
		faultJSON

		ID      string `json:"id"`
		Matched int    `json:"matched"`
		Fired   int    `json:"fired"`
		Held    int    `json:"held"`
	}{toFaultJSON(s.Fault), s.ID, s.Matched, s.Fired, s.Held})
}
