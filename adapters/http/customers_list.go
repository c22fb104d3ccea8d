package http

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// How many entries a list has.
const (
	usualListed = 20
	mostListed  = 100
)

// list is GET /customers.
func (c *Customers) list(_ http.ResponseWriter, r *http.Request) (answer, error) {
	query, err := customerQueryOf(r, "reference", "email", "created[gte]", "created[gt]", "created[lte]", "created[lt]",
		"limit", "cursor")
	if err != nil {
		return answer{}, err
	}

	limit, err := query.limit()
	if err != nil {
		return answer{}, err
	}

	filter, before, err := query.filter()
	if err != nil {
		return answer{}, err
	}

	filter.Tenant = tenantOf(r)

	page, err := c.do.List.Do(r.Context(), filter, before, limit)
	if err != nil {
		return answer{}, err
	}

	body := pageBody{Data: make([]any, 0, len(page.Customers)), HasMore: page.More}
	for _, one := range page.Customers {
		body.Data = append(body.Data, toCustomerBody(one))
	}

	if n := len(page.Customers); page.More && n > 0 {
		body.NextCursor = new(query.cursor(page.Customers[n-1].CreatedAt, page.Customers[n-1].ID))
	}

	return answer{status: http.StatusOK, body: body}, nil
}

// customerQuery is a query whose names are known and come once.
type customerQuery struct{ url.Values }

func customerQueryOf(r *http.Request, known ...string) (customerQuery, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return customerQuery{}, fault.New(fault.Invalid, "The query is not form-encoded.")
	}

	for name, all := range values {
		switch {
		case !slices.Contains(known, name):
			return customerQuery{}, fault.Newf(fault.Invalid, "The query has an unknown parameter. Known are %s.",
				strings.Join(known, ", "))
		case len(all) > 1 || all[0] == "":
			return customerQuery{}, fault.Newf(fault.Invalid, "%s is empty, or was sent more than once", name)
		}
	}

	return customerQuery{values}, nil
}

func (q customerQuery) limit() (int, error) {
	text := q.Get("limit")
	if text == "" {
		return usualListed, nil
	}

	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > mostListed {
		return 0, fault.Newf(fault.Invalid, "limit must be a number from 1 to %d", mostListed)
	}

	return limit, nil
}

// filter is which customers are wanted, and where the list goes on.
func (q customerQuery) filter() (filter ports.CustomerFilter, before ports.CustomerPosition, err error) {
	for name, into := range map[string]*string{customer.Reference: &filter.Reference, customer.Email: &filter.Email} {
		if *into = q.Get(name); *into != "" {
			if err := customer.CheckValue(name, *into); err != nil {
				return filter, before, err
			}
		}
	}

	if filter.From, err = q.bound("created[gte]", "created[gt]"); err != nil {
		return filter, before, err
	}

	if before.CreatedAt, err = q.bound("created[lt]", "created[lte]"); err != nil || q.Get("cursor") == "" {
		return filter, before, err
	}

	before, err = q.position()

	return filter, before, err
}

// bound is a time of creation: of is the time itself, and beyond the one right after it.
// PostgreSQL keeps microseconds.
func (q customerQuery) bound(of, beyond string) (time.Time, error) {
	name, more := of, time.Duration(0)

	switch {
	case q.Get(of) != "" && q.Get(beyond) != "":
		return time.Time{}, fault.Newf(fault.Invalid, "send %s or %s, not both", of, beyond)
	case q.Get(beyond) != "":
		name, more = beyond, time.Microsecond
	case q.Get(of) == "":
		return time.Time{}, nil
	}

	at, err := time.Parse(time.RFC3339Nano, q.Get(name))
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, fault.Newf(fault.Invalid, "%s must be a time such as 2026-01-31T12:00:00Z (RFC 3339)", name)
	}

	return at.Add(more), nil
}

const (
	cursorVersion = 1
	// digestLength is how much of a hash binds a cursor to its filters.
	digestLength = 8
)

// cursor is where the list goes on after what was created at a time: a version, the filters'
// hash, the time and the id.
func (q customerQuery) cursor(createdAt time.Time, id uuid.UUID) string {
	form := append([]byte{cursorVersion}, q.digest()...)
	form = binary.BigEndian.AppendUint64(form, uint64(createdAt.UnixMicro()))
	form = append(form, id[:]...)

	return base64.RawURLEncoding.EncodeToString(form)
}

func (q customerQuery) position() (ports.CustomerPosition, error) {
	const head, length = 1 + digestLength, 1 + digestLength + 8 + len(uuid.Nil)

	form, err := base64.RawURLEncoding.DecodeString(q.Get("cursor"))
	if err != nil || len(form) != length || form[0] != cursorVersion || !slices.Equal(form[1:head], q.digest()) {
		return ports.CustomerPosition{}, errCursor()
	}

	micro := int64(binary.BigEndian.Uint64(form[head:])) //nolint:gosec // its bits

	return ports.CustomerPosition{CreatedAt: time.UnixMicro(micro).UTC(), ID: uuid.UUID(form[head+8:])}, nil
}

func errCursor() error {
	return fault.New(fault.Invalid, "The cursor is not of this list: send it with the filters of the request that it came from.")
}

// digest is a hash of the filters. The limit may change from page to page.
func (q customerQuery) digest() []byte {
	filters := make(url.Values, len(q.Values))

	for name, values := range q.Values {
		if name != "cursor" && name != "limit" {
			filters[name] = values
		}
	}

	sum := sha256.Sum256([]byte(filters.Encode()))

	return sum[:digestLength]
}

// methodCursor is where a customer's list of payment methods goes on.
func methodCursor(of uuid.UUID, methodID string) string {
	return base64.RawURLEncoding.EncodeToString(append(append([]byte{cursorVersion}, of[:]...), methodID...))
}

// methodCursor is the method after which the list of a customer's payment methods goes on;
// empty: from the first.
func (q customerQuery) methodCursor(of uuid.UUID) (string, error) {
	text := q.Get("cursor")
	if text == "" {
		return "", nil
	}

	const head = 1 + len(uuid.Nil)

	form, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(form) <= head || form[0] != cursorVersion || uuid.UUID(form[1:head]) != of {
		return "", errCursor()
	}

	return string(form[head:]), nil
}
