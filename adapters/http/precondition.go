package http

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/marketflow/marketflow/domain/fault"
)

// etag is the entity tag of an object's version (RFC 9110 section 8.8.3).
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// ifMatch reads If-Match (RFC 9110 section 13.1.1): the versions that a client names, or nil if
// any will do. A weak tag never matches (section 8.8.3.2), nor does one that is not ours.
func ifMatch(h http.Header) ([]int64, error) {
	values := h.Values("If-Match")
	if len(values) == 0 {
		return nil, nil
	}

	rest := strings.Trim(strings.Join(values, ","), " \t,")
	if rest == "*" {
		return nil, nil
	}

	versions := []int64{}

	for first := true; first || rest != ""; first = false {
		strong, weak := strings.CutPrefix(rest, "W/")

		tag, after, ok := cutTag(strong)
		if !ok {
			return nil, fault.New(fault.Invalid, `If-Match must be * or a list of entity tags, such as "1764237600123"`)
		}

		if version, err := strconv.ParseInt(tag, 10, 64); err == nil && !weak && strconv.FormatInt(version, 10) == tag {
			versions = append(versions, version)
		}

		rest = after
	}

	return versions, nil
}

// cutTag cuts the first of a list of entity tags (RFC 9110 sections 5.6.1 and 8.8.3).
func cutTag(list string) (tag, rest string, ok bool) {
	inside, ok := strings.CutPrefix(list, `"`)
	if !ok {
		return "", "", false
	}

	tag, rest, ok = strings.Cut(inside, `"`)
	if ok = ok && !strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r == 0x7f }); !ok {
		return "", "", false
	}

	rest = strings.TrimLeft(rest, " \t")
	if rest == "" {
		return tag, "", true
	}

	if rest[0] != ',' {
		return "", "", false
	}

	return tag, strings.TrimLeft(rest, " \t,"), true
}
