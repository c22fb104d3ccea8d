package runner

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// listed is a page of a list.
type listed struct {
	Data []struct {
		ID        string `json:"id"`
		CreatedAt string `json:"created_at"`
	} `json:"data"`
	More bool    `json:"has_more"`
	Next *string `json:"next_cursor"`
}

// walk is a list that is walked to its end, and what must be in it.
type walk struct {
	path  string
	query url.Values
	limit int
	want  map[string]bool
}

// lists walks lists once all is quiet: each object comes exactly once, newest first, and a
// cursor is of its own list only.
func (w *world) lists(records serviceRecords, found *violations) {
	c := &client{l: w.work, w: w, r: w.work.rand(0)}
	another := "" // the cursor of another list

	for _, list := range walks(records) {
		if answer := c.page(list, 0, another); another != "" && answer.status != http.StatusBadRequest {
			found.addf("L1", list.name(), "takes the cursor of another list: %s", answer)
		}

		if cursor := c.walk(list, found); cursor != "" {
			another = cursor
		}
	}
}

// walk walks one list, and returns its last cursor.
func (c *client) walk(list walk, found *violations) (cursor string) {
	seen := map[string]int{}
	newest, next := "", ""

	for page := 0; page == 0 || next != ""; page++ {
		var at listed

		answer := c.page(list, page, next)
		if answer.status != http.StatusOK || json.Unmarshal(answer.body, &at) != nil || page > len(list.want)+1 {
			found.addf("L1", list.name(), "page %d: %s", page, answer)

			break
		}

		for _, one := range at.Data {
			if seen[one.ID]++; newest != "" && one.CreatedAt > newest {
				found.addf("L1", list.name(), "%s of %s comes after one of %s", one.ID, one.CreatedAt, newest)
			}

			newest = one.CreatedAt
		}

		if next = ""; at.Next != nil {
			next = *at.Next
			cursor = next
		}

		if at.More != (next != "") {
			found.addf("L1", list.name(), "page %d: has_more is %t, next_cursor %q", page, at.More, next)
		}
	}

	for id := range list.want {
		if seen[id] != 1 {
			found.addf("L1", list.name(), "shows %s %d times", id, seen[id])
		}

		delete(seen, id)
	}

	for id := range seen {
		found.addf("L1", list.name(), "shows %s, which does not fit", id)
	}

	return cursor
}

func (l walk) name() string { return "GET " + l.path + "?" + l.query.Encode() }

// page is a page of a list; the processes answer in turn.
func (c *client) page(list walk, number int, cursor string) result {
	query := url.Values{"limit": {strconv.Itoa(list.limit)}}
	maps.Copy(query, list.query)

	if cursor != "" {
		query.Set("cursor", cursor)
	}

	return c.list(list.path, query, number%processes)
}

func (c *client) list(path string, query url.Values, process int) result {
	return c.call(answerWithin, http.MethodGet, c.w.processes[process].url()+path+"?"+query.Encode(), "", nil)
}

// walks are lists by filters. Pages end in the middle of a second, of which many payments are.
func walks(records serviceRecords) []walk {
	const page, small = 20, 3

	all := []walk{{path: "/payments", query: nil, limit: page, want: ids(records.payments, func(paymentRow) bool { return true })}}

	by := func(limit int, name, value string, fits func(paymentRow) bool) {
		all = append(all, walk{"/payments", url.Values{name: {value}}, limit, ids(records.payments, fits)})
	}

	for _, status := range []string{"pending", "succeeded", "failed", "cancelled"} {
		by(page, "status", status, func(p paymentRow) bool { return p.Status == status })
	}

	by(page, "intent_status", "requires_capture", func(p paymentRow) bool { return p.IntentStatus == "requires_capture" })
	by(page, "currency", "JPY", func(p paymentRow) bool { return p.Currency == "JPY" })
	by(page, "metadata[note]", "no key", func(p paymentRow) bool { return strings.Contains(p.Metadata, `"note": "no key"`) })
	by(small, "metadata[tag]", "red", func(p paymentRow) bool { return strings.Contains(p.Metadata, `"tag": "red"`) })

	payers := map[string]bool{}

	for _, p := range slices.Backward(records.payments) {
		if p.Person != "" && !payers[p.Person] && len(payers) < small {
			payers[p.Person] = true

			by(1, "customer_id", p.Person, func(other paymentRow) bool { return other.Person == p.Person })
		}
	}

	persons := walk{path: "/customers", limit: small, want: map[string]bool{}}

	for _, p := range records.persons {
		if !p.Deleted {
			persons.want[p.ID] = true
		}
	}

	disputed := walk{path: "/disputes", limit: small, want: map[string]bool{}}

	for _, d := range records.disputes {
		disputed.want[d.ID] = true
	}

	return append(all, persons, disputed)
}

func ids(payments []paymentRow, fits func(paymentRow) bool) map[string]bool {
	found := map[string]bool{}

	for _, p := range payments {
		if fits(p) {
			found[p.ID] = true
		}
	}

	return found
}

// savedMethods holds each customer's list of payment methods against Stripe's.
func (w *world) savedMethods(e evidence, found *violations) {
	c := &client{l: w.work, w: w, r: w.work.rand(0)}

	for i, p := range e.service.persons {
		want := map[string]bool{}

		for _, m := range e.stripe.methods {
			if m.Customer == p.Stripe {
				want[m.ID] = true
			}
		}

		if len(want) == 0 && i%5 != 0 {
			continue
		}

		var (
			at     listed
			answer = c.list("/customers/"+p.ID+"/payment_methods", nil, i%processes)
			about  = "payment methods of " + p.ID
		)

		if p.Deleted {
			if answer.status != http.StatusNotFound {
				found.addf("C2", about, "who is deleted: %s", answer)
			}

			continue
		}

		if err := json.Unmarshal(answer.body, &at); err != nil || answer.status != http.StatusOK {
			found.addf("C2", about, "%s", answer)
		}

		for _, m := range at.Data {
			if !want[m.ID] {
				found.addf("C2", about, "show %s, which is not its own", m.ID)
			}

			delete(want, m.ID)
		}

		if len(want) > 0 {
			found.addf("C2", about, "lack %s", fmt.Sprint(want))
		}
	}
}
