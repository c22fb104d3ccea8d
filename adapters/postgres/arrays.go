package postgres

import (
	"encoding/binary"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// arrays encodes the slices that our statements take most as PostgreSQL's arrays, byte for
// byte like pgx. But pgx takes each element through an interface, and lets a buffer grow from
// 128 bytes to the hundred kilobytes that the bodies of 64 events have.
type arrays struct{ *pgtype.ArrayCodec }

// registerArrays has pgx use it.
func registerArrays(types *pgtype.Map) {
	for _, name := range []string{"_text", "_uuid", "_bytea"} {
		t, known := types.TypeForName(name)
		if !known {
			continue
		}

		if codec, ok := t.Codec.(*pgtype.ArrayCodec); ok {
			types.RegisterType(&pgtype.Type{Name: name, OID: t.OID, Codec: arrays{codec}})
		}
	}
}

// PlanEncode implements pgtype.Codec.
//
//nolint:ireturn // pgx asks for it
func (a arrays) PlanEncode(types *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	element := a.ElementType.OID

	if format == pgtype.BinaryFormatCode {
		switch value.(type) {
		case []string:
			if element == pgtype.TextOID {
				return encodeTexts{}
			}
		case []uuid.UUID:
			if element == pgtype.UUIDOID {
				return encodeUUIDs{}
			}
		case [][]byte:
			if element == pgtype.ByteaOID {
				return encodeBodies{}
			}
		}
	}

	return a.ArrayCodec.PlanEncode(types, oid, format, value)
}

type (
	encodeTexts  struct{}
	encodeUUIDs  struct{}
	encodeBodies struct{}
)

// Encode implements pgtype.EncodePlan.
func (encodeTexts) Encode(value any, buf []byte) ([]byte, error) {
	texts, _ := value.([]string)

	return appendArray(buf, pgtype.TextOID, texts,
		func(text string) int { return len(text) },
		func(buf []byte, text string) []byte { return append(buf, text...) }), nil
}

// Encode implements pgtype.EncodePlan.
func (encodeUUIDs) Encode(value any, buf []byte) ([]byte, error) {
	ids, _ := value.([]uuid.UUID)

	return appendArray(buf, pgtype.UUIDOID, ids,
		func(id uuid.UUID) int { return len(id) },
		func(buf []byte, id uuid.UUID) []byte { return append(buf, id[:]...) }), nil
}

// Encode implements pgtype.EncodePlan.
func (encodeBodies) Encode(value any, buf []byte) ([]byte, error) {
	bodies, _ := value.([][]byte)

	return appendArray(buf, pgtype.ByteaOID, bodies,
		func(body []byte) int {
			if body == nil {
				return null
			}

			return len(body)
		},
		func(buf, body []byte) []byte { return append(buf, body...) }), nil
}

const (
	// headerSize is the size of five numbers, and lengthSize of one.
	headerSize, lengthSize = 20, 4
	// null is the length of an element that is NULL.
	null = -1
)

// appendArray writes what PostgreSQL's array_recv reads (src/backend/utils/adt/arrayfuncs.c):
// one dimension, whether there is a NULL, the elements' type, how many they are, the index of
// the first, and each after its length. A nil slice is NULL.
func appendArray[T any](
	buf []byte, oid uint32, elements []T, length func(T) int, add func([]byte, T) []byte,
) []byte {
	if elements == nil {
		return nil
	}

	size, nulls := headerSize, uint32(0)

	for _, element := range elements {
		n := length(element)
		if n == null {
			nulls = 1
		}

		size += lengthSize + max(n, 0)
	}

	buf = slices.Grow(buf, size)
	for _, number := range []uint32{1, nulls, oid, uint32(len(elements)), 1} { //nolint:gosec // at most a few hundred
		buf = binary.BigEndian.AppendUint32(buf, number)
	}

	for _, element := range elements {
		n := length(element)

		buf = binary.BigEndian.AppendUint32(buf, uint32(n)) //nolint:gosec // NULL is -1 there too; a body is at most a megabyte
		if n != null {
			buf = add(buf, element)
		}
	}

	return buf
}
