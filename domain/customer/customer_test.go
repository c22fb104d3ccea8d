package customer_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

func TestCheckValue(t *testing.T) {
	t.Parallel()

	address := func(length int) string { return strings.Repeat("a", length-len("@example.com")) + "@example.com" }

	for name, c := range map[string]struct {
		of, value string
		ok        bool
	}{
		"a reference":                   {customer.Reference, "user-42 ж", true},
		"the longest reference":         {customer.Reference, strings.Repeat("ж", 255), true},
		"a reference that is too long":  {customer.Reference, strings.Repeat("r", 256), false},
		"an empty reference":            {customer.Reference, "", false},
		"a reference with a null byte":  {customer.Reference, "a\x00b", false},
		"a reference with a line break": {customer.Reference, "a\nb", false},
		"no UTF-8":                      {customer.Reference, "a\xffb", false},
		"an email":                      {customer.Email, "jenny@example.com", true},
		"with a tag":                    {customer.Email, "jenny+shop@example.com", true},
		"the longest email":             {customer.Email, address(512), true},
		"an email that is too long":     {customer.Email, address(513), false},
		"an empty email":                {customer.Email, "", false},
		"an email without @":            {customer.Email, "jenny.example.com", false},
		"an email without a domain":     {customer.Email, "jenny@", false},
		"an email with a name":          {customer.Email, "Jenny <jenny@example.com>", false},
		"two emails":                    {customer.Email, "a@example.com, b@example.com", false},
		"an email with a space":         {customer.Email, " jenny@example.com", false},
		"a name":                        {customer.Name, "Jenny Rosen", true},
		"the longest name":              {customer.Name, strings.Repeat("n", 256), true},
		"a name that is too long":       {customer.Name, strings.Repeat("n", 257), false},
		"an empty name":                 {customer.Name, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			err := customer.CheckValue(c.of, c.value)
			if c.ok {
				require.NoError(t, err)

				return
			}

			require.Equal(t, fault.Invalid, fault.KindOf(err))

			if len(c.value) > 3 {
				require.NotContains(t, err.Error(), c.value, "it is personal data")
			}
		})
	}
}

func entries(n int) map[string]string {
	made := make(map[string]string, n)
	for i := range n {
		made[fmt.Sprintf("key_%d", i)] = "value"
	}

	return made
}

func TestCheckMetadata(t *testing.T) {
	t.Parallel()

	require.NoError(t, customer.CheckMetadata(nil))
	require.NoError(t, customer.CheckMetadata(entries(46)))

	for name, bad := range map[string]map[string]string{
		"too many":          entries(47),
		"our mark":          {payment.MetadataMark: "x"},
		"our key":           {payment.MetadataKey: "x"},
		"our reference":     {customer.MetadataReference: "x"},
		"an empty key":      {"": "x"},
		"brackets":          {"a[b]": "x"},
		"a long key":        {strings.Repeat("k", 41): "x"},
		"a long value":      {"k": strings.Repeat("v", 501)},
		"a null in a value": {"k": "a\x00b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, fault.Invalid, fault.KindOf(customer.CheckMetadata(bad)))
		})
	}
}

func jenny() customer.Customer {
	return customer.Customer{
		ID: uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000aa"), ProviderID: "cus_1", Reference: "user-42",
		Email: "jenny@example.com", Name: "Jenny", Metadata: map[string]string{"plan": "gold", "seen": "1"},
		Version: 7, CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(2, 0),
	}
}

