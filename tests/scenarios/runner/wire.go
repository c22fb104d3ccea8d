package runner

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
)

// wire is a proxy between one process and PostgreSQL. It reads the protocol
// (PostgreSQL, "Message Formats"), so that something can happen exactly when a
// named statement passes: before the server has seen it, or once the server has
// committed it and before the client has the answer.
type wire struct {
	listener net.Listener
	upstream string

	mu    sync.Mutex
	traps []*trap
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// side is when a trap springs.
type side int

const (
	// before: the server has not seen the statement.
	before side = iota
	// after: the server has finished it, and the answer is withheld.
	after
)

// verdict is what becomes of the connection at a trap.
type verdict struct {
	// cut closes the connection: the client never learns.
	cut bool
	// sqlState, with before, answers that error; the server sees nothing.
	sqlState string
}

// trap waits for a statement.
type trap struct {
	// statement is its sqlc name in the singular, or its first word in lower case.
	statement string
	// holds is a text that the client's messages hold; empty for any.
	holds string
	when  side
	// left is how many more times the trap springs.
	left int
	// spring is called on the connection's goroutine.
	spring func() verdict
}

func newWire(ctx context.Context, upstream string) (*wire, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening in front of PostgreSQL: %w", err)
	}

	w := &wire{listener: listener, upstream: upstream, conns: map[net.Conn]struct{}{}}
	w.wg.Go(w.accept)

	return w, nil
}

func (w *wire) addr() string { return w.listener.Addr().String() }

// arm sets a trap; the returned function takes it away.
func (w *wire) arm(t *trap) (disarm func()) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.traps = append(w.traps, t)

	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()

		t.left = 0
	}
}

// asked is a batch of the client's that was handed to the server.
type asked struct {
	// statement is the name of its first statement that is not its BEGIN.
	statement string
	messages  []byte
}

// find returns a trap that waits for the batch, or nil, and takes that many uses off what
// it has left.
func (w *wire) find(batch asked, when side, uses int) *trap {
	w.mu.Lock()
	defer w.mu.Unlock()

	for _, t := range w.traps {
		if t.left > 0 && t.when == when && t.statement == batch.statement && bytes.Contains(batch.messages, []byte(t.holds)) {
			t.left -= uses

			return t
		}
	}

	return nil
}

// sprung finds a trap for the batch and uses it up.
func (w *wire) sprung(batch asked, when side) *trap { return w.find(batch, when, 1) }

// set tells whether a trap waits, without using it up.
func (w *wire) set(batch asked, when side) bool { return w.find(batch, when, 0) != nil }

// waits tells whether any trap waits for a statement's answer.
func (w *wire) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.ContainsFunc(w.traps, func(t *trap) bool { return t.left > 0 && t.when == after })
}

func (w *wire) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()

	for _, t := range w.traps {
		t.left = 0
	}

	w.traps = nil
}

func (w *wire) close() {
	_ = w.listener.Close()

	w.mu.Lock()
	for conn := range w.conns {
		_ = conn.Close()
	}
	w.mu.Unlock()

	w.wg.Wait()
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}

		w.wg.Go(func() { w.serve(client) })
	}
}

func (w *wire) serve(client net.Conn) {
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", w.upstream)
	if err != nil {
		_ = client.Close()

		return
	}

	s := &session{
		wire: w, client: client, server: server, names: map[string]string{},
		fromClient: bufio.NewReader(client), fromServer: bufio.NewReader(server),
	}

	w.mu.Lock()
	w.conns[client], w.conns[server] = struct{}{}, struct{}{}
	w.mu.Unlock()

	defer func() {
		s.cut()
		w.mu.Lock()
		delete(w.conns, client)
		delete(w.conns, server)
		w.mu.Unlock()
	}()

	w.wg.Go(func() {
		defer s.cut()

		_ = s.answers()
	})

	_ = s.questions()
}

// session is one connection.
type session struct {
	wire                   *wire
	client, server         net.Conn
	fromClient, fromServer *bufio.Reader

	// names are what nameOf calls the prepared statements.
	names map[string]string

	mu sync.Mutex
	// inFlight are the batches that wait for ReadyForQuery, the oldest first.
	inFlight []asked
	// transaction is the transaction's state in the server's last ReadyForQuery.
	transaction byte
}

func (s *session) cut() {
	_ = s.client.Close()
	_ = s.server.Close()
}

var errCut = errors.New("cut")

