package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/marketflow/marketflow/adapters/postgres"
)

// pgbench is what the database alone can do: a script whose every statement
// commits for itself, run by PostgreSQL's own load generator.
type pgbench struct {
	script string
	env    []string
	// warmUp is what the first seconds are spent on: connecting, and planning
	// each statement on each connection. The service has done both long before, so
	// they are left out.
	warmUp time.Duration
}

var errPgbench = errors.New("pgbench's report has another form")

// newPgbench writes a script that prepares statements once for each connection and
// then runs body, in which :id is a number that no other transaction of the
// run has.
func (s *suite) newPgbench(name string, statements []statement, body string) (*pgbench, error) {
	var script strings.Builder

	script.WriteString("\\if :prepared\n\\else\n")

	for _, one := range statements {
		script.WriteString(one.prepare())
	}

	script.WriteString("\\set prepared 1\n\\endif\n")
	script.WriteString("\\set id :base + :n * :clients + :client_id\n\\set n :n + 1\n")
	script.WriteString(body)

	path := filepath.Join(s.dir, name+".pgbench")
	if err := os.WriteFile(path, []byte(script.String()), 0o600); err != nil {
		return nil, fmt.Errorf("writing a pgbench script: %w", err)
	}

	env, err := libpqEnvironment(s.main.url)

	return &pgbench{script: path, env: env, warmUp: s.warmUp}, err
}

// libpqEnvironment keeps the password off the command line, and has statements
// planned as the service's are.
func libpqEnvironment(databaseURL string) ([]string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("reading the database's URL: %w", err)
	}

	password, _ := u.User.Password()

	var options strings.Builder
	for name, value := range postgres.PlannerSettings() {
		fmt.Fprintf(&options, "-c %s=%s ", name, value)
	}

	return append(os.Environ(), "PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGUSER="+u.User.Username(),
		"PGPASSWORD="+password, "PGDATABASE="+strings.TrimPrefix(u.Path, "/"), "PGSSLMODE=disable", "PGOPTIONS="+options.String()), nil
}

// floorRun is what one run of pgbench saw.
type floorRun struct {
	transactions int64
	perSecond    float64
	// average latency in milliseconds
	average float64
	cpu     time.Duration
}

// run runs for a while, with ids from base on.
func (p *pgbench) run(
	ctx context.Context, clients int, base uint64, lasts time.Duration, more ...string,
) (floorRun, error) {
	command := exec.CommandContext(ctx, "pgbench", append(more, "--no-vacuum", "--protocol=simple", "--file="+p.script,
		"--client="+strconv.Itoa(clients), "--jobs=2", "--progress=1", "--time="+strconv.Itoa(int((p.warmUp+lasts).Seconds())),
		"--define=prepared=0", "--define=n=0", "--define=clients="+strconv.Itoa(clients),
		"--define=base="+strconv.FormatUint(base, 10))...)
	command.Env = p.env

	out, err := command.CombinedOutput()
	if err != nil {
		return floorRun{}, fmt.Errorf("running pgbench: %w\n%s", err, out)
	}

	run := floorRun{cpu: command.ProcessState.UserTime() + command.ProcessState.SystemTime()}

	processed, err := find(`actually processed: ([0-9]+)`, out)
	if err != nil {
		return run, err
	}

	run.transactions = int64(processed)
	run.perSecond, run.average, err = warm(out, p.warmUp)

	return run, err
}

// warm reads the progress that pgbench told each second, after the warm-up.
func warm(report []byte, warmUp time.Duration) (perSecond, average float64, err error) {
	var rates, latencies []float64

	for line := range strings.Lines(string(report)) {
		if !strings.HasPrefix(line, "progress: ") {
			continue
		}

		at, err := find(`progress: ([0-9.]+) s`, []byte(line))
		if err != nil {
			return 0, 0, err
		}

		rate, err := find(`([0-9.]+) tps`, []byte(line))
		if err != nil {
			return 0, 0, err
		}

		latency, err := find(`lat ([0-9.]+) ms`, []byte(line))
		if err != nil {
			return 0, 0, err
		}

		if at > (warmUp + time.Second/2).Seconds() {
			rates, latencies = append(rates, rate), append(latencies, latency)
		}
	}

	if len(rates) == 0 {
		return 0, 0, fmt.Errorf("%w: no progress after the warm-up in\n%s", errPgbench, report)
	}

	return middle(rates), middle(latencies), nil
}

func find(pattern string, in []byte) (float64, error) {
	found := regexp.MustCompile(pattern).FindSubmatch(in)
	if found == nil {
		return 0, fmt.Errorf("%w: no %q in\n%s", errPgbench, pattern, in)
	}

	number, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errPgbench, err)
	}

	return number, nil
}

// The SQL forms of paymentID and intentID.
const (
	sqlPaymentID = `('01990000-0000-7000-8000-' || lpad(to_hex(:id), 12, '0'))::uuid`
	sqlIntentID  = `('pi_' || lpad(:id::text, 24, '0'))`
)

// eventScript applies an event to payment :id, as a webhook does.
func eventScript(apply statement) (string, error) {
	return apply.execute(map[string]string{
		"Amount":         "1000.00",
		"Currency":       "'USD'",
		"NamedPaymentID": sqlPaymentID,
		"About":          "TRUE",
		"ObjectID":       sqlIntentID,
		"ID":             "'evt_floor' || :id",
		"ToStatus":       "'succeeded'",
		"FromStatuses":   "'{pending,failed}'",
		"Type":           "'payment_intent.succeeded'",
		"Payload":        "'" + event("evt_floor", 0, time.Unix(1_700_000_000, 0)) + "'",
		"CreatedAt":      "now()",
	})
}

// createScript operations and completes payment :id, as a create does; there is no
// provider in between.
func createScript(op, complete statement) (string, error) {
	const (
		params = "'amount=100000&automatic_payment_methods%5Benabled%5D=true&currency=usd&metadata%5Border%5D=order_1&" +
			"metadata%5Bpayment_id%5D=01990000-0000-7000-8000-000000000000'"
		body = `'{"id":"01990000-0000-7000-8000-000000000000","stripe_payment_intent_id":"pi_000000000000000000000000",` +
			`"client_secret":"pi_000000000000000000000000_secret_0000000000000000000000000","amount":1000.00,` +
			`"currency":"USD","status":"pending","created_at":"2026-01-15T10:30:00.123456Z"}'`
		// A payment that is not among the bulk-loaded ones.
		id = `('01990001-0000-7000-8000-' || lpad(to_hex(:id), 12, '0'))::uuid`
	)

	values := map[string]string{
		"IdempotencyKey":  "'order_floor_' || :id",
		"PaymentID":       id,
		"Fingerprint":     `sha256(:id::text::bytea)`,
		"Amount":          "1000.00",
		"Currency":        "'USD'",
		"Metadata":        `'{"order":"order_1"}'`,
		"StripeKey":       "'marketflow_payment_01990000-0000-7000-8000-000000000000'",
		"StripeParams":    params,
		"LeaseToken":      "gen_random_uuid()",
		"Lease":           "'3 seconds'",
		"OriginRequestID": "'6f1f0a52-7d0c-4e6e-9d0e-0d8a3a0f4c11'",
		"OriginTrace":     "'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'",
		"IntentID":        "'pi_floor' || :id",
		"Status":          "'pending'",
		"CreatedAt":       "now()",
		"Cause":           "'request'",
		"ResponseStatus":  "201",
		"ResponseBody":    body,
	}

	first, err := op.execute(values)
	if err != nil {
		return "", err
	}

	second, err := complete.execute(values)

	return first + second, err
}
