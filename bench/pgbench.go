package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/marketflow/marketflow/adapters/postgres"
)

// pgbench is what the database alone can do: PostgreSQL's own load generator runs
// a script, and every statement commits for itself.
type pgbench struct {
	script string
	env    []string
	warmUp time.Duration
}

// newPgbench writes a script that prepares the statements once for each connection
// and then runs them with values, SQL expressions by argument. In these :id is a
// number that no other transaction of the run has.
func (s *suite) newPgbench(name string, statements ...pgStatement) *pgbench {
	var prepare, run strings.Builder

	for _, one := range statements {
		fmt.Fprintf(&prepare, "PREPARE %s AS %s;\n", one.name, one.text)
		fmt.Fprintf(&run, "EXECUTE %s(%s);\n", one.name, strings.Join(one.arguments, ", "))
	}

	script := "\\if :prepared\n\\else\n" + prepare.String() + "\\set prepared 1\n\\endif\n" +
		"\\set id :base + :n * :clients + :client_id\n\\set n :n + 1\n" + run.String()
	path := filepath.Join(s.dir, name+".pgbench")
	check(os.WriteFile(path, []byte(script), 0o600))

	var options strings.Builder // statements are planned as the service's are
	for name, value := range postgres.PlannerSettings() {
		fmt.Fprintf(&options, "-c %s=%s ", name, value)
	}

	// In variables, because others can read a command line and there is a password.
	db := s.main.db.Config().ConnConfig
	env := append(os.Environ(), "PGHOST="+db.Host, fmt.Sprintf("PGPORT=%d", db.Port), "PGUSER="+db.User, "PGPASSWORD="+db.Password,
		"PGDATABASE="+db.Database, "PGSSLMODE=disable", "PGOPTIONS="+options.String())

	return &pgbench{script: path, env: env, warmUp: s.warmUp}
}

// run runs the script with ids from base on, and returns the rate and the average
// latency (as p50) after the warm-up, the CPU time, and how many transactions
// there were.
func (p *pgbench) run(
	ctx context.Context, clients int, base uint64, lasts time.Duration, more ...string,
) (one sample, done int64) {
	command := exec.CommandContext(ctx, "pgbench", append(more, "--no-vacuum", "--protocol=simple", "--file="+p.script,
		"--client="+strconv.Itoa(clients), "--jobs=2", "--progress=1", "--time="+strconv.Itoa(int((p.warmUp+lasts).Seconds())),
		"--define=prepared=0", "--define=n=0", "--define=clients="+strconv.Itoa(clients),
		"--define=base="+strconv.FormatUint(base, 10))...)
	command.Env = p.env

	out, err := command.CombinedOutput()
	if err != nil {
		check(fmt.Errorf("running pgbench: %w\n%s", err, out))
	}

	var rates, latencies []float64

	// The first seconds are spent on connecting and on planning each statement on
	// each connection. The service has done both before it is measured.
	for _, line := range regexp.MustCompile(`progress: (\S+) s, (\S+) tps, lat (\S+) ms`).FindAllSubmatch(out, -1) {
		if number(line[1]) > (p.warmUp + time.Second/2).Seconds() {
			rates, latencies = append(rates, number(line[2])), append(latencies, number(line[3]))
		}
	}

	processed := regexp.MustCompile(`actually processed: (\d+)`).FindSubmatch(out)
	if len(rates) == 0 || processed == nil {
		check(fmt.Errorf("pgbench's report has another form:\n%s", out))
	}

	used := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	one[perSecond], one[p50], one[clientCPU] = middle(rates), middle(latencies), float64(used.Microseconds())

	return one, int64(number(processed[1]))
}

func number(text []byte) float64 { return must(strconv.ParseFloat(string(text), 64)) }

// pgStatement is a statement that pgbench executes.
type pgStatement struct {
	name, text string
	arguments  []string
}

// leanEvent stores an event, moves payment :id and writes the transition, and checks
// nothing else: the least that a webhook needs.
func leanEvent() pgStatement {
	return pgStatement{
		name: "LeanEvent",
		text: `WITH moved AS (
			UPDATE payments SET status = 'succeeded', updated_at = clock_timestamp()
			WHERE stripe_payment_intent_id = $2 AND status IN ('pending', 'failed')
			RETURNING id
		), stored AS (
			INSERT INTO stripe_events (id, type, object_id, payload, outcome, created_at)
			VALUES ($1, 'payment_intent.succeeded', $2, $3, 'applied', now())
		)
		INSERT INTO payment_transitions (payment_id, from_status, to_status, cause, at)
		SELECT id, 'pending', 'succeeded', $1, clock_timestamp() FROM moved`,
		arguments: []string{
			"'evt_floor' || :id", `('pi_' || lpad(:id::text, 24, '0'))`,
			"'" + event("evt_floor", 0, time.Unix(1_700_000_000, 0)) + "'",
		},
	}
}

// leanCreate begins and finishes the create of payment :id, each in a commit of its
// own, and checks nothing else; there is no provider in between.
func leanCreate() []pgStatement {
	const (
		// None of the bulk-loaded payments.
		id     = `('01990001-0000-7000-8000-' || lpad(to_hex(:id), 12, '0'))::uuid`
		params = "'amount=100000&automatic_payment_methods%5Benabled%5D=true&currency=usd&metadata%5Border%5D=order_1&" +
			"metadata%5Bpayment_id%5D=01990000-0000-7000-8000-000000000000'"
	)

	return []pgStatement{{
		name: "LeanBegin",
		text: `INSERT INTO operations (
				id, kind, idempotency_key, fingerprint, amount, currency, metadata, stripe_key, stripe_path, stripe_params,
				lease_token, leased_until, retry_at, origin_request_id, origin_trace
			)
			VALUES ($1, 'create', $2::text, sha256(convert_to($2::text, 'UTF8')), 1000.00, 'USD', '{"order":"order_1"}',
				'mf_create_01990000-0000-7000-8000-000000000000', '/v1/payment_intents', $3, gen_random_uuid(), now(), clock_timestamp(),
				'6f1f0a52-7d0c-4e6e-9d0e-0d8a3a0f4c11', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')`,
		arguments: []string{id, "'order_floor_' || :id", params},
	}, {
		name: "LeanFinish",
		text: `WITH frozen AS (
				UPDATE operations
				SET state = 'finished', response_status = 201, response_body = $4, lease_token = NULL, updated_at = now()
				WHERE id = $1
			), created AS (
				INSERT INTO payments (id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata)
				VALUES ($1, $2, $3, 1000.00, 'USD', 'pending', '{"order":"order_1"}')
			)
			INSERT INTO payment_transitions (payment_id, to_status, cause) VALUES ($1, 'pending', 'request')`,
		arguments: []string{id, "'pi_floor' || :id", "'order_floor_' || :id", "'" + replayBody + "'"},
	}}
}
