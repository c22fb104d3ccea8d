package http

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
)

// longestError is what a line keeps of an error, in bytes.
const longestError = 1 << 10

// logAccess writes a request's one line. A change that the request has made is part of it.
func (e *edge) logAccess(ctx context.Context, r *http.Request, ex *exchange, took time.Duration) {
	level := zap.InfoLevel

	switch {
	case ex.status >= http.StatusInternalServerError:
		level = zap.ErrorLevel
	case byProbe(r):
		level = zap.DebugLevel
	}

	entry := e.Log.Check(level, "request")
	if entry == nil {
		return
	}

	var leftOut int64

	if byStranger(r, ex) {
		var write bool
		if leftOut, write = e.strangers.next(); !write {
			return
		}
	}

	const own = 9 // fields at most

	told := ex.request.Told()
	fields := append(make([]zap.Field, 0, own+len(told)), logctx.Field(ctx),
		zap.String("method", methodLabel(r.Method)), zap.String("route", ex.route), zap.Int("status", ex.status),
		zap.Int64("bytes", ex.written), zap.Duration("took", took))
	fields = append(fields, told...)

	if ex.err != nil {
		fields = append(fields, reason(ex.err))
	}

	if ex.caller.key.Prefix != "" {
		fields = append(fields, zap.String("api_key", ex.caller.key.Prefix))
	}

	if leftOut > 0 {
		fields = append(fields, zap.Int64("left_out", leftOut))
	}

	entry.Write(fields...)
}

// reason is what the line says of an error. A client's mistake is told to the
// client alone, because that text quotes the request.
func reason(err error) zap.Field {
	switch kind := fault.KindOf(err); kind {
	case fault.Invalid, unsupportedMedia:
		return zap.String("error", string(kind))
	default:
		return zap.String("error", fault.Shorten(err.Error(), longestError))
	}
}

// byStranger tells whether a request was answered before it was known who asks, or
// before its body was read.
func byStranger(r *http.Request, ex *exchange) bool {
	if fromOutside(r) {
		return !ex.signed
	}

	switch ex.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusTooManyRequests:
		return true
	default:
		return ex.unread != nil || ex.route == unmatched
	}
}

// strangersLines bounds the log lines that anybody can cause. The metrics count
// every request.
type strangersLines struct {
	limit   *rate.Limiter
	leftOut atomic.Int64
}

// linesPerSecond are written of what strangers send, and twice as many at once.
const linesPerSecond = 10

// next tells whether to write a line, and how many were left out before it.
func (l *strangersLines) next() (leftOut int64, write bool) {
	if !l.limit.Allow() {
		l.leftOut.Add(1)

		return 0, false
	}

	return l.leftOut.Swap(0), true
}
