package observability

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// program is the directory of the binary, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "marketflow-runbooks")
	if err != nil {
		return "", err
	}

	build := exec.Command("go", "build", "-o", filepath.Join(dir, "marketflow"), "./cmd/marketflow")
	build.Dir = root
	out, err := build.CombinedOutput()

	return dir, errors.Join(err, ifAny(string(out)))
})

func ifAny(text string) error {
	if text == "" {
		return nil
	}

	return errors.New(text)
}

// Nobody should find out at three in the morning that a command has a typo.
func TestRunbooks_CommandsRunAsWritten(t *testing.T) {
	t.Parallel()

	dir, err := program()
	require.NoError(t, err)

	reading := newDesk(t)

	for _, command := range runbookCommands(t) {
		t.Run(strings.ReplaceAll(command, "/", "|"), func(t *testing.T) {
			t.Parallel()

			words := strings.Fields(command)
			if slices.Contains([]string{"serve", "dev", "sandbox"}, words[1]) {
				command = words[0] + " " + words[1] + " --help" // they run until they are stopped
			}

			desk := reading
			if !regexp.MustCompile(`^\w+ \w+ (list|show|status|--help)\b`).MatchString(command) {
				desk = newDesk(t) // it changes something
			}

			if strings.HasPrefix(command, "marketflow account adopt") {
				_, err := desk.db.Pool().Exec(t.Context(), "UPDATE installation SET database_name = 'before it was moved'")
				require.NoError(t, err)
			}

			run := exec.CommandContext(t.Context(), "sh", "-c", desk.filledIn(command))
			run.Dir = t.TempDir() // no .env
			require.NoError(t, os.WriteFile(filepath.Join(run.Dir, "secret.txt"), []byte(webhookSecret+"\n"), 0o600))

			run.Env = append(desk.environment(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+run.Dir)
			out, err := run.CombinedOutput()

			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() == 2 && words[1] == "reconcile" {
				err = nil // it has left something for a person, as it should
			}

			require.NoError(t, err, "%s\n%s", command, out)
		})
	}
}

// runbookCommands are all that operations.md names, in blocks and in its text.
func runbookCommands(t *testing.T) []string {
	t.Helper()

	text := string(read(t, "docs/operations.md"))
	blocks := regexp.MustCompile("(?s)```\\w*\n(.*?)```")

	var commands []string

	for _, block := range blocks.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "marketflow ") {
				commands = append(commands, line)
			}
		}
	}

	for _, code := range regexp.MustCompile("`(marketflow [^`]+)`").FindAllStringSubmatch(blocks.ReplaceAllString(text, ""), -1) {
		commands = append(commands, strings.Join(strings.Fields(code[1]), " "))
	}

	slices.Sort(commands)
	commands = slices.Compact(commands)
	require.Greater(t, len(commands), 12)

	return commands
}

// Whoever is woken should not have to write SQL.
func TestRunbooks_NeedNoSQL(t *testing.T) {
	t.Parallel()

	_, runbooks, found := strings.Cut(string(read(t, "docs/operations.md")), "\n## Looking\n")
	require.True(t, found)
	require.NotRegexp(t, "```sql|`(SELECT|UPDATE|DELETE FROM|INSERT|ALTER|ANALYZE)\\b", runbooks)
}

// desk is a world in which every runbook has something to do.
type desk struct {
	*world

	store *postgres.Store
	// paid has succeeded, lost has nothing at Stripe, found has an intent there, and the
	// amount of other is not Stripe's.
	paid, intent, lost, found, other string
	customer, dispute, refund        string
	// sealing is a SECRETS_KEY during its rollover.
	sealing string
}

const deskKey = "order_1"

// deskAPIKey is the key that the runbooks revoke and roll.
const deskAPIKey = "mf_test_abcd1234"

// deskHint are the last characters of the webhook secret that they roll and remove.
const deskHint = "x7Qa"

func newDesk(t *testing.T) *desk {
	t.Helper()

	w := newWorld(t)
	d := &desk{world: w, store: postgres.NewStore(w.db.Pool(), w.db.Pool())}
	made := w.created(`{"amount":10,"currency":"USD","idempotency_key":"` + deskKey + `"}`)
	d.paid, d.intent = made.text(t, "id"), made.text(t, "stripe_payment_intent_id")

	customer := w.do(http.MethodPost, "/customers", `{"email":"jenny@example.com"}`)
	require.Equal(t, http.StatusCreated, customer.status, "%s", customer.body)
	d.customer = customer.text(t, "id")

	_, err := d.store.CreateAPIKey(t.Context(), tenant.Key{
		ID: uuid.New(), Tenant: operation.DefaultTenant, Name: "Shop", Prefix: deskAPIKey, Mode: binding.Test,
		Scopes: tenant.AllScopes(),
	}, ports.AuditEntry{ID: uuid.New(), Actor: "cli:me@here", Action: ports.AuditKeyCreated})
	require.NoError(t, err)

	d.keepSecret()

	acme, err := tenant.New("acme")
	require.NoError(t, err)
	_, err = d.store.CreateTenant(t.Context(), acme,
		ports.AuditEntry{ID: uuid.New(), Actor: "cli:me@here", Action: ports.AuditTenantCreated})
	require.NoError(t, err)

	d.other = w.created(`{"amount":10,"currency":"USD"}`).text(t, "id")
	_, err = w.db.Pool().Exec(t.Context(), "UPDATE payments SET amount = 11 WHERE id = $1", d.other)
	require.NoError(t, err)

	d.refund = uuid.NewString()
	_, err = w.db.Pool().Exec(t.Context(), `
		INSERT INTO refunds (id, tenant, payment_id, payment_created_at, stripe_refund_id, amount, currency, status, origin,
		                     version, created_at, updated_at)
		SELECT $1, tenant, id, created_at, 're_1', 1, currency, 'succeeded', 'api', 1, now(), now()
		FROM payments WHERE id = $2`, d.refund, d.paid)
	require.NoError(t, err)

	d.dispute = uuid.NewString()
	_, err = w.db.Pool().Exec(t.Context(), `
		INSERT INTO disputes (id, tenant, payment_id, payment_created_at, stripe_dispute_id, amount, currency, kind, status, reason,
			network_reason_code, submissions, counted, counted_currency, balance, version, created_at, updated_at)
		SELECT $1, 1, id, created_at, 'du_1', 10, 'USD', 'chargeback', 'lost', '', '', 0, 10, 'USD', '[]', 1, now(), now()
		FROM payments WHERE id = $2`, d.dispute, d.paid)
	require.NoError(t, err)

	d.lost, d.found = d.giveUp("lost"), d.giveUp("found")
	w.atStripe("/v1/payment_intents", "amount=1000&currency=usd&metadata[payment_id]="+d.found)
	require.NoError(t, d.store.Park(t.Context(), ports.Event{
		ID: "evt_parked", Type: "payment_intent.succeeded", ObjectID: "pi_unknown", IsIntent: true, Change: payment.Succeeded,
		Raw: []byte(succeeded("pi_unknown")),
	}, ports.ParkedUnknown))

	return d
}

