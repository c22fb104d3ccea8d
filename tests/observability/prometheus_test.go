package observability

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// prometheus is a real one that scrapes a service.
type prometheus struct {
	t   *testing.T
	url string
}

// tool finds one of Prometheus's programs, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()

	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s in PATH; Debian has it in the package prometheus", name)
	}

	return path
}

const prometheusConfig = `
global: { scrape_interval: 250ms, evaluation_interval: 500ms }
rule_files: [%q]
scrape_configs:
  - job_name: marketflow
    static_configs: [{ targets: [%q] }]
`

func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()

	binary := tool(t, "prometheus")
	dir := t.TempDir()
	rules, err := filepath.Abs(filepath.Join(root, "deploy/prometheus/rules/*.yml"))
	require.NoError(t, err)

	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, rules, target), 0o600))

	output, err := os.Create(filepath.Join(dir, "output"))
	require.NoError(t, err)

	addr := freeAddr(t)
	command := exec.CommandContext(t.Context(), binary,
		"--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr,
		"--enable-feature=exemplar-storage", "--log.level=warn")
	command.Stdout, command.Stderr = output, output
	require.NoError(t, command.Start())

	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = output.Close()
	})

	p := &prometheus{t: t, url: "http://" + addr}

	require.Eventually(t, func() bool {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}

		_ = resp.Body.Close()

		return resp.StatusCode == http.StatusOK
	}, 30*time.Second, 50*time.Millisecond, "Prometheus does not become ready")

	return p
}

func freeAddr(t *testing.T) string {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())

	return listener.Addr().String()
}

// ask calls Prometheus's API (https://prometheus.io/docs/prometheus/latest/querying/api/)
// and decodes its data.
func (p *prometheus) ask(path string, params url.Values, data any) error {
	p.t.Helper()

	resp, err := http.Get(p.url + path + "?" + params.Encode())
	if err != nil {
		return err
	}

	defer func() { _ = resp.Body.Close() }()

	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}

	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}

	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", params.Get("query"), answer.Error)
	}

	return nil
}

// numbers are the values that a query gives now; NaN, which no dashboard shows,
// is left out.
func (p *prometheus) numbers(query string) ([]float64, error) {
	p.t.Helper()

	var data struct {
		Result []struct{ Value [2]any }
	}

	if err := p.ask("/api/v1/query", url.Values{"query": {query}}, &data); err != nil {
		return nil, err
	}

	var numbers []float64

	for _, sample := range data.Result {
		number, err := strconv.ParseFloat(fmt.Sprint(sample.Value[1]), 64)
		if err != nil {
			return nil, err
		}

		if !math.IsNaN(number) {
			numbers = append(numbers, number)
		}
	}

	return numbers, nil
}
