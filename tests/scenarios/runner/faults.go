package runner

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is one way to go wrong.
type fault struct {
	name string
	// play makes it happen within ctx, counts each time that it really did, and
	// leaves nothing behind that heal does not undo.
	play func(ctx context.Context, w *world, r *rand.Rand)
	// last: it moves time, so it is played when the clients have stopped.
	last bool
}

// faultClientGone: a client disconnects. It is part of every workload.
const faultClientGone = "client hangs up"

// catalogue holds every fault that scenarios are dealt, by name.
func catalogue() map[string]fault {
	all := map[string]fault{}

	for _, group := range [][]fault{
		stripeFaults(), webhookFaults(), processFaults(), postgresFaults(), redisFaults(), timeFaults(),
	} {
		for _, f := range group {
			if _, twice := all[f.name]; twice {
				panic("two faults are called " + f.name)
			}

			all[f.name] = f
		}
	}

	return all
}

// deal gives a scenario its faults: a deck of all of them is shuffled and dealt
// out, so that each comes up equally often. Which ones a scenario gets depends on
// the seed and its number alone.
func deal(names []string, seed uint64, number, hand int) []string {
	names = slices.Sorted(slices.Values(names))
	hand = min(hand, len(names))
	dealt := make([]string, 0, hand)

	for i := number * hand; i < (number+1)*hand; i++ {
		deck := slices.Clone(names)
		r := rand.New(rand.NewPCG(seed, uint64(i/len(names))))
		r.Shuffle(len(deck), func(a, b int) { deck[a], deck[b] = deck[b], deck[a] })

		dealt = append(dealt, deck[i%len(names)])
	}

	slices.Sort(dealt)

	return slices.Compact(dealt)
}

// Kinds is how many kinds of faults scenarios are dealt.
func Kinds() int { return len(faultNames()) }

func faultNames() []string { return slices.Sorted(maps.Keys(catalogue())) }

// soon waits a little: traffic is under way then, and more follows.
func soon(ctx context.Context, r *rand.Rand) { wait(ctx, time.Duration(r.IntN(600))*time.Millisecond) }

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}