// questions carries the client's messages, one batch (up to Sync or a simple
// Query) at a time.
func (s *session) questions() error {
	first, err := readBody(s.fromClient, nil) // the start-up message has no type byte
	if err != nil {
		return err
	}

	if _, err := s.server.Write(first); err != nil {
		return fmt.Errorf("forwarding the start: %w", err)
	}

	var (
		batch     []byte
		statement string
	)

	for {
		kind, message, err := readMessage(s.fromClient)
		if err != nil {
			return err
		}

		batch = append(batch, message...)

		name, err := s.statement(kind, message[5:])
		if err != nil {
			return err
		}

		if name != "" && (statement == "" || statement == "begin") {
			statement = name
		}

		if strings.IndexByte("PBDEC", kind) >= 0 { // Parse, Bind, Describe, Execute, Close: a Sync follows
			continue
		}

		if err := s.ask(kind, asked{statement, batch}); err != nil {
			return err
		}

		batch, statement = nil, ""
	}
}

// statement is the name of what a message executes, or "". It keeps the names of
// what is prepared.
func (s *session) statement(kind byte, body []byte) (name string, err error) {
	switch kind {
	case 'P':
		var parse pgproto3.Parse

		err = parse.Decode(body)
		s.names[parse.Name] = nameOf(parse.Query)
	case 'B':
		var bind pgproto3.Bind

		err = bind.Decode(body)
		name = s.names[bind.PreparedStatement]
	case 'Q':
		var query pgproto3.Query

		err = query.Decode(body)
		name = nameOf(query.String)
	}

	if err != nil {
		return "", fmt.Errorf("reading a message: %w", err)
	}

	return name, nil
}

// ask hands a batch to the server, unless a trap says otherwise.
func (s *session) ask(kind byte, batch asked) error {
	if t := s.wire.sprung(batch, before); t != nil && batch.statement != "" {
		switch v := t.spring(); {
		case v.cut:
			return errCut
		case v.sqlState != "":
			return s.answerError(v.sqlState)
		}
	}

	if kind == 'S' || kind == 'Q' {
		flying := batch
		if !s.wire.waits() {
			flying.messages = nil // nobody will ask for them
		}

		s.mu.Lock()
		s.inFlight = append(s.inFlight, flying)
		s.mu.Unlock()
	}

	if _, err := s.server.Write(batch.messages); err != nil {
		return fmt.Errorf("forwarding a batch: %w", err)
	}

	return nil
}

// answerError answers an error in the server's place.
func (s *session) answerError(sqlState string) error {
	s.mu.Lock()
	state := s.transaction
	s.mu.Unlock()

	if state == 'T' {
		state = 'E' // inside a transaction an error fails it
	}

	made := pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: sqlState, Message: "made by the scenario"}

	answer, err := made.Encode(nil)
	if err == nil {
		answer, err = (&pgproto3.ReadyForQuery{TxStatus: state}).Encode(answer)
	}

	if err == nil {
		_, err = s.client.Write(answer)
	}

	if err != nil {
		return fmt.Errorf("answering an error: %w", err)
	}

	return nil
}

// answers carries the server's messages. While a trap waits for a statement's
// answer, nothing of the answer goes to the client.
func (s *session) answers() error {
	var held []byte

	for {
		kind, message, err := readMessage(s.fromServer)
		if err != nil {
			return err
		}

		if kind == 'Z' {
			batch := s.answered(message[5])
			held = append(held, message...)

			if t := s.wire.sprung(batch, after); t != nil && batch.statement != "" {
				if t.spring().cut {
					return errCut
				}
			}
		} else if held = append(held, message...); s.fromServer.Buffered() > 0 || s.wire.set(s.oldest(), after) {
			continue
		}

		if _, err := s.client.Write(held); err != nil {
			return fmt.Errorf("forwarding an answer: %w", err)
		}

		held = held[:0]
	}
}

func (s *session) oldest() asked {
	s.mu.Lock()
	defer s.mu.Unlock()

	if len(s.inFlight) == 0 {
		return asked{}
	}

	return s.inFlight[0]
}

func (s *session) answered(state byte) asked {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.transaction = state

	if len(s.inFlight) == 0 {
		return asked{}
	}

	batch := s.inFlight[0]
	s.inFlight = s.inFlight[1:]

	return batch
}

// nameOf is the name that sqlc's comment gives a statement, or its first word. It
// turns a plural into the singular: the statements that do one do many.
func nameOf(sql string) string {
	rest, named := strings.CutPrefix(sql, "-- name: ")
	word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")

	if !named {
		return strings.ToLower(strings.TrimRight(word, ";"))
	}

	return strings.TrimSuffix(word, "s")
}

const maxMessage = 64 << 20

func readMessage(r io.Reader) (kind byte, message []byte, err error) {
	head := make([]byte, 1)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, fmt.Errorf("reading a message: %w", err)
	}

	message, err = readBody(r, head)

	return head[0], message, err
}

func readBody(r io.Reader, head []byte) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(r, size); err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}

	length := binary.BigEndian.Uint32(size)
	if length < 4 || length > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}

	whole := make([]byte, len(head)+int(length))
	copy(whole, head)
	copy(whole[len(head):], size)

	if _, err := io.ReadFull(r, whole[len(head)+4:]); err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}

	return whole, nil
}
