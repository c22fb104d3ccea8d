package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

// do runs one command within the timeout. While Redis is resting it fails at
// once; a rest over, one caller at a time tries again, so a dead or slow Redis
// costs one request in each rest a timeout, and the others nothing.
func (c *Client) do(ctx context.Context, command func(ctx context.Context) error) error {
	_, err := c.breaker.Execute(func() (struct{}, error) {
		err := c.once(ctx, command)
		if err != nil {
			c.cause.Store(err.Error())
		}

		return struct{}{}, err
	})

	return err //nolint:wrapcheck // ours, or the breaker's, which says what it means
}

func (c *Client) once(ctx context.Context, command func(ctx context.Context) error) (err error) {
	// A reply that is not what was asked for makes redis_rate and go-redis
	// panic: a type assertion there, a slice of a length that the reply operations
	// here. A limiter must not end a request.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading a reply of Redis: %v", r) //nolint:err113 // any panic
		}
	}()

	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	return command(ctx)
}

func (c *Client) breakerSettings(rest time.Duration) gobreaker.Settings {
	return gobreaker.Settings{
		Name:        "redis",
		MaxRequests: 1,
		Timeout:     rest,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return counts.ConsecutiveFailures >= failuresToRest
		},
		IsSuccessful:  answered,
		IsExcluded:    saysNothing,
		OnStateChange: c.logOutage,
	}
}

// answered: Redis is well, whatever it said. An error about one value must not
// let whoever wrote that value turn the limiter off; NOAUTH, LOADING, OOM,
// READONLY and their like concern every command.
func answered(err error) bool {
	if err == nil || errors.Is(err, goredis.Nil) {
		return true
	}

	reply, ok := errors.AsType[goredis.Error](err)

	return ok && (strings.HasPrefix(reply.Error(), "WRONGTYPE ") || strings.HasPrefix(reply.Error(), "ERR "))
}

// saysNothing: all connections were taken, which is a matter of our load.
func saysNothing(err error) bool { return errors.Is(err, goredis.ErrPoolTimeout) }

// logOutage tells of the first rest and of its end, not of each try between.
func (c *Client) logOutage(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed && to == gobreaker.StateOpen:
		cause, _ := c.cause.Load().(string)
		c.logger.Warn("Redis fails; going on without it and trying again now and then", zap.String("cause", cause))
	case to == gobreaker.StateClosed:
		c.logger.Info("Redis is back")
	}
}
