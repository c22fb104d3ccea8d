package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// connection is one keep-alive HTTP/1.1 connection (RFC 9112). The generator
// shares its cores with what it measures, so it writes requests that are bytes
// already and reads no more of an answer than it must: a tenth of what
// net/http's client costs.
type connection struct {
	net.Conn

	reader *bufio.Reader
	body   []byte
}

// answer is a response. Its body is valid until the next exchange.
type answer struct {
	status int
	body   []byte
}

// exchangeTimeout is far above every time-out of the service.
const exchangeTimeout = 30 * time.Second

var (
	errFraming = errors.New("the answer has no Content-Length")
	errStatus  = errors.New("unexpected status")
)

func dial(ctx context.Context, addr string) (*connection, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}

	return &connection{Conn: conn, reader: bufio.NewReaderSize(conn, 8<<10)}, nil
}

// exchange sends a request and reads its answer.
func (c *connection) exchange(request []byte) (answer, error) {
	if err := c.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return answer{}, fmt.Errorf("setting the deadline: %w", err)
	}

	if _, err := c.Write(request); err != nil {
		return answer{}, fmt.Errorf("sending a request: %w", err)
	}

	status, length, err := c.head()
	if err != nil {
		return answer{}, err
	}

	if cap(c.body) < length {
		c.body = make([]byte, length)
	}

	c.body = c.body[:length]
	if _, err := io.ReadFull(c.reader, c.body); err != nil {
		return answer{}, fmt.Errorf("reading a body: %w", err)
	}

	return answer{status: status, body: c.body}, nil
}

// head reads the status line and the fields up to the body.
func (c *connection) head() (status, length int, err error) {
	length = -1

	for first := true; ; first = false {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, 0, fmt.Errorf("reading an answer: %w", err)
		}

		switch {
		case first && len(line) > len("HTTP/1.1 200"):
			status, err = strconv.Atoi(string(line[9:12]))
		case len(line) <= len("\r\n"):
			if length < 0 {
				return 0, 0, errFraming
			}

			return status, length, nil
		default:
			if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
		}

		if err != nil {
			return 0, 0, fmt.Errorf("reading an answer's head: %w", err)
		}
	}
}