func TestCustomer_With(t *testing.T) {
	t.Parallel()

	before := jenny()
	after, err := before.With(map[string]string{"email": "j@example.com", "name": ""},
		map[string]string{"plan": "", "seen": "2", "new": "3", "never": ""})
	require.NoError(t, err)
	require.Equal(t, jenny(), before, "it is not changed itself")

	want := jenny()
	want.Email, want.Name, want.Metadata = "j@example.com", "", map[string]string{"seen": "2", "new": "3"}
	require.Equal(t, want, after)

	same, err := jenny().With(nil, nil)
	require.NoError(t, err)
	require.True(t, same.SameAs(jenny()))

	bare, err := jenny().With(nil, map[string]string{"plan": "", "seen": ""})
	require.NoError(t, err)
	require.Nil(t, bare.Metadata)

	full := jenny()
	full.Metadata = entries(46)
	_, err = full.With(nil, map[string]string{"one_more": "x"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = full.With(nil, map[string]string{"one_more": "x", "key_1": ""})
	require.NoError(t, err)
}

func TestCustomer_Gone(t *testing.T) {
	t.Parallel()

	at := time.Unix(9, 0)
	gone := jenny().Gone(at)
	require.Equal(t, customer.Customer{
		ID: jenny().ID, ProviderID: "cus_1", DeletedAt: at, Version: 7, CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(2, 0),
	}, gone)
	require.True(t, gone.Deleted())
	require.Equal(t, gone, gone.Gone(time.Unix(10, 0)), "it is deleted once")
}

func TestCustomer_SameAs(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(c *customer.Customer){
		"reference": func(c *customer.Customer) { c.Reference = "x" },
		"email":     func(c *customer.Customer) { c.Email = "x" },
		"name":      func(c *customer.Customer) { c.Name = "x" },
		"metadata":  func(c *customer.Customer) { c.Metadata = map[string]string{"plan": "gold"} },
		"deleted":   func(c *customer.Customer) { c.DeletedAt = time.Unix(5, 0) },
		"provider":  func(c *customer.Customer) { c.ProviderID = "cus_2" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			other := jenny()
			change(&other)
			require.False(t, jenny().SameAs(other))
		})
	}

	later := jenny()
	later.Version, later.UpdatedAt = 8, time.Unix(8, 0)
	require.True(t, jenny().SameAs(later))
}

func snapshot() customer.Snapshot {
	return customer.Snapshot{Email: "jenny@example.com", Name: "Jenny", Metadata: map[string]string{"plan": "gold", "seen": "1"}}
}

func TestCustomer_Following(t *testing.T) {
	t.Parallel()

	now := time.Unix(9, 0)
	require.True(t, jenny().Following(snapshot(), now).SameAs(jenny()))

	said := snapshot()
	said.Email, said.Metadata = "", nil
	after := jenny().Following(said, now)
	require.Empty(t, after.Email)
	require.Nil(t, after.Metadata)
	require.Equal(t, "user-42", after.Reference, "the reference is ours")

	require.Equal(t, jenny().Gone(now), jenny().Following(customer.Snapshot{Deleted: true}, now))
	require.True(t, jenny().Gone(now).Following(snapshot(), now).Deleted(), "nobody comes back")
}

func TestSnapshot_Has(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		values, metadata map[string]string
		want             bool
	}{
		"nothing asked":       {nil, nil, true},
		"the values":          {map[string]string{"email": "jenny@example.com", "reference": "any"}, nil, true},
		"another value":       {map[string]string{"email": "x@example.com"}, nil, false},
		"a value taken away":  {map[string]string{"name": ""}, nil, false},
		"an entry":            {nil, map[string]string{"plan": "gold"}, true},
		"another entry":       {nil, map[string]string{"plan": "tin"}, false},
		"an entry taken away": {nil, map[string]string{"plan": ""}, false},
		"none to take away":   {nil, map[string]string{"other": ""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, snapshot().Has(c.values, c.metadata))
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()

	changed, gone, known, deleted := snapshot(), snapshot(), jenny(), jenny().Gone(time.Unix(3, 0))
	changed.Metadata = maps.Clone(changed.Metadata)
	changed.Metadata["plan"] = "tin"
	gone.Deleted = true

	for name, c := range map[string]struct {
		said   customer.Snapshot
		marked bool
		known  *customer.Customer
		want   customer.Verdict
	}{
		"as it is known":              {snapshot(), true, &known, customer.Stale},
		"it differs":                  {changed, true, &known, customer.Hints},
		"it differs, without a mark":  {changed, false, &known, customer.Hints},
		"it was deleted":              {gone, true, &known, customer.Hints},
		"it was deleted, as is known": {gone, true, &deleted, customer.Stale},
		"late, after it was deleted":  {changed, true, &deleted, customer.Stale},
		"ours, and not here":          {snapshot(), true, nil, customer.Hints},
		"ours, not here, and deleted": {gone, true, nil, customer.Stale},
		"somebody else's":             {snapshot(), false, nil, customer.Foreign},
		"somebody else's, deleted":    {gone, false, nil, customer.Foreign},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, customer.Judge(c.said, c.marked, c.known))
		})
	}
}

func TestCustomer_NextVersion(t *testing.T) {
	t.Parallel()

	require.Equal(t, int64(8), jenny().NextVersion(time.UnixMilli(3)))
	require.Equal(t, int64(900), jenny().NextVersion(time.UnixMilli(900)))
}
