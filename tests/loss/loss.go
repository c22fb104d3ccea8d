package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/marketflow/marketflow/tests/scenarios/runner"
	"github.com/marketflow/marketflow/tests/servers"
)

// Options say how long and how hard.
type Options struct {
	Seed uint64
	// For is how long the clients order: a third of it before anything is lost, a third
	// of which everything is lost, and a third afterwards.
	For time.Duration
	// RPS is how many orders begin in a second.
	RPS int
	// Race and Overlay are for the build; Binary is a service that is built already.
	Race            bool
	Overlay, Binary string
	// Discard removes also what a failed drill left behind.
	Discard bool
}

// third is a third of the time.
func (o Options) third() time.Duration { return o.For / 3 }

// Result is what a drill found.
type Result struct {
	Name string
	// Figures are lines for people.
	Figures []string
	// Checks are what must hold, with how many cases were looked at.
	Checks []Check
	// Logs is the directory with the processes' logs, kept if something is broken.
	Logs string
}

// Check is one promise.
type Check struct {
	Promise string
	Looked  int
	Broken  []string
}

// Broken are all broken promises.
func (r Result) Broken() (broken []string) {
	for _, c := range r.Checks {
		for _, what := range c.Broken {
			broken = append(broken, c.Promise+": "+what)
		}
	}

	return broken
}

// Promises are those that are broken, with how often.
func (r Result) Promises() (broken []string) {
	for _, c := range r.Checks {
		if n := len(c.Broken); n > 0 {
			broken = append(broken, fmt.Sprintf("%s (%d of %d not)", c.Promise, n, c.Looked))
		}
	}

	return broken
}

// String is the table, and what is broken below it.
func (r Result) String() string {
	const most, width = 4, 400 // lines about one promise, and their length

	var b strings.Builder

	for _, figure := range r.Figures {
		fmt.Fprintf(&b, "  %s\n", figure)
	}

	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "  PROMISE\tLOOKED AT\tBROKEN\n")

	for _, c := range r.Checks {
		fmt.Fprintf(table, "  %s\t%d\t%d\n", c.Promise, c.Looked, len(c.Broken))
	}

	_ = table.Flush() // into memory

	for _, c := range r.Checks {
		for i, what := range c.Broken {
			if i == most {
				fmt.Fprintf(&b, "  … and %d more\n", len(c.Broken)-most)

				break
			}

			fmt.Fprintf(&b, "  BROKEN %s: %.*s\n", c.Promise, width, what)
		}
	}

	if len(r.Broken()) > 0 {
		fmt.Fprintf(&b, "  the processes' logs are in %s\n", r.Logs)
	}

	return b.String()
}

// drill is one way to lose the last minutes.
type drill struct {
	name, about string
	perform     func(ctx context.Context, w *world) error
}

func drills() []drill {
	return []drill{
		{"standby", "a standby that is behind is promoted under load, and the primary is gone", drillStandby},
		{"drawn", "the same while Stripe's answers and events are lost and processes die, as the seed says", drillDrawn},
		{"late", "it is promoted a day later, and some of what was lost cannot be written at first", drillLate},
		{"pitr", "a point-in-time restore as docs/operations.md says, with the processes left running", drillRestoreRunning},
		{"pitr-stopped", "the same with the processes stopped meanwhile", drillRestoreStopped},
		{"unsynced", "PostgreSQL is killed with commits that it had not written", drillUnsynced},
		{"whole", "the database is gone, and an empty one gets INSTALLATION_ID", drillWhole},
		{"copy", "a dump in another server is refused by everything", drillCopy},
		{"two", "two deployments on one Stripe account, one of which loses its last minutes", drillTwo},
		{"upgrade", "the release before is upgraded, and then the last minutes are lost", drillUpgrade},
	}
}

// Drills are the names that Drill knows.
func Drills() (names []string) {
	for _, d := range drills() {
		names = append(names, d.name)
	}

	return names
}

// Drill runs a drill.
func Drill(ctx context.Context, name string, o Options) (result Result, err error) {
	known := slices.Index(Drills(), name)
	if known < 0 {
		return result, fmt.Errorf("no drill is called %q; there are %s", name, strings.Join(Drills(), ", "))
	}

	// The server's user has to reach it.
	dir, err := os.MkdirTemp(servers.ScratchDir(), "marketflow-loss-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}

	if err != nil {
		return result, fmt.Errorf("making a directory: %w", err)
	}

	if o.Binary == "" {
		if o.Binary, err = runner.Build(ctx, dir, o.Overlay, o.Race); err != nil {
			return result, err
		}
	}

	w, err := newWorld(ctx, name, dir, o)
	if err != nil {
		return result, errors.Join(err, os.RemoveAll(dir))
	}

	err = drills()[known].perform(ctx, w)
	w.close()

	result = w.result()
	if o.Discard || err == nil && len(result.Broken()) == 0 {
		err = errors.Join(err, os.RemoveAll(dir))
	}

	return result, err
}