// keepSecret stores the webhook secret that the runbooks roll and remove, under the old key.
func (d *desk) keepSecret() {
	d.t.Helper()

	key, old := secret.NewKey()
	_, next := secret.NewKey()
	d.sealing = next + "," + old

	keys, err := secret.NewKeys(key)
	require.NoError(d.t, err)

	kept := secret.Webhook{ID: uuid.New(), Hint: deskHint, CreatedBy: "cli:me@here"}
	kept.Sealed, err = keys.Seal([]byte("whsec_DeskDeskDeskDeskDeskDeskDesk"+deskHint), kept.Place())
	require.NoError(d.t, err)

	_, err = d.store.AddWebhookSecret(d.t.Context(), kept,
		ports.AuditEntry{ID: uuid.New(), Actor: "cli:me@here", Action: ports.AuditWebhookSecretAdded})
	require.NoError(d.t, err)
}

// giveUp writes an operation of 10.00 USD down that is a day old and waits for a
// person.
func (d *desk) giveUp(key operation.Key) string {
	d.t.Helper()

	currency, err := money.ParseCurrency("USD")
	require.NoError(d.t, err)
	amount, err := money.NewPrice(1000, currency)
	require.NoError(d.t, err)
	id, err := uuid.NewV7()
	require.NoError(d.t, err)

	_, err = d.store.Begin(d.t.Context(), ports.NewOperation{
		Tenant: operation.DefaultTenant, ID: id, Kind: operation.Create, Key: key, Order: operation.Order{Amount: amount},
		Lease: ports.Lease{Token: uuid.New()}, Call: ports.Call{Key: "payment-" + id.String(), Path: "/v1/payment_intents"},
		CreatedAt: time.Now().Add(-25 * time.Hour),
	})
	require.NoError(d.t, err)
	require.NoError(d.t, d.store.GiveUp(context.WithoutCancel(d.t.Context()), id, errors.New("nobody lists it")))

	return id.String()
}

// filledIn puts real names where a runbook says ID, KEY and pi_….
func (d *desk) filledIn(command string) string {
	id := d.paid
	command = strings.Replace(command, "tenants create acme", "tenants create another", 1) // acme is there

	switch words := strings.Fields(command); {
	case words[1] == "customers":
		id = d.customer
	case words[1] == "disputes":
		id = d.dispute
	case words[1] == "refunds":
		id = d.refund
	case words[1] == "inbox":
		id = "evt_parked"
	case words[1] == "operations" && words[2] == "adopt":
		id = d.found
	case words[1] == "payments" && words[2] == "accept":
		id = d.other
	case words[1] == "operations":
		id = d.lost
	}

	command = regexp.MustCompile(`\bID\b`).ReplaceAllString(command, id)
	command = regexp.MustCompile(`\bKEY\b`).ReplaceAllString(command, deskKey)

	return strings.ReplaceAll(command, "pi_…", d.intent)
}

func (d *desk) environment() []string {
	return []string{
		"DATABASE_URL=" + d.db.URL, "STRIPE_API_BASE=" + d.stripe.URL, "STRIPE_SECRET_KEY=" + secretKey,
		"STRIPE_WEBHOOK_SECRET=" + webhookSecret,
		"AUTH=off", "SECRETS_KEY=" + d.sealing,
	}
}

// Closing an operation freezes an answer that clients get for ever: also those
// whose process has never heard of it.
func TestRunbooks_ClosingAnOperation(t *testing.T) {
	t.Parallel()

	dir, err := program()
	require.NoError(t, err)

	d := newDesk(t)
	closing := exec.CommandContext(t.Context(), filepath.Join(dir, "marketflow"),
		"operations", "close", d.lost, "--reason", "order given up")
	closing.Dir, closing.Env = t.TempDir(), d.environment()
	out, err := closing.CombinedOutput()
	require.NoError(t, err, "%s", out)

	answer := d.create(`{"amount":10,"currency":"USD","idempotency_key":"lost"}`)
	require.Equal(t, 502, answer.status, "%s", answer.body)
	require.Contains(t, answer.text(t, "detail"), "never made")
	require.Equal(t, "true", answer.header.Get("Idempotent-Replayed"))
}
