package observability

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/marketflow/marketflow/internal/config"
)

// root is the repository's.
const root = "../.."

func read(t *testing.T, path string) []byte {
	t.Helper()

	content, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)

	return content
}

// files are those that match, relative to the repository's root.
func files(t *testing.T, pattern string) []string {
	t.Helper()

	found, err := filepath.Glob(filepath.Join(root, pattern))
	require.NoError(t, err)
	require.NotEmpty(t, found, pattern)

	for i := range found {
		found[i], err = filepath.Rel(root, found[i])
		require.NoError(t, err)
	}

	return found
}

// rule is one of Prometheus's.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()

	var all []rule

	for _, path := range files(t, "deploy/prometheus/rules/*.yml") {
		var file struct{ Groups []struct{ Rules []rule } }

		require.NoError(t, yaml.Unmarshal(read(t, path), &file), path)

		for _, group := range file.Groups {
			all = append(all, group.Rules...)
		}
	}

	return all
}

// panel is one of a dashboard's.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	Targets     []struct {
		Expr, LegendFormat string
		Exemplar           bool
	}
	dashboard, path string
}

func panels(t *testing.T) []panel {
	t.Helper()

	paths := files(t, "deploy/grafana/dashboards/*.json")
	all := make([]panel, 0, 40*len(paths))

	for _, path := range paths {
		var dashboard struct {
			UID, Title string
			Panels     []panel
		}

		require.NoError(t, json.Unmarshal(read(t, path), &dashboard), path)
		require.NotEmpty(t, dashboard.UID, path)

		for i := range dashboard.Panels {
			dashboard.Panels[i].dashboard, dashboard.Panels[i].path = dashboard.Title, path
		}

		all = append(all, dashboard.Panels...)
	}

	return all
}

func TestRules_PromtoolAccepts(t *testing.T) {
	t.Parallel()

	promtool := tool(t, "promtool")

	for command, pattern := range map[string]string{
		"check": "deploy/prometheus/rules/*.yml", "test": "deploy/prometheus/tests/*.yml",
	} {
		args := append([]string{command, "rules"}, files(t, pattern)...)
		run := exec.CommandContext(t.Context(), promtool, args...)
		run.Dir = root
		out, err := run.CombinedOutput()
		require.NoError(t, err, "promtool %v\n%s", args, out)
	}
}

func TestRules_PromtoolAcceptsTheConfiguration(t *testing.T) {
	t.Parallel()

	out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "config",
		filepath.Join(root, "deploy/prometheus/prometheus.yml")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "rules found", "%s", out)
}

// Whoever is woken finds what to do.
func TestRules_EveryAlertHasARunbook(t *testing.T) {
	t.Parallel()

	operations := string(read(t, "docs/operations.md"))
	tests := string(read(t, "deploy/prometheus/tests/marketflow.yml"))

	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}

		require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
		require.Equal(t, "https://github.com/marketflow/marketflow/blob/main/docs/operations.md#"+strings.ToLower(r.Alert),
			r.Annotations["runbook_url"])
		require.Regexp(t, `(?m)^#{2,4} `+r.Alert+`$`, operations)
		require.Contains(t, tests, `alertname="`+r.Alert+`"`, "a test in which it fires")
	}
}

func TestDashboards_AreWhole(t *testing.T) {
	t.Parallel()

	seen := map[string]bool{}
	exemplars := 0

	for _, p := range panels(t) {
		key := p.path + " " + string(rune(p.ID))
		require.False(t, seen[key], "two panels %d in %s", p.ID, p.path)
		seen[key] = true

		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, "%s: %s", p.path, p.Title)

		if p.Type == "row" {
			continue
		}

		require.Equal(t, "prometheus", p.Datasource.UID, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)

		for _, target := range p.Targets {
			if target.Exemplar {
				exemplars++
			}
		}
	}

	require.GreaterOrEqual(t, exemplars, 3, "latencies lead to traces")
}

// compose is docker-compose.yml as far as the provisioning goes.
type compose struct {
	Services map[string]struct {
		Image   string
		Command any
		Volumes []string
		Ports   []string

		Healthcheck struct{ Test []string }
	}
}

// serviceEnvironment is what Compose gives the service, with set in the shell.
func serviceEnvironment(t *testing.T, set map[string]string) map[string]string {
	t.Helper()

	var c struct {
		Services map[string]struct{ Environment map[string]string }
	}

	require.NoError(t, yaml.Unmarshal(read(t, "docker-compose.yml"), &c))

	// ${NAME-default} and ${NAME:-default}, which also replaces an empty value
	// (https://docs.docker.com/reference/compose-file/interpolation/).
	variable := regexp.MustCompile(`\$\{(\w+)(:?-)([^}]*)\}`)
	environment := map[string]string{}

	for name, value := range c.Services["marketflow"].Environment {
		environment[name] = variable.ReplaceAllStringFunc(value, func(found string) string {
			parts := variable.FindStringSubmatch(found)
			if given, ok := set[parts[1]]; ok && (given != "" || parts[2] == "-") {
				return given
			}

			return parts[3]
		})
	}

	return environment
}

