package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// OTLP's variables have a form for everything and one for traces alone.
const (
	otlp       = "OTEL_EXPORTER_OTLP_"
	otlpTraces = "OTEL_EXPORTER_OTLP_TRACES_"
)

// number is a variable that holds a whole number.
type number struct {
	name        string
	least, most int
}

// numbers: times are in milliseconds.
func numbers() []number {
	return []number{
		{otlp + "TIMEOUT", 1, day},
		{otlpTraces + "TIMEOUT", 1, day},
		{"OTEL_BSP_SCHEDULE_DELAY", 1, day},
		{"OTEL_BSP_EXPORT_TIMEOUT", 1, day},
		{"OTEL_BSP_MAX_QUEUE_SIZE", 1, many},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, many},
		// -1 is no limit.
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", -1, many},
		{"OTEL_ATTRIBUTE_COUNT_LIMIT", -1, many},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", -1, many},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", -1, many},
		{"OTEL_SPAN_EVENT_COUNT_LIMIT", -1, many},
		{"OTEL_SPAN_LINK_COUNT_LIMIT", -1, many},
		{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", -1, many},
		{"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", -1, many},
	}
}

const (
	day  = 24 * 60 * 60 * 1000
	many = 1_000_000
)

// Variables are the names of those that are read.
func Variables() []string {
	list := make([]string, 0, 64)
	list = append(list, "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_EXPORTER",
		"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")

	for _, n := range numbers() {
		list = append(list, n.name)
	}

	for _, suffix := range []string{
		"ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "INSECURE",
		"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY",
	} {
		list = append(list, otlp+suffix, otlpTraces+suffix)
	}

	return list
}

// CheckEnvironment is what NewTracing would refuse: every OTEL_* variable that
// cannot be read, one a line. No value is shown: headers hold tokens, and what is
// pasted into the wrong variable may be one. The SDK itself would print the
// variable and go on without it.
func CheckEnvironment() error {
	list := []error{oneOf("OTEL_TRACES_EXPORTER", "otlp", "none"), checkSampler()}
	if disabled() {
		return errors.Join(list...)
	}

	list = append(list, checkPairs("OTEL_RESOURCE_ATTRIBUTES", isAttribute,
		"such as deployment.environment.name=production"))

	for _, prefix := range []string{otlp, otlpTraces} {
		list = append(list,
			checkEndpoint(prefix+"ENDPOINT"),
			checkPairs(prefix+"HEADERS", isHeader, "such as Authorization=Bearer%20TOKEN,X-Team=payments"),
			oneOf(prefix+"PROTOCOL", protocolGRPC, protocolHTTP),
			oneOf(prefix+"COMPRESSION", "gzip", "none"),
			oneOf(prefix+"INSECURE", "true", "false", "True", "False", "TRUE", "FALSE"))

		for _, file := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
			list = append(list, checkFile(prefix+file))
		}
	}

	for _, n := range numbers() {
		list = append(list, checkNumber(n))
	}

	return errors.Join(list...)
}

func checkEndpoint(name string) error {
	text := trimmed(name)
	if text == "" {
		return nil
	}

	u, err := url.Parse(text)

	switch {
	case err != nil, u.Hostname() == "", u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%s: must be a URL such as http://localhost:4318", name)
	case u.User != nil, u.RawQuery != "", u.Fragment != "", strings.Contains(u.Path, "@"):
		return fmt.Errorf("%s: must hold no user, password or query; credentials belong into OTEL_EXPORTER_OTLP_HEADERS", name)
	default:
		return nil
	}
}

func checkNumber(of number) error {
	text := trimmed(of.name)
	if text == "" {
		return nil
	}

	if n, err := strconv.Atoi(text); err != nil || n < of.least || n > of.most {
		return fmt.Errorf("%s: must be a whole number from %d to %d", of.name, of.least, of.most)
	}

	return nil
}

func trimmed(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// checkPairs: a list of key=value with percent-encoded values
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables).
func checkPairs(name string, valid func(key, value string) bool, example string) error {
	list := trimmed(name)
	if list == "" {
		return nil
	}

	for pair := range strings.SplitSeq(list, ",") {
		key, encoded, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(encoded))

		if !found || err != nil || !valid(strings.TrimSpace(key), value) {
			return fmt.Errorf("%s: must be a list of key=value, separated by commas and with percent-encoded values, %s", name, example)
		}
	}

	return nil
}

var (
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	// headerValue is not the end of a token in base64, whose = was taken for that
	// between key and value, and not in quotes.
	headerValue  = regexp.MustCompile(`^[^\x00-\x1f\x7f="' ][^\x00-\x1f\x7f]*$`)
	attributeKey = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)
)

func isHeader(key, value string) bool {
	return headerName.MatchString(key) && headerValue.MatchString(value)
}

func isAttribute(key, _ string) bool { return attributeKey.MatchString(key) }

func oneOf(name string, allowed ...string) error {
	if value := trimmed(name); value != "" && !slices.Contains(allowed, value) {
		return fmt.Errorf("%s: must be one of %s", name, strings.Join(allowed, ", "))
	}

	return nil
}

// checkFile: a certificate or key itself, in place of the name of its file, must
// not be printed.
func checkFile(name string) error {
	path := trimmed(name)
	if path == "" {
		return nil
	}

	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return fmt.Errorf("%s: must be the path of a file that can be read", name)
	}

	if err := file.Close(); err != nil {
		return fmt.Errorf("%s: closing the file: %w", name, err)
	}

	return nil
}

// checkSampler: the SDK would go on with its default and say so in passing.
func checkSampler() error {
	const ratio = "traceidratio"

	samplers := []string{
		"always_on", "always_off", ratio,
		"parentbased_always_on", "parentbased_always_off", "parentbased_" + ratio,
	}

	if sampler := chosenSampler(); sampler != "" && !slices.Contains(samplers, sampler) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER: must be one of %s", strings.Join(samplers, ", "))
	}

	arg := trimmed("OTEL_TRACES_SAMPLER_ARG")
	if arg == "" || !strings.HasSuffix(chosenSampler(), ratio) {
		return nil
	}

	share, err := strconv.ParseFloat(arg, 64)
	if inRange := share >= 0 && share <= 1; err != nil || !inRange { // NaN is not
		return errors.New("OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1")
	}

	return nil
}
