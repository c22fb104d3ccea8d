package sandbox

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// versions replays a journal into each key's last value.
func versions(t *testing.T, path string) (last map[string]string, lines int) {
	t.Helper()

	last = map[string]string{}

	j, err := openJournal(path, slog.New(slog.DiscardHandler), func(e entry) error {
		lines++

		if string(e.Value) == "null" {
			delete(last, e.Key)
		} else {
			last[e.Key] = string(e.Value)
		}

		return nil
	})
	require.NoError(t, err)
	require.NoError(t, j.close())

	return last, lines
}

func TestJournal_CompactionKeepsTheLastVersions(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	j, err := openJournal(path, slog.New(slog.DiscardHandler), func(entry) error { return nil })
	require.NoError(t, err)

	write := func(key string, value any) {
		var b batch

		b.put(key, value, 0)
		b.put("count/"+key, value, 0)
		require.NoError(t, j.write(&b))
	}

	for round := range 50 {
		for n := range 10 {
			write("payment/"+strconv.Itoa(n), round)
		}
	}

	write("payment/3", nil)

	// Others write while the file is rewritten.
	var writers sync.WaitGroup

	writers.Go(func() {
		for n := range 200 {
			write("late/"+strconv.Itoa(n), n)
		}
	})

	j.mu.Lock()
	prefix := j.size
	j.mu.Unlock()

	j.compact(prefix)
	require.NoError(t, j.failed)
	writers.Wait()
	require.NoError(t, j.close())

	last, lines := versions(t, path)
	require.Equal(t, "49", last["payment/7"])
	require.Equal(t, "49", last["count/payment/7"])
	require.NotContains(t, last, "payment/3")
	require.Equal(t, "199", last["late/199"])
	require.Less(t, lines, 2*10+2*200+10)
}

// What earlier runs left behind counts too: a file that is opened every day does
// not grow for ever.
func TestJournal_CompactsOverSeveralRuns(t *testing.T) {
	t.Parallel()

	const runs = 3

	path := filepath.Join(t.TempDir(), "state")
	value := strings.Repeat("v", compactFrom/runs+1)

	for range runs {
		j, err := openJournal(path, slog.New(slog.DiscardHandler), func(entry) error { return nil })
		require.NoError(t, err)

		for range 2 {
			var b batch

			b.put("payment/1", value, len(value))
			require.NoError(t, j.write(&b))
		}

		require.NoError(t, j.close())
	}

	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(compactFrom+compactFrom/2))

	last, _ := versions(t, path)
	require.Len(t, last["payment/1"], len(value)+len(`""`))
}

// A compaction that fails loses nothing: what was and what comes is in the file.
func TestJournal_GoesOnAfterAFailedCompaction(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	j, err := openJournal(path, slog.New(slog.DiscardHandler), func(entry) error { return nil })
	require.NoError(t, err)

	write := func(key string) {
		var b batch

		b.put(key, 1, 0)
		require.NoError(t, j.write(&b))
	}

	write("payment/1")

	// Where the new file would be stands a directory.
	require.NoError(t, os.Mkdir(path+".new", 0o700))
	j.compact(j.size)
	write("payment/2")

	require.NoError(t, os.Remove(path+".new"))
	j.compact(j.size)
	write("payment/3")
	require.NoError(t, j.close())

	last, _ := versions(t, path)
	delete(last, "marketflow-sandbox") // the header
	require.Equal(t, map[string]string{"payment/1": "1", "payment/2": "1", "payment/3": "1"}, last)
}

func TestJournal_StopsAfterAFailedWrite(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	j, err := openJournal(path, slog.New(slog.DiscardHandler), func(entry) error { return nil })
	require.NoError(t, err)
	require.NoError(t, j.file.Close())

	var b batch

	b.put("payment/1", 1, 0)
	require.ErrorIs(t, j.write(&b), os.ErrClosed)
}

func TestJSON_CompactIsTheSameDocument(t *testing.T) {
	t.Parallel()

	intent := &paymentIntent{
		ID: "pi_1", Status: statusRequiresAction, Metadata: metadata{{Key: `"\\ `, Value: "a \n \\\" b"}},
		methodTypes: methodTypes{Types: []string{typeOfCards}}, Method: &paymentMethod{ID: "pm_1", Card: "pm_card_visa"},
		Action: &nextAction{URL: "https://x"},
	}
	stored := rawDocument(render(intent))
	require.JSONEq(t, string(stored), string(compact(intent)))
	require.Equal(t, string(compact(intent)), string(compact(stored)))
	require.NotContains(t, string(compact(stored)), "\n")

	// An event shows a stored snapshot as it shows a live one.
	live := &event{account: &account{}, id: "evt_1", object: intent}
	restored := &event{account: &account{}, id: "evt_1", object: stored}
	require.Equal(t, string(render(live)), string(render(restored)))
}

func FuzzJSONText(f *testing.F) {
	for _, seed := range []string{"", "plain", "\"\\\n\r\t\x00\x1f\x7f", "é\u2028<&>", "\xff\xfe", "a\xc3"} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, text string) {
		w := jsonWriter{}
		w.text(text)

		var back string

		require.NoError(t, json.Unmarshal(w.buf, &back))

		// encoding/json is the second opinion, invalid UTF-8 included.
		reference, err := json.Marshal(text)
		require.NoError(t, err)

		var want string

		require.NoError(t, json.Unmarshal(reference, &want))
		require.Equal(t, want, back)
	})
}

func FuzzParseForm(f *testing.F) {
	for _, seed := range []string{
		"", "a=1", "metadata[k]=v&metadata[k]=w", "expand[]=a&expand[]=b", "expand[0]=a", "a[b][c][d]=1", "a[=1", "a]=1",
		"a[b]c=1", "=1", "&&", "%zz=1", "a=1&a[b]=2", "a[]=1&a[x]=2",
	} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, text string) {
		parsed, refused := parseForm(text)
		if refused != nil {
			require.NotEmpty(t, refused.message)

			return
		}

		// The fingerprint is a function of the parameters.
		again, _ := parseForm(text)
		require.Equal(t, parsed.fingerprint(), again.fingerprint())
		require.NotNil(t, newParams(parsed).form)
	})
}
