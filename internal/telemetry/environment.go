package telemetry

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// OTLP's variables have a general form, and one for traces alone that goes before it.
const (
	otlp       = "OTEL_EXPORTER_OTLP_"
	otlpTraces = "OTEL_EXPORTER_OTLP_TRACES_"
)

// check says what a value must be, and nothing where it is that.
type check func(value string) (must string)

// checks has every variable that is read.
func checks() map[string]check {
	const (
		day  = 24 * 60 * 60 * 1000 // in milliseconds
		many = 1_000_000
	)

	limit := wholeNumber(-1, many) // -1 is no limit
	all := map[string]check{
		"OTEL_SDK_DISABLED":                      anything,
		"OTEL_SERVICE_NAME":                      anything,
		"OTEL_RESOURCE_ATTRIBUTES":               pairs(isAttribute, "deployment.environment.name=production"),
		"OTEL_TRACES_EXPORTER":                   oneOf("otlp", "none"),
		"OTEL_TRACES_SAMPLER":                    isSampler,
		"OTEL_TRACES_SAMPLER_ARG":                isSamplerArgument,
		"OTEL_BSP_SCHEDULE_DELAY":                wholeNumber(1, day),
		"OTEL_BSP_EXPORT_TIMEOUT":                wholeNumber(1, day),
		"OTEL_BSP_MAX_QUEUE_SIZE":                wholeNumber(1, many),
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":         wholeNumber(1, many),
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT":      limit,
		"OTEL_ATTRIBUTE_COUNT_LIMIT":             limit,
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": limit,
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":        limit,
		"OTEL_SPAN_EVENT_COUNT_LIMIT":            limit,
		"OTEL_SPAN_LINK_COUNT_LIMIT":             limit,
		"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT":       limit,
		"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT":        limit,
	}

	for name, check := range map[string]check{
		"ENDPOINT":           isEndpoint,
		"PROTOCOL":           oneOf(protocolGRPC, protocolHTTP),
		"HEADERS":            pairs(isHeader, "Authorization=Bearer%20TOKEN,X-Team=payments"),
		"TIMEOUT":            wholeNumber(1, day),
		"COMPRESSION":        oneOf("gzip", "none"),
		"INSECURE":           oneOf("true", "false", "True", "False", "TRUE", "FALSE"),
		"CERTIFICATE":        isFile,
		"CLIENT_CERTIFICATE": isFile,
		"CLIENT_KEY":         isFile,
	} {
		all[otlp+name], all[otlpTraces+name] = check, check
	}

	return all
}

// Variables are the names of those that are read.
func Variables() []string { return slices.Collect(maps.Keys(checks())) }

// CheckEnvironment returns every OTEL_* variable that cannot be read, one a line.
// The SDK itself would print the variable and go on without it. No value is shown:
// headers hold tokens, and one may be pasted into any variable by mistake.
func CheckEnvironment() error {
	var list []error

	all := checks()

	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := trimmed(name)
		if value == "" || disabled() && !strings.HasPrefix(name, "OTEL_TRACES_") {
			continue
		}

		if must := all[name](value); must != "" {
			list = append(list, fmt.Errorf("%s: must %s", name, must))
		}
	}

	return errors.Join(list...)
}

func trimmed(name string) string { return strings.TrimSpace(os.Getenv(name)) }

func anything(string) string { return "" }

func isEndpoint(value string) string {
	u, err := url.Parse(value)

	switch {
	case err != nil, u.Hostname() == "", u.Scheme != "http" && u.Scheme != "https":
		return "be a URL such as http://localhost:4318"
	case u.User != nil, u.RawQuery != "", u.Fragment != "", strings.Contains(u.Path, "@"):
		return "hold no user, password or query; credentials belong in OTEL_EXPORTER_OTLP_HEADERS"
	default:
		return ""
	}
}

func wholeNumber(least, most int) check {
	return func(value string) string {
		if n, err := strconv.Atoi(value); err != nil || n < least || n > most {
			return fmt.Sprintf("be a whole number from %d to %d", least, most)
		}

		return ""
	}
}

// pairs is a list of key=value with percent-encoded values
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables).
func pairs(valid func(key, value string) bool, example string) check {
	return func(list string) string {
		for pair := range strings.SplitSeq(list, ",") {
			key, encoded, found := strings.Cut(pair, "=")
			value, err := url.PathUnescape(strings.TrimSpace(encoded))

			if !found || err != nil || !valid(strings.TrimSpace(key), value) {
				return "be a list of key=value, separated by commas and with percent-encoded values, such as " + example
			}
		}

		return ""
	}
}

var (
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	// headerValue does not begin with =, which would be the end of a token in base64
	// that stands alone, nor with a quote.
	headerValue  = regexp.MustCompile(`^[^\x00-\x1f\x7f="' ][^\x00-\x1f\x7f]*$`)
	attributeKey = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)
)

func isHeader(key, value string) bool {
	return headerName.MatchString(key) && headerValue.MatchString(value)
}

func isAttribute(key, _ string) bool { return attributeKey.MatchString(key) }

func oneOf(allowed ...string) check {
	return func(value string) string {
		if slices.Contains(allowed, value) {
			return ""
		}

		return "be one of " + strings.Join(allowed, ", ")
	}
}

// isFile does not show the path: it may be the certificate or key itself.
func isFile(path string) string {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return "be the path of a file that can be read"
	}

	_ = file.Close()

	return ""
}

const ratioSampler = "traceidratio"

func isSampler(value string) string {
	return oneOf("always_on", "always_off", ratioSampler,
		"parentbased_always_on", "parentbased_always_off", "parentbased_"+ratioSampler)(strings.ToLower(value))
}

func isSamplerArgument(value string) string {
	share, err := strconv.ParseFloat(value, 64)
	if inRange := share >= 0 && share <= 1; err == nil && inRange || !strings.HasSuffix(chosenSampler(), ratioSampler) {
		return "" // NaN is not in range, and the other samplers have no argument
	}

	return "be a number from 0 to 1"
}
