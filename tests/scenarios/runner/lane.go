package runner

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

// processes is how many services a scenario runs.
const processes = 2

// template is the migrated database that each scenario's is cloned from.
const template = "scenario_template"

// lane is what scenarios use one after the other: servers take longer to start
// than a scenario takes to run.
type lane struct {
	index    int
	dir      string
	postgres *servers.Postgres
	redis    redisServer

	// wires and proxies[i] stand before process i's PostgreSQL.
	wires   [processes]*wire
	proxies [processes]*toxiproxy.Proxy
	// cache[i] stands before process i's Redis.
	cache [processes]*toxiproxy.Proxy
}

// redisServer is a redis-server or, on a machine that has none, a Redis inside this
// process, which cannot be killed.
type redisServer interface {
	Addr() string
	URL() string
}

func newLane(ctx context.Context, index int, dir string) (l *lane, err error) {
	l = &lane{index: index, dir: filepath.Join(dir, fmt.Sprintf("lane-%d", index))}

	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()

	if l.postgres, err = servers.StartPostgres(ctx, devserver.PostgresOptions{
		DataDir: filepath.Join(l.dir, "postgres"),
		Settings: map[string]string{
			"max_connections": "100", "shared_buffers": "64MB",
			// Commits survive a crash of the server without fsync, which is for a
			// crash of the machine. With fsync each start after a crash syncs every
			// file. On a slow disk that takes up to 14 s, in which the scenario's
			// other faults meet no traffic.
			"fsync": "off",
		},
	}); err != nil {
		return l, fmt.Errorf("starting PostgreSQL: %w", err)
	}

	if err := l.startRedis(ctx); err != nil {
		return l, err
	}

	if err := l.makeTemplate(ctx); err != nil {
		return l, err
	}

	return l, l.startProxies(ctx)
}

func (l *lane) startRedis(ctx context.Context) error {
	server, err := servers.StartRedis(ctx)
	if err == nil {
		l.redis = server

		return nil
	}

	if !errors.Is(err, servers.ErrNoRedisServer) {
		return fmt.Errorf("starting Redis: %w", err)
	}

	if l.redis, err = devserver.StartRedis(); err != nil {
		return fmt.Errorf("starting Redis: %w", err)
	}

	return nil
}

func (l *lane) makeTemplate(ctx context.Context) error {
	if err := l.admin(ctx, "CREATE DATABASE "+template); err != nil {
		return err
	}

	if err := postgres.Migrate(ctx, l.databaseURL("127.0.0.1:"+strconv.Itoa(l.postgres.Port), template)); err != nil {
		return fmt.Errorf("migrating the template: %w", err)
	}

	return nil
}

func (l *lane) startProxies(ctx context.Context) error {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())

	for i := range processes {
		var err error
		if l.wires[i], err = newWire(ctx, "127.0.0.1:"+strconv.Itoa(l.postgres.Port)); err != nil {
			return err
		}

		l.proxies[i] = toxiproxy.NewProxy(server, fmt.Sprintf("postgres-%d", i), "127.0.0.1:0", l.wires[i].addr())
		l.cache[i] = toxiproxy.NewProxy(server, fmt.Sprintf("redis-%d", i), "127.0.0.1:0", l.redis.Addr())

		for _, proxy := range []*toxiproxy.Proxy{l.proxies[i], l.cache[i]} {
			if err := proxy.Start(); err != nil {
				return fmt.Errorf("starting proxy %s: %w", proxy.Name, err)
			}
		}
	}

	return nil
}

func (l *lane) databaseURL(hostPort, name string) string {
	u, err := url.Parse(l.postgres.URL())
	if err != nil {
		panic(err) // it made the URL itself
	}

	u.Host, u.Path = hostPort, "/"+name

	return u.String()
}

// redisURL is process i's way to Redis.
func (l *lane) redisURL(i int) string {
	return strings.Replace(l.redis.URL(), l.redis.Addr(), l.cache[i].Listen, 1)
}

// admin runs a statement on the server's own database.
func (l *lane) admin(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, l.postgres.URL())
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}

	defer func() { _ = conn.Close(ctx) }()

	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}

	return nil
}

// createDatabase clones the template.
func (l *lane) createDatabase(ctx context.Context, name string) error {
	return l.admin(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template))
}

func (l *lane) dropDatabase(ctx context.Context, name string) error {
	return l.admin(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name))
}

// heal undoes whatever faults have done to the lane.
func (l *lane) heal(ctx context.Context) error {
	for i := range processes {
		l.wires[i].clear()

		for _, proxy := range []*toxiproxy.Proxy{l.proxies[i], l.cache[i]} {
			proxy.Toxics.ResetToxics(ctx)

			if err := proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
				return fmt.Errorf("bringing proxy %s back: %w", proxy.Name, err)
			}
		}
	}

	if !l.postgres.Running() {
		if err := l.postgres.Restart(ctx, servers.ShutdownFast); err != nil {
			return fmt.Errorf("bringing PostgreSQL back: %w", err)
		}
	}

	return nil
}

func (l *lane) close() error {
	const patience = 20 * time.Second

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	var err error

	for i := range processes {
		for _, proxy := range []*toxiproxy.Proxy{l.proxies[i], l.cache[i]} {
			if proxy != nil {
				proxy.Stop()
			}
		}

		if l.wires[i] != nil {
			l.wires[i].close()
		}
	}

	switch redis := l.redis.(type) {
	case *servers.Redis:
		err = errors.Join(err, redis.Stop())
	case *devserver.Redis:
		redis.Stop()
	}

	if l.postgres != nil {
		err = errors.Join(err, l.postgres.Stop(ctx))
	}

	return errors.Join(err, os.RemoveAll(filepath.Join(l.dir, "postgres")))
}
