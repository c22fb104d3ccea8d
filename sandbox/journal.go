package sandbox

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// journal is the state file: a line of JSON for each committed change, holding
// all that changed with it, so that a change is in the file wholly or not at
// all. It is written before the answer goes out, which is what surviving a
// SIGKILL takes; it is not synced to the disk, so a power cut may cost the last
// moments.
type journal struct {
	path string
	lock *os.File
	log  *slog.Logger

	mu      sync.Mutex
	file    *os.File
	size    int64
	dead    int64 // how much of it are versions that later ones replace
	busy    bool  // a compaction is under way
	running sync.WaitGroup
	failed  error
}

// entry is one object's new version; a null value deletes the key.
type entry struct {
	Key   string          `json:"k"`
	Value json.RawMessage `json:"v"`
}

const (
	// journalHeader is the first line, so that no other file is taken for one.
	journalHeader = `[{"k":"marketflow-sandbox","v":1}]` + "\n"
	// A journal is compacted once this much of it, and half of it, is dead.
	compactFrom   = 16 << 20
	compactShare  = 2
	stateFileMode = 0o600
)

var errNotAState = errors.New("not a state file of the sandbox")

// openJournal opens or makes a state file and replays it, oldest line first.
func openJournal(path string, log *slog.Logger, replay func(entry) error) (*journal, error) {
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}

	j := &journal{path: path, lock: lock, log: log}

	if err := j.open(replay); err != nil {
		return nil, errors.Join(err, j.close())
	}

	return j, nil
}

func (j *journal) open(replay func(entry) error) error {
	file, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, stateFileMode)
	if err != nil {
		return fmt.Errorf("opening the state file: %w", err)
	}

	j.file = file

	sizes := map[string]int{} // of each object's version so far

	whole, err := readJournal(file, func(e entry) error {
		j.dead += int64(sizes[e.Key])
		sizes[e.Key] = len(e.Value)

		return replay(e)
	})
	if err != nil {
		return fmt.Errorf("replaying the state file %s: %w", j.path, err)
	}

	// What follows the last whole line is a write that a kill cut short: its
	// request was never answered.
	if err := file.Truncate(whole); err != nil {
		return fmt.Errorf("cutting the state file's torn end: %w", err)
	}

	if _, err := file.Seek(whole, io.SeekStart); err != nil {
		return fmt.Errorf("going to the state file's end: %w", err)
	}

	j.size = whole
	if whole == 0 {
		j.append([]byte(journalHeader))
	}

	return j.failed
}

// readJournal reads lines and returns how many bytes of whole lines there are.
func readJournal(from io.Reader, each func(entry) error) (whole int64, err error) {
	reader := bufio.NewReaderSize(from, maxBody)

	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if whole == 0 && !strings.HasPrefix(journalHeader, string(line)) {
				return 0, errNotAState
			}

			return whole, nil
		}

		if err != nil {
			return whole, fmt.Errorf("reading: %w", err)
		}

		if whole == 0 && string(line) != journalHeader {
			return 0, errNotAState
		}

		if err := readLine(line, whole, each); err != nil {
			return whole, err
		}

		whole += int64(len(line))
	}
}

func readLine(line []byte, offset int64, each func(entry) error) error {
	var entries []entry

	if err := json.Unmarshal(line, &entries); err != nil {
		return fmt.Errorf("at byte %d: %w", offset, err)
	}

	for _, e := range entries {
		if err := each(e); err != nil {
			return fmt.Errorf("at byte %d: %s: %w", offset, e.Key, err)
		}
	}

	return nil
}

// batch is what is written as one line.
type batch struct {
	text bytes.Buffer
	dead int // the size of the versions that these replace
	err  error
}

// put adds an object's new version, which replaces one of the given size, and
// returns its own size.
func (b *batch) put(key string, value any, replaces int) (size int) {
	text, err := json.Marshal(value)
	b.err = errors.Join(b.err, err)
	b.dead += replaces

	if b.text.Len() == 0 {
		b.text.WriteByte('[')
	} else {
		b.text.WriteByte(',')
	}

	b.text.WriteString(`{"k":`)
	b.text.Write(compactString(key))
	b.text.WriteString(`,"v":`)
	b.text.Write(text)
	b.text.WriteByte('}')

	return len(text)
}

func compactString(s string) []byte {
	w := jsonWriter{}
	w.text(s)

	return w.buf
}

