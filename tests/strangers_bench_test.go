package tests

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/internal/config"
)

// A hundred thousand wrong keys a minute, from one address or from as many as there are, must
// leave honest reads within a tenth of their speed. Rounds with and without them take turns, and
// what it costs to send them counts too, since they come from this process. On a machine that is
// busy otherwise look at the CPU that a wrong key costs. Run it with -benchtime 20x.
func BenchmarkHonestReadsAmongStrangers(b *testing.B) {
	for name, header := range map[string]func() string{
		"one address": func() string { return "" },
		"a botnet":    func() string { return "X-Forwarded-For: " + anyAddress() + "\r\n" },
	} {
		b.Run(name, func(b *testing.B) {
			var admin tenants.Made

			w := newWorld(b, func(c *config.Config) {
				c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}, withKey(b, &admin, "admin"))

			made := w.as(admin, http.MethodPost, "/payments", order)
			require.Equal(b, http.StatusCreated, made.status)

			path := "/payments/" + made.text("id")
			reads(b, w, admin, path) // warm

			var alone, among, wrong, kept, cost []float64

			for b.Loop() {
				cpu := cpuTime(b)
				quiet := reads(b, w, admin, path)
				cpuOfRead := (cpuTime(b) - cpu) / time.Duration(quiet*readsLast.Seconds())

				var sent atomic.Int64

				ctx, stop := context.WithCancel(b.Context())

				var attackers sync.WaitGroup

				attackers.Go(func() { strangers(ctx, w, 100_000/60, &sent, header) })

				cpu = cpuTime(b)
				busy := reads(b, w, admin, path)
				cpu = cpuTime(b) - cpu - cpuOfRead*time.Duration(busy*readsLast.Seconds())
				n := float64(sent.Load())
				wrong, cost = append(wrong, n/readsLast.Seconds()), append(cost, float64(cpu.Microseconds())/n)

				stop()
				attackers.Wait()

				alone, among, kept = append(alone, quiet), append(among, busy), append(kept, busy/quiet)
			}

			b.ReportMetric(median(alone), "reads/s")
			b.ReportMetric(median(among), "reads-among/s")
			b.ReportMetric(median(wrong), "wrong/s")
			b.ReportMetric(median(kept), "kept")
			b.ReportMetric(median(cost), "cpu-µs/wrong")
		})
	}
}

func median(values []float64) float64 {
	slices.Sort(values)

	return values[len(values)/2]
}

const readsLast = time.Second

// cpuTime is what this process has used: the service, and its clients.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()

	var used syscall.Rusage

	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))

	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// reads is how many reads a second a client with a key gets, over eight connections.
func reads(b *testing.B, w *world, as tenants.Made, path string) float64 {
	b.Helper()

	const connections = 8

	var (
		all  sync.WaitGroup
		done atomic.Int64
	)

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()

	begun := time.Now()

	for range connections {
		all.Go(func() {
			for time.Since(begun) < readsLast {
				r, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, w.url+path, http.NoBody)
				r.Header.Set("Authorization", "Bearer "+as.Secret.Reveal())

				if status := discard(client, r); status != http.StatusOK {
					b.Error(status)
				}

				done.Add(1)
			}
		})
	}

	all.Wait()

	return float64(done.Load()) / time.Since(begun).Seconds()
}

// strangers sends wrong keys at a constant rate, as cheaply as can be: what is measured is what
// they cost the service.
func strangers(ctx context.Context, w *world, rate int, sent *atomic.Int64, header func() string) {
	const connections = 256

	due := make(chan struct{}, rate)

	var all sync.WaitGroup

	for range connections {
		all.Go(func() {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(w.url, "http://"))
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()

			answer := make([]byte, 4096)

			for range due {
				request := "GET /payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
					tenant.NewSecret(binding.Test).Reveal() + "\r\n" + header() + "\r\n"
				if _, err := conn.Write([]byte(request)); err != nil {
					return
				}

				if _, err := conn.Read(answer); err != nil { // they are short
					return
				}

				sent.Add(1)
			}
		})
	}

	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()

	for ctx.Err() == nil {
		<-tick.C

		for range (rate + 99) / 100 {
			select {
			case due <- struct{}{}:
			default: // they are slower than that
			}
		}
	}

	close(due)
	all.Wait()
}

func anyAddress() string {
	return netip.AddrFrom4([4]byte{100, byte(rand.N(256)), byte(rand.N(256)), byte(rand.N(256))}).String()
}

func discard(client *http.Client, r *http.Request) int {
	resp, err := client.Do(r)
	if err != nil {
		return 0
	}

	defer func() { _ = resp.Body.Close() }()

	_, _ = io.Copy(io.Discard, resp.Body)

	return resp.StatusCode
}
