package http

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
)

// pipe is a body that a sender holds back; giving way closes it.
type pipe struct {
	*arrival

	from *io.PipeReader
	to   *io.PipeWriter
	done chan error
}

var errStopped = errors.New("stopped")

func (b *bodies) pipe() *pipe {
	p := &pipe{done: make(chan error, 1)}
	p.from, p.to = io.Pipe()
	p.arrival = b.begin(func() { _ = p.to.CloseWithError(errStopped) })

	go func() {
		_, err := p.read(p.from, 16, 1<<20)

		_ = p.from.CloseWithError(io.ErrClosedPipe)

		p.done <- err
	}()

	return p
}

// fill sends n bytes, a power of two from 16 on, and waits until room for more is made.
func (p *pipe) fill(t *testing.T, n int) {
	t.Helper()
	p.send(t, n)
	require.Eventually(t, func() bool {
		p.bodies.mu.Lock()
		defer p.bodies.mu.Unlock()

		return p.takes == 2*n
	}, 10*time.Second, time.Millisecond)
}

func (p *pipe) send(t *testing.T, n int) {
	t.Helper()

	_, err := p.to.Write(make([]byte, n))
	require.NoError(t, err)
}

func TestBodies_WhoHoldsBackGivesWay(t *testing.T) {
	t.Parallel()

	const large = 2 * usualBody

	b := newBodies(5 * large)
	small, held, moving := b.pipe(), b.pipe(), b.pipe()
	small.fill(t, 16)
	held.fill(t, large)
	moving.fill(t, large)

	honest := b.begin(func() { require.Fail(t, "it is the last to give way") })
	content, err := honest.read(strings.NewReader(strings.Repeat("x", 2*large)), 16, 2*large)
	require.NoError(t, err)
	require.Len(t, content, 2*large)
	require.ErrorIs(t, <-held.done, errGaveWay)

	for _, p := range []*pipe{moving, small} {
		p.send(t, 1)
		require.NoError(t, p.to.Close())
		require.NoError(t, <-p.done)
		p.release()
	}

	honest.release()
	held.release()
	require.Equal(t, 5*large, b.free)
	require.Zero(t, b.usual.Len()+b.large.Len())
}

// Where all are small, the one that waits the longest goes.
func TestBodies_ManySmallOnesGiveWay(t *testing.T) {
	t.Parallel()

	b := newBodies(100)
	first, second := b.pipe(), b.pipe()
	first.fill(t, 16)
	second.fill(t, 16)

	late := b.begin(func() { require.Fail(t, "it is the last to give way") })
	_, err := late.read(strings.NewReader(strings.Repeat("x", 70)), 71, 1<<20)
	require.NoError(t, err)

	require.ErrorIs(t, <-first.done, errGaveWay)
	require.NoError(t, second.to.Close())
	require.ErrorIs(t, <-second.done, errGaveWay)
}

// What was read whole is being worked on: it is not taken away, and who finds no
// room left is turned away.
func TestBodies_WhatIsThereStays(t *testing.T) {
	t.Parallel()

	b := newBodies(100)
	whole := b.begin(func() { require.Fail(t, "it is there already") })
	_, err := whole.read(bytes.NewReader(make([]byte, 60)), 61, 1<<20)
	require.NoError(t, err)

	stopped := false
	late := b.begin(func() { stopped = true })
	_, err = late.read(bytes.NewReader(make([]byte, 60)), 61, 1<<20)
	require.ErrorIs(t, err, errGaveWay)
	require.True(t, stopped)

	whole.release()

	_, err = b.begin(func() {}).read(bytes.NewReader(make([]byte, 60)), 61, 1<<20)
	require.NoError(t, err)
}

// The memory follows what has come, not what was announced.
func TestBodies_TakeWhatHasCome(t *testing.T) {
	t.Parallel()

	b := newBodies(1 << 20)
	body := b.begin(func() {})
	content, err := body.read(io.LimitReader(neverEnding{}, 100_000), 16, 1<<20)
	require.NoError(t, err)
	require.Len(t, content, 100_000)
	require.Less(t, 1<<20-b.free, 200_001)

	_, err = b.begin(func() {}).read(neverEnding{}, 16, 1000)
	require.Equal(t, bodyTooLarge, fault.KindOf(err))
}

// Whatever happens at once, the count is right in the end.
func TestBodies_CountRight(t *testing.T) {
	t.Parallel()

	const most = 10_000

	b := newBodies(most)

	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for range 50 {
				from, to := io.Pipe()
				body := b.begin(func() { _ = to.CloseWithError(errStopped) })

				go func() { _, _ = to.Write(make([]byte, 100*(i%9))); _ = to.Close() }()

				_, _ = body.read(from, 16, 500)
				_ = from.Close()

				body.release()
			}
		})
	}

	all.Wait()
	require.Equal(t, most, b.free)
	require.Zero(t, b.usual.Len()+b.large.Len())
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }
