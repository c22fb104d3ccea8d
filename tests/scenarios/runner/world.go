package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/servers"
)

const (
	secretKey     = "sk_test_51ScenariosScenarios"
	anotherKey    = "sk_test_51AnotherAnother"
	webhookSecret = "whsec_ScenariosScenariosScenariosScenarios"
	// anotherAccount is somebody else's; nothing of ours may ever be there.
	anotherAccount = "acct_1AnotherAccount"
)

// world is what one scenario has to itself.
type world struct {
	lane    *lane
	name    string
	dir     string
	line    *timeline
	history *history
	work    *workload
	// patience bounds each wait for quiet.
	patience time.Duration
	database string

	stripe    *sandbox.Sandbox
	processes [processes]*process
	doors     [processes]*stripeDoor
	balancer  *balancer
	fronts    []*listening
	// own is the runner's way to the sandbox, with the key in it; no fault is in between.
	own string

	// kept are the processes' addresses, also while they are down.
	kept []servers.Addr

	client *http.Client
	db     *pgxpool.Pool
	logs   []*os.File

	// machine is held while a fault ends, stops or starts processes or PostgreSQL,
	// so that two faults do not undo each other.
	machine sync.Mutex

	// signature is held by the rule that spoils webhooks' signatures at the moment.
	signature sync.Mutex

	once  sync.Once
	mu    sync.Mutex
	fired map[string]int
	// twoAtOnce are payments, disputes and customers of which two operations were under way at the same time.
	twoAtOnce []string
	// overPromised are payments of which more was to be given back than was captured.
	overPromised []string
	// drawn are the events that the runner has made up to contradict the records, and
	// whether they were accepted.
	drawn map[string]bool
	// hooks is where Stripe sends its events.
	hooks string
}

// newWorld starts everything; settings are further environment variables of the services.
func newWorld(ctx context.Context, l *lane, binary, name string, settings ...string) (w *world, err error) {
	w = &world{
		lane: l, name: name, patience: quietWithin, dir: filepath.Join(l.dir, name), line: newTimeline(), history: &history{},
		database: "marketflow_" + strings.ReplaceAll(name, "-", "_"), fired: map[string]int{},
		drawn:  map[string]bool{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 15 * time.Second},
	}

	defer func() {
		if err != nil {
			w.close()
		}
	}()

	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return w, fmt.Errorf("making the scenario's directory: %w", err)
	}

	if err := w.lane.heal(ctx); err != nil {
		return w, err
	}

	if err := l.createDatabase(ctx, w.database); err != nil {
		return w, err
	}

	direct := l.databaseURL(fmt.Sprintf("127.0.0.1:%d", l.postgres.Port), w.database)
	if w.db, err = pgxpool.New(ctx, direct); err != nil {
		return w, fmt.Errorf("opening the scenario's database: %w", err)
	}

	if err := w.startStripe(ctx); err != nil {
		return w, err
	}

	return w, w.startProcesses(ctx, binary, settings)
}

func (w *world) startStripe(ctx context.Context) error {
	var err error
	if w.stripe, err = sandbox.New(sandbox.Options{
		Accounts: []sandbox.Account{
			{ID: sandbox.DefaultAccount, Keys: []string{secretKey}},
			{ID: anotherAccount, Keys: []string{anotherKey}},
		},
		// Quicker than Stripe, so that a scenario is quiet within seconds.
		WebhookTimeout: 6 * time.Second, RetryBase: 100 * time.Millisecond, RetryMax: time.Second,
		ProcessingTime: time.Second,
	}); err != nil {
		return fmt.Errorf("starting the sandbox: %w", err)
	}

	own, err := w.front(ctx, w.stripe)
	if err != nil {
		return err
	}

	w.own = strings.Replace(own, "//", "//"+secretKey+":@", 1) // basic authentication

	return nil
}

func (w *world) front(ctx context.Context, handler http.Handler) (string, error) {
	l, err := listen(ctx, handler)
	if err != nil {
		return "", err
	}

	w.fronts = append(w.fronts, l)

	return l.url, nil
}

func (w *world) startProcesses(ctx context.Context, binary string, settings []string) error {
	var targets []string

	// One host, as the database is bound to it, and a path for each process.
	doors := http.NewServeMux()

	stripeURL, err := w.front(ctx, doors)
	if err != nil {
		return err
	}

	for i := range processes {
		kept, err := servers.KeepAddr(ctx)
		if err != nil {
			return fmt.Errorf("finding an address for the service: %w", err)
		}

		w.kept = append(w.kept, kept)
		addr := kept.HostPort

		w.doors[i] = &stripeDoor{sandbox: w.stripe, waiting: map[*http.Request]time.Time{}, calls: map[call]int{}}

		path := fmt.Sprintf("/process-%d", i)
		doors.Handle(path+"/", http.StripPrefix(path, w.doors[i]))

		log, err := os.OpenFile(filepath.Join(w.dir, fmt.Sprintf("process-%d.log", i)),
			os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("opening the service's log: %w", err)
		}

		w.logs = append(w.logs, log)
		w.processes[i] = startProcess(&process{
			index: i, addr: addr, binary: binary, log: log, line: w.line,
			env: append(w.environment(i, addr, stripeURL+path), settings...),
		})
		targets = append(targets, addr)
	}

	w.balancer = newBalancer(targets)

	hooks, err := w.front(ctx, w.balancer)
	if err != nil {
		return err
	}

	w.hooks = hooks + "/webhooks/stripe"
	w.stripe.AddWebhook(w.hooks, webhookSecret)

	return w.ready(ctx)
}

func (w *world) environment(i int, addr, stripeURL string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir,
		"HTTP_ADDR=" + addr,
		"DATABASE_URL=" + w.lane.databaseURL(w.lane.proxies[i].Listen, w.database),
		"DATABASE_MAX_CONNS=8",
		"REDIS_URL=" + w.lane.redisURL(i),
		"RATE_LIMIT=10000", // more than the clients send, so that requests ask Redis and pass
		"STRIPE_API_BASE=" + stripeURL,
		"STRIPE_SECRET_KEY=" + secretKey,
		"STRIPE_WEBHOOK_SECRET=" + webhookSecret,
		"AUTH=off",
		"DRAIN_DELAY=0",
		"METADATA_INDEX=note,tag",
		// Less than the 8 s of production, so that a call that hangs does not
		// take a whole scenario.
		"STRIPE_TIMEOUT=2s",
		"GORACE=halt_on_error=1 exitcode=66",
	}
}

func (w *world) ready(ctx context.Context) error {
	const patience = 30 * time.Second

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	var err error
	for _, p := range w.processes {
		err = errors.Join(err, p.ready(ctx))
	}

	return err
}

// heal stops every fault and waits until both processes serve.
func (w *world) heal(ctx context.Context) error {
	w.machine.Lock()
	defer w.machine.Unlock()

	w.stripe.ClearFaults()

	if err := w.lane.heal(ctx); err != nil {
		return err
	}

	w.line.addf("runner", "all faults have stopped")

	return w.ready(ctx)
}

// count notes that a fault has happened n times.
func (w *world) count(fault string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.fired[fault] += n
}

// times is how often a fault has happened.
func (w *world) times(fault string) int {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.fired[fault]
}

// close ends everything; closing again does nothing.
func (w *world) close() { w.once.Do(w.closeAll) }

func (w *world) closeAll() {
	for _, p := range w.processes {
		if p != nil {
			p.stop()
		}
	}

	for _, addr := range w.kept {
		addr.Release()
	}

	if w.stripe != nil {
		w.stripe.ClearFaults()
	}

	for _, front := range w.fronts {
		front.close()
	}

	if w.stripe != nil {
		_ = w.stripe.Close()
	}

	if w.db != nil {
		w.db.Close()
	}

	for _, log := range w.logs {
		_ = log.Close()
	}

	w.client.CloseIdleConnections()
}

// forget removes what is kept only of a failed scenario.
func (w *world) forget(ctx context.Context) error {
	return errors.Join(w.lane.dropDatabase(ctx, w.database), os.RemoveAll(w.dir))
}

// log is what a process has logged.
func (w *world) log(i int) []byte {
	log, err := os.ReadFile(filepath.Join(w.dir, fmt.Sprintf("process-%d.log", i)))
	if err != nil {
		return []byte(err.Error())
	}

	return log
}

// logTail is the end of a process's log.
func (w *world) logTail(i, lines int) []byte {
	all := bytes.Split(bytes.TrimSpace(w.log(i)), []byte("\n"))

	return bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))
}
