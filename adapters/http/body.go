package http

import (
	"container/list"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
)

// Bounds on a body, in bytes. The largest metadata that we accept take half of
// the first; Stripe's events are some kilobytes.
const (
	maxCreateBody = 256 << 10
	// maxChangeBody is for the operations on a payment, whose bodies are small.
	maxChangeBody = 16 << 10
	maxEventBody  = 1 << 20
	// usualBody is the most memory that is set aside before a body has arrived: the
	// Content-Length is only a claim.
	usualBody = 8 << 10
	// maxBodies is the most memory that the bodies of all requests take at once.
	maxBodies = 32 << 20
)

const (
	// bodyTime is how long a body may take to arrive.
	bodyTime = 5 * time.Second
	// lingerTime is how long an unread body may still arrive after its request was
	// answered.
	lingerTime = 500 * time.Millisecond
)

var errGaveWay = errors.New("the body had to give way to others")

// readBody reads a body of at most so many bytes. Its memory counts until the
// request is answered.
func readBody(w http.ResponseWriter, r *http.Request, most int) ([]byte, error) {
	if r.ContentLength > int64(most) {
		return nil, tooLarge(most)
	}

	// Only a test's writer knows no deadlines.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))

	ex := exchangeOf(r.Context())
	ex.body = ex.bodies.begin(func() { _ = control.SetReadDeadline(time.Now()) })

	first := usualBody
	if r.ContentLength >= 0 {
		first = int(min(r.ContentLength+1, usualBody))
	}

	content, err := ex.body.read(r.Body, first, most)

	switch {
	case err == nil:
		// net/http goes on reading, to notice that the client disconnects.
		_ = control.SetReadDeadline(time.Time{})
		ex.unread = nil

		return content, nil
	case errors.Is(err, errGaveWay):
		return nil, fault.Wrap(fault.Unavailable, err, "Too many bodies are arriving at once; nothing was done.").After(time.Second)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fault.Wrap(bodyTooSlow, err, "The body did not arrive within "+bodyTime.String()+"; nothing was done.")
	case fault.KindOf(err) == bodyTooLarge:
		return nil, err
	default:
		return nil, fault.Wrap(fault.Invalid, err, "The body could not be read to its end.")
	}
}

func tooLarge(most int) error { return fault.Newf(bodyTooLarge, "The body is over %d bytes.", most) }

// bodies shares out the memory for request bodies. When it is used up, one body is
// given up: among the large ones, or else among all, the one of which nothing has
// arrived for the longest time. An honest body arrives within milliseconds, so this
// hits a sender who holds one back, and an ordinary event hardly ever.
type bodies struct {
	mu   sync.Mutex
	free int
	// The bodies that are still arriving, the one that has waited longest first.
	usual, large *list.List // of *arrival
}

func newBodies(most int) *bodies { return &bodies{free: most, usual: list.New(), large: list.New()} }

// arrival is one body and the memory that it takes. A nil one takes none.
type arrival struct {
	bodies *bodies
	stop   func()

	// Under the lock of bodies. place is in one of the lists, and nil once the body
	// has arrived or was given up.
	place *list.Element
	takes int
}

// begin starts the reading of a body. stop, from any goroutine, ends a read that
// waits.
func (b *bodies) begin(stop func()) *arrival {
	b.mu.Lock()
	defer b.mu.Unlock()

	a := &arrival{bodies: b, stop: stop}
	a.place = b.usual.PushBack(a)

	return a
}

// read reads to the end. It takes memory for first bytes; more as they arrive.
func (a *arrival) read(from io.Reader, first, most int) ([]byte, error) {
	var content []byte

	for {
		if len(content) == cap(content) {
			size := min(max(first, 2*cap(content)), most+1)
			if !a.grow(size - cap(content)) {
				return nil, errGaveWay
			}

			content = append(make([]byte, 0, size), content...)
		}

		n, err := from.Read(content[len(content):cap(content)])
		content = content[:len(content)+n]

		if n > 0 {
			a.progressed()
		}

		switch {
		case len(content) > most:
			return nil, tooLarge(most)
		case err != nil && !a.arrived():
			return nil, errGaveWay
		case errors.Is(err, io.EOF):
			return content, nil
		case err != nil:
			return nil, err //nolint:wrapcheck // readBody says what was being done
		}
	}
}

// progressed says that a part of the body has arrived.
func (a *arrival) progressed() {
	a.bodies.mu.Lock()
	defer a.bodies.mu.Unlock()

	if a.place != nil {
		a.list().MoveToBack(a.place)
	}
}

// grow takes n bytes more, from other bodies if there is no other way. It tells
// whether it got them.
func (a *arrival) grow(n int) bool {
	b := a.bodies

	b.mu.Lock()
	defer b.mu.Unlock()

	for a.place != nil && b.free < n {
		b.first().giveUp()
	}

	if a.place == nil {
		return false
	}

	from := a.list()
	a.takes += n
	b.free -= n

	if to := a.list(); to != from {
		from.Remove(a.place)
		a.place = to.PushBack(a)
	}

	return true
}

// first is the body to give up first. There is one, since whoever asks is in a list.
func (b *bodies) first() *arrival {
	place := b.large.Front()
	if place == nil {
		place = b.usual.Front()
	}

	return place.Value.(*arrival) //nolint:forcetypeassert // the lists hold no others
}

// arrived ends the reading. It tells whether the body was not given up meanwhile.
func (a *arrival) arrived() bool {
	a.bodies.mu.Lock()
	defer a.bodies.mu.Unlock()

	return a.leave()
}

// release gives the memory back, once the request is answered.
func (a *arrival) release() {
	if a == nil {
		return
	}

	a.bodies.mu.Lock()
	defer a.bodies.mu.Unlock()

	a.free()
}

// The methods below are called under the lock.

func (a *arrival) giveUp() {
	a.free()
	a.stop()
}

func (a *arrival) free() {
	a.leave()
	a.bodies.free += a.takes
	a.takes = 0
}

// leave takes the body out of its list. It tells whether it was still in one.
func (a *arrival) leave() bool {
	if a.place == nil {
		return false
	}

	a.list().Remove(a.place)
	a.place = nil

	return true
}

func (a *arrival) list() *list.List {
	if a.takes > usualBody {
		return a.bodies.large
	}

	return a.bodies.usual
}
