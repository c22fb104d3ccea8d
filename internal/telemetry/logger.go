package telemetry

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger returns a logger that writes one JSON object for each line at level
// or above: ts (RFC 3339 in UTC, to the nanosecond), level, msg, and the
// fields; durations are in seconds. Nothing is sampled and nothing is buffered,
// so the last line before a crash is there.
//
// Lines have no caller and no stack: each message is written in one place, and an
// error says where it comes from. Secrets are hidden by their own types, which print
// as "***"; the logger does not look for them.
func NewLogger(level zapcore.Level, out io.Writer) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:        "ts",
		LevelKey:       "level",
		MessageKey:     "msg",
		NameKey:        "logger",
		EncodeTime:     encodeTime,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.SecondsDurationEncoder,
	})

	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level))
}

func encodeTime(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
	zapcore.RFC3339NanoTimeEncoder(t.UTC(), enc)
}