// Neither a signing secret nor a password that everybody can read here protects
// real money.
func TestCompose_TakesNoPublicSecretWithALiveKey(t *testing.T) {
	t.Parallel()

	const (
		live    = "sk_live_51ComposeComposeCompose"
		signing = "whsec_ComposeComposeComposeComposeComp"
	)

	for name, test := range map[string]struct {
		set     map[string]string
		refuses []string
	}{
		"nothing set": {nil, []string{"STRIPE_SECRET_KEY: is not set", "STRIPE_WEBHOOK_SECRET: is not set"}},
		"the sandbox": {map[string]string{"STRIPE_SECRET_KEY": secretKey, "STRIPE_WEBHOOK_SECRET": signing}, nil},
		"live, without more": {
			map[string]string{"STRIPE_SECRET_KEY": live},
			[]string{
				"STRIPE_WEBHOOK_SECRET: is not set", "STRIPE_API_BASE: must begin with https://", "DATABASE_URL: has the password of",
			},
		},
		"live, with the database's public password": {
			map[string]string{"STRIPE_SECRET_KEY": live, "STRIPE_WEBHOOK_SECRET": signing, "STRIPE_API_BASE": ""},
			[]string{"DATABASE_URL: has the password of"},
		},
		"live": {
			map[string]string{
				"STRIPE_SECRET_KEY": live, "STRIPE_WEBHOOK_SECRET": signing, "STRIPE_API_BASE": "", "POSTGRES_PASSWORD": "zt8Kw2",
			}, nil,
		},
	} {
		_, err := config.FromEnvironment(serviceEnvironment(t, test.set))
		if test.refuses == nil {
			require.NoError(t, err, name)

			continue
		}

		for _, line := range test.refuses {
			require.ErrorContains(t, err, line, name)
		}
	}
}

// What is tested is what runs.
func TestCompose_PinsImages(t *testing.T) {
	t.Parallel()

	var c compose

	require.NoError(t, yaml.Unmarshal(read(t, "docker-compose.yml"), &c))

	for name, service := range c.Services {
		if service.Image != "" {
			require.Regexp(t, `:v?\d+\.\d+`, service.Image, name)
		}
	}
}

// In these images localhost is ::1 first, BusyBox's wget tries no second
// address, and Prometheus listens on IPv4 alone: Grafana would wait for ever.
func TestCompose_HealthIsAskedOverIPv4(t *testing.T) {
	t.Parallel()

	var c compose

	require.NoError(t, yaml.Unmarshal(read(t, "docker-compose.yml"), &c))

	for name, service := range c.Services {
		require.NotContains(t, strings.Join(service.Healthcheck.Test, " "), "localhost", name)
	}
}

// What Compose mounts is where Prometheus and Grafana look for it.
func TestCompose_MountsWhatIsProvisioned(t *testing.T) {
	t.Parallel()

	var c compose

	require.NoError(t, yaml.Unmarshal(read(t, "docker-compose.yml"), &c))

	for name, service := range c.Services {
		for _, volume := range service.Volumes {
			if source, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(source, "./") {
				require.DirExists(t, filepath.Join(root, source), name)
			}
		}

		for _, port := range service.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s publishes %s", name, port)
		}
	}

	require.Contains(t, c.Services["prometheus"].Volumes, "./deploy/prometheus:/etc/prometheus:ro")
	require.Contains(t, c.Services["prometheus"].Command, "--config.file=/etc/prometheus/prometheus.yml")
	require.Contains(t, c.Services["prometheus"].Command, "--enable-feature=exemplar-storage")
	require.Contains(t, c.Services["grafana"].Volumes, "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro")

	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}

	require.NoError(t, yaml.Unmarshal(read(t, "deploy/grafana/provisioning/dashboards/dashboards.yml"), &providers))
	require.Contains(t, c.Services["grafana"].Volumes,
		"./deploy/grafana/dashboards:"+providers.Providers[0].Options.Path+":ro")

	var sources struct {
		Datasources []struct {
			UID, URL string
			JSONData struct {
				Exemplars []struct {
					Name       string
					Datasource string `yaml:"datasourceUid"`
				} `yaml:"exemplarTraceIdDestinations"`
			} `yaml:"jsonData"`
		}
	}

	require.NoError(t, yaml.Unmarshal(read(t, "deploy/grafana/provisioning/datasources/datasources.yml"), &sources))

	uids := make([]string, 0, len(sources.Datasources))

	for _, source := range sources.Datasources {
		uids = append(uids, source.UID)
		host := regexp.MustCompile(`^http://(\w+):`).FindStringSubmatch(source.URL)
		require.Contains(t, c.Services, host[1], "%s is no service", source.URL)
	}

	require.ElementsMatch(t, []string{"prometheus", "jaeger"}, uids)

	prometheus := sources.Datasources[slices.Index(uids, "prometheus")]
	require.Equal(t, "trace_id", prometheus.JSONData.Exemplars[0].Name)
	require.Equal(t, "jaeger", prometheus.JSONData.Exemplars[0].Datasource)
}
