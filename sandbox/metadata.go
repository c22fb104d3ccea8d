package sandbox

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// Stripe's limits on metadata ("Metadata").
const (
	maxMetadataKeys  = 50
	maxMetadataKey   = 40
	maxMetadataValue = 500
)

// metadata is a client's own keys and values, in the order of their coming.
// Like every version it is replaced, never written.
type metadata []pair

type pair struct {
	Key   string
	Value string
}

func (m metadata) get(key string) (string, bool) {
	for _, entry := range m {
		if entry.Key == key {
			return entry.Value, true
		}
	}

	return "", false
}

// matches tells whether m has all of want's entries.
func (m metadata) matches(want map[string]string) bool {
	for key, value := range want {
		if have, ok := m.get(key); !ok || have != value {
			return false
		}
	}

	return true
}

func (m metadata) write(w *jsonWriter) {
	w.object("metadata")

	for _, entry := range m {
		w.str(entry.Key, entry.Value)
	}

	w.endObject()
}

// readMetadata merges what the request says into what was there: an empty
// value removes its key, an empty metadata all of them.
func readMetadata(p *params, before metadata) metadata {
	member := p.take("metadata")
	if member == nil {
		return before
	}

	if member.nested == nil {
		if member.value != "" {
			p.refuse(invalid("Invalid object", "metadata", ""))
		}

		return nil
	}

	after := slices.Clone(before)

	for _, entry := range member.nested.fields {
		entry.read = true

		if r := checkMetadata(entry); r != nil {
			p.refuse(r)

			continue
		}

		after = slices.DeleteFunc(after, func(old pair) bool { return entry.value == "" && old.Key == entry.name })
		after = after.set(entry.name, entry.value)
	}

	if len(after) > maxMetadataKeys {
		p.refuse(invalid("You can only have up to "+strconv.Itoa(maxMetadataKeys)+" metadata keys.", "metadata", ""))
	}

	return after
}

func (m metadata) set(key, value string) metadata {
	if value == "" {
		return m
	}

	for i := range m {
		if m[i].Key == key {
			m[i].Value = value

			return m
		}
	}

	return append(m, pair{Key: key, Value: value})
}

func checkMetadata(entry *field) *refusal {
	path := "metadata[" + entry.name + "]"

	switch {
	case entry.nested != nil:
		markRead(entry.nested)

		return invalid("Metadata values must be strings, but for key '"+entry.name+"' you passed in a value of type "+
			"'hash'", path, "")
	case utf8.RuneCountInString(entry.name) > maxMetadataKey:
		return invalid("Metadata keys can be at most "+strconv.Itoa(maxMetadataKey)+" characters long; '"+entry.name+
			"' is longer.", path, "")
	case utf8.RuneCountInString(entry.value) > maxMetadataValue:
		return invalid("Metadata values can have up to "+strconv.Itoa(maxMetadataValue)+" characters, but you passed in "+
			"a value that is "+strconv.Itoa(utf8.RuneCountInString(entry.value))+" characters.", path, "")
	default:
		return nil
	}
}
