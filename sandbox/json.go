package sandbox

import (
	"strconv"
	"unicode/utf8"
)

// jsonWriter appends JSON the way Stripe prints it: two spaces of indentation,
// a line for each member. The layout matters. A receiver that verifies a
// webhook's signature over a re-encoded body instead of the received bytes
// passes against a compact body and fails in production, so it must fail here.
//
// It is written by hand because encoding/json would be most of the cost of a
// create.
type jsonWriter struct {
	buf   []byte
	depth int
	// first is true while the innermost object or array has no member.
	first bool
	// compact leaves out all layout, for formats of one object a line.
	compact bool
}

// document is anything that has a JSON form in Stripe's API. Its value never
// changes once it can be reached by two goroutines.
type document interface {
	writeJSON(w *jsonWriter)
}

// render returns the document's JSON text at depth 0.
func render(d document) []byte {
	w := jsonWriter{buf: make([]byte, 0, renderedSize)}
	d.writeJSON(&w)

	return w.buf
}

// renderedSize is the usual size of a rendered object, so that most are
// written without growing the buffer.
const renderedSize = 2048

const (
	hexDigits   = "0123456789abcdef"
	indentation = "\n                                        "
	indentWidth = 2
)

func (w *jsonWriter) newline() {
	if w.compact {
		return
	}

	w.buf = append(w.buf, indentation[:min(w.depth*indentWidth+1, len(indentation))]...)
}

func (w *jsonWriter) open(bracket byte) {
	w.buf = append(w.buf, bracket)
	w.depth++
	w.first = true
}

func (w *jsonWriter) close(bracket byte) {
	w.depth--
	if !w.first {
		w.newline()
	}

	w.buf = append(w.buf, bracket)
	w.first = false
}

func (w *jsonWriter) beginObject() { w.open('{') }
func (w *jsonWriter) endObject()   { w.close('}') }
func (w *jsonWriter) beginArray()  { w.open('[') }
func (w *jsonWriter) endArray()    { w.close(']') }

// element starts an array's next member.
func (w *jsonWriter) element() {
	if !w.first {
		w.buf = append(w.buf, ',')
	}

	w.newline()
	w.first = false
}

// key starts an object's next member. Names are constants or metadata keys, so
// they are escaped like any other text.
func (w *jsonWriter) key(name string) {
	w.element()
	w.text(name)
	w.buf = append(w.buf, ':')

	if !w.compact {
		w.buf = append(w.buf, ' ')
	}
}

func (w *jsonWriter) object(name string) {
	w.key(name)
	w.beginObject()
}

func (w *jsonWriter) array(name string) {
	w.key(name)
	w.beginArray()
}

func (w *jsonWriter) null(name string) {
	w.key(name)
	w.buf = append(w.buf, "null"...)
}

func (w *jsonWriter) str(name, value string) {
	w.key(name)
	w.text(value)
}

// strOrNull writes an empty string as null: no field of Stripe's that this
// package returns tells the two apart.
func (w *jsonWriter) strOrNull(name, value string) {
	if value == "" {
		w.null(name)

		return
	}

	w.str(name, value)
}

func (w *jsonWriter) num(name string, value int64) {
	w.key(name)
	w.buf = strconv.AppendInt(w.buf, value, 10)
}

// numOrNull writes zero as null, for timestamps that have not come yet.
func (w *jsonWriter) numOrNull(name string, value int64) {
	if value == 0 {
		w.null(name)

		return
	}

	w.num(name, value)
}

func (w *jsonWriter) boolean(name string, value bool) {
	w.key(name)
	w.buf = strconv.AppendBool(w.buf, value)
}

func (w *jsonWriter) strings(name string, values []string) {
	w.array(name)

	for _, value := range values {
		w.element()
		w.text(value)
	}

	w.endArray()
}

// doc writes a nested object, or null for none.
func (w *jsonWriter) doc(name string, d document) {
	w.key(name)
	d.writeJSON(w)
}

func (w *jsonWriter) emptyObject(name string) {
	w.object(name)
	w.endObject()
}

// text appends a quoted string (RFC 8259 section 7).
func (w *jsonWriter) text(value string) {
	w.buf = append(w.buf, '"')

	start := 0

	for i := 0; i < len(value); {
		c := value[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(value[i:])
			if r == utf8.RuneError && size == 1 {
				w.buf = append(w.buf, value[start:i]...)
				w.buf = append(w.buf, "\ufffd"...)
				start = i + size
			}

			i += size

			continue
		}

		if c >= ' ' && c != '"' && c != '\\' {
			i++

			continue
		}

		w.buf = append(w.buf, value[start:i]...)
		w.escape(c)

		i++
		start = i
	}

	w.buf = append(w.buf, value[start:]...)
	w.buf = append(w.buf, '"')
}

func (w *jsonWriter) escape(c byte) {
	switch c {
	case '"', '\\':
		w.buf = append(w.buf, '\\', c)
	case '\n':
		w.buf = append(w.buf, '\\', 'n')
	case '\r':
		w.buf = append(w.buf, '\\', 'r')
	case '\t':
		w.buf = append(w.buf, '\\', 't')
	default:
		w.buf = append(w.buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
	}
}

// rawDocument is a document that is kept as text rendered at depth 0.
type rawDocument []byte

// writeJSON copies the text, indented to where the writer stands. A newline
// byte in JSON text is always layout: inside strings it is escaped.
func (d rawDocument) writeJSON(w *jsonWriter) {
	if w.compact {
		w.compactText(d)

		return
	}

	for _, c := range d {
		if c == '\n' {
			w.newline()

			continue
		}

		w.buf = append(w.buf, c)
	}

	w.first = false
}

// compactText copies JSON text without its layout.
func (w *jsonWriter) compactText(text []byte) {
	quoted, escaped := false, false

	for _, c := range text {
		if !quoted && (c == ' ' || c == '\n') {
			continue
		}

		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}

		w.buf = append(w.buf, c)
	}

	w.first = false
}
