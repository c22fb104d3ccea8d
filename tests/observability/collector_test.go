package observability

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP receiver over HTTP
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
type collector struct {
	mu    sync.Mutex
	spans []*otlp.Span
	// raw is every byte that came, unzipped.
	raw bytes.Buffer
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := readZipped(r)
	request := &coltrace.ExportTraceServiceRequest{}

	if err == nil {
		err = proto.Unmarshal(body, request)
	}

	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)

		return
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	c.raw.Write(body)

	for _, of := range request.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

func readZipped(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}

	unzipped, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}

	return io.ReadAll(unzipped)
}

// find returns the spans that match, in the order in which they began.
func (c *collector) find(match func(*otlp.Span) bool) []*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()

	found := slices.DeleteFunc(slices.Clone(c.spans), func(s *otlp.Span) bool { return !match(s) })
	slices.SortStableFunc(found, func(a, b *otlp.Span) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
	})

	return found
}

func (c *collector) everything() string {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.raw.String()
}

// node is a span with its children, in the order in which they began.
type node struct {
	*otlp.Span

	children []*node
}

// tree waits until the trace is whole, which it is once the span that parent
// called has arrived: it ends last.
func (c *collector) tree(t *testing.T, parent traceparent) *node {
	t.Helper()

	var root *node

	require.Eventually(t, func() bool {
		nodes := map[string]*node{}
		spans := c.find(func(s *otlp.Span) bool { return hex.EncodeToString(s.GetTraceId()) == parent.trace })

		for _, span := range spans {
			nodes[hex.EncodeToString(span.GetSpanId())] = &node{Span: span}
		}

		for _, span := range spans {
			one := nodes[hex.EncodeToString(span.GetSpanId())]
			if above, ok := nodes[hex.EncodeToString(span.GetParentSpanId())]; ok {
				above.children = append(above.children, one)
			} else if hex.EncodeToString(span.GetParentSpanId()) == parent.span {
				root = one
			} else {
				return false // its parent is on its way
			}
		}

		return root != nil
	}, 20*time.Second, 10*time.Millisecond, "no whole trace %s", parent.trace)

	return root
}

// rootOf waits for the trace that a request began by itself.
func (c *collector) rootOf(t *testing.T, a answer) traceparent {
	t.Helper()

	var roots []*otlp.Span

	require.Eventually(t, func() bool {
		roots = c.find(func(s *otlp.Span) bool {
			return len(s.GetParentSpanId()) == 0 &&
				(&node{Span: s}).attributes()["marketflow.request.id"] == a.header.Get("X-Request-Id")
		})

		return len(roots) > 0
	}, 20*time.Second, 10*time.Millisecond, "no trace of request %s", a.header.Get("X-Request-Id"))

	return traceparent{trace: hex.EncodeToString(roots[0].GetTraceId())}
}

// shape is the tree as indented names.
func (n *node) shape() string {
	var text strings.Builder

	n.write(&text, 0)

	return text.String()
}

func (n *node) write(text *strings.Builder, depth int) {
	fmt.Fprintf(text, "%s%s\n", strings.Repeat("  ", depth), n.GetName())

	for _, child := range n.children {
		child.write(text, depth+1)
	}
}

// child is the first span of that name in the tree.
func (n *node) child(t *testing.T, name string) *node {
	t.Helper()

	found := n.search(name)
	require.NotNil(t, found, "no span %q in\n%s", name, n.shape())

	return found
}

func (n *node) search(name string) *node {
	if n.GetName() == name {
		return n
	}

	for _, child := range n.children {
		if found := child.search(name); found != nil {
			return found
		}
	}

	return nil
}

// each calls visit for every span of the tree.
func (n *node) each(visit func(*node)) {
	visit(n)

	for _, child := range n.children {
		child.each(visit)
	}
}

// attributes as text.
func (n *node) attributes() map[string]string {
	all := map[string]string{}
	for _, pair := range n.GetAttributes() {
		all[pair.GetKey()] = textOf(pair.GetValue())
	}

	return all
}

func textOf(value *common.AnyValue) string {
	switch v := value.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	default:
		return value.String()
	}
}