// write appends a batch as one line.
func (j *journal) write(b *batch) error {
	if b.err != nil {
		return fmt.Errorf("encoding the state: %w", b.err)
	}

	if b.text.Len() == 0 {
		return nil
	}

	b.text.WriteString("]\n")

	j.mu.Lock()
	defer j.mu.Unlock()

	j.append(b.text.Bytes())
	j.dead += int64(b.dead)

	if j.dead > compactFrom && j.dead > j.size/compactShare && !j.busy && j.failed == nil {
		j.busy = true
		prefix := j.size

		j.running.Go(func() { j.compact(prefix) })
	}

	return j.failed
}

// append writes to the file's end. After an error nothing more is written: a
// line after a torn one could not be read back. The caller holds the lock.
func (j *journal) append(line []byte) {
	if j.failed != nil {
		return
	}

	written, err := j.file.Write(line)
	j.size += int64(written)

	if err != nil {
		j.failed = fmt.Errorf("writing the state file: %w", err)
	}
}

// compact rewrites the first bytes of the journal with each object's last
// version alone. Requests go on meanwhile: what they append is copied over at
// the end. Where it fails, on a full disk say, the file is as good as before and
// only larger; it is tried again once as much again is dead.
func (j *journal) compact(prefix int64) {
	err := j.rewrite(prefix)

	j.mu.Lock()
	defer j.mu.Unlock()

	j.busy = false

	if err != nil {
		j.dead = 0
		j.log.Warn("the state file was not compacted", "error", err)
	}
}

func (j *journal) rewrite(prefix int64) error {
	old, err := os.Open(j.path) //nolint:gosec // the operator's own file
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}

	defer func() { _ = old.Close() }() // it was only read

	fresh, err := os.OpenFile(j.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, stateFileMode) //nolint:gosec // the operator's file
	if err != nil {
		return fmt.Errorf("making the new file: %w", err)
	}

	err = copyLast(fresh, old, prefix)
	if err == nil {
		err = j.swap(fresh, old, prefix)
	}

	if err != nil {
		return errors.Join(err, fresh.Close(), os.Remove(fresh.Name())) //nolint:gosec // made above
	}

	return nil
}

// copyLast writes the last version of each object within the prefix.
func copyLast(to io.Writer, from io.ReadSeeker, prefix int64) error {
	last, count := map[string]int{}, 0

	_, err := readJournal(io.LimitReader(from, prefix), func(e entry) error {
		last[e.Key] = count
		count++

		return nil
	})
	if err != nil {
		return err
	}

	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("going back to the beginning: %w", err)
	}

	out := bufio.NewWriterSize(to, maxBody)
	count = 0

	_, err = readJournal(io.LimitReader(from, prefix), func(e entry) error {
		current := last[e.Key] == count
		count++

		if !current || string(e.Value) == "null" {
			return nil
		}

		line, err := json.Marshal([]entry{e})
		if err != nil {
			return fmt.Errorf("encoding: %w", err)
		}

		_, err = out.Write(append(line, '\n'))

		return err //nolint:wrapcheck // readLine says where
	})
	if err != nil {
		return err
	}

	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}

	return nil
}

// swap adds what was appended since the prefix and puts the new file in place.
func (j *journal) swap(fresh, old *os.File, prefix int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()

	if _, err := old.Seek(prefix, io.SeekStart); err != nil {
		return fmt.Errorf("going to what was appended: %w", err)
	}

	if _, err := io.Copy(fresh, old); err != nil {
		return fmt.Errorf("copying what was appended: %w", err)
	}

	size, err := fresh.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("going to the end: %w", err)
	}

	if err := fresh.Sync(); err != nil {
		return fmt.Errorf("syncing: %w", err)
	}

	if err := os.Rename(fresh.Name(), j.path); err != nil { //nolint:gosec // the operator's own file
		return fmt.Errorf("renaming: %w", err)
	}

	_ = j.file.Close() // nothing is read from it any more
	j.file, j.size, j.dead = fresh, size, 0

	return nil
}

// close waits for a compaction and closes the file.
func (j *journal) close() error {
	j.running.Wait()

	j.mu.Lock()
	defer j.mu.Unlock()

	var err error
	if j.file != nil {
		err = j.file.Close()
	}

	if err := errors.Join(err, unlockFile(j.lock)); err != nil {
		return fmt.Errorf("closing the state file: %w", err)
	}

	return nil
}
