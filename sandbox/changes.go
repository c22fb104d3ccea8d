package sandbox

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// changes is an event's previous_attributes: what the fields that differ
// between two versions were before, of nested hashes only what differs in
// them. It is nil where nothing differs.
func changes(before, after document) rawDocument {
	previous := difference(decoded(before), decoded(after))
	if len(previous) == 0 {
		return nil
	}

	var text bytes.Buffer

	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")

	if err := encoder.Encode(previous); err != nil {
		return nil // it was decoded from JSON a moment ago
	}

	return rawDocument(bytes.TrimSuffix(text.Bytes(), []byte{'\n'}))
}

func decoded(d document) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(compact(d)))
	decoder.UseNumber()

	var fields map[string]any

	if err := decoder.Decode(&fields); err != nil {
		return nil // the writer writes valid JSON; its tests see to that
	}

	return fields
}

func difference(before, after map[string]any) map[string]any {
	previous := map[string]any{}

	for name, was := range before {
		is := after[name]
		if reflect.DeepEqual(was, is) {
			continue
		}

		wasHash, both := was.(map[string]any)
		isHash, hash := is.(map[string]any)

		if both && hash {
			previous[name] = difference(wasHash, isHash)
		} else {
			previous[name] = was
		}
	}

	for name := range after {
		if _, had := before[name]; !had {
			previous[name] = nil
		}
	}

	return previous
}
