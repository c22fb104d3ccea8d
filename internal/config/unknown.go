package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/marketflow/marketflow/internal/telemetry"
)

// isOurs tells whether a name begins as only ours do. MARKETFLOW_ is not such a
// beginning: Kubernetes sets MARKETFLOW_SERVICE_HOST and more for a service of that
// name.
func isOurs(name string) bool {
	return slices.ContainsFunc([]string{"STRIPE_", "RATE_LIMIT", "RECONCILE_", "RECOVERY_", "PPROF_", "METADATA_"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// elsewhere is our variable that other programs call name.
func elsewhere(name string) string {
	switch name {
	case "DATABASE_DSN", "DB_URL", "DB_DSN", "POSTGRES_URL", "POSTGRES_DSN", "PG_URL":
		return nameDatabase
	case "STRIPE_API_KEY", "STRIPE_KEY", "STRIPE_SECRET":
		return nameSecretKey
	case "STRIPE_SIGNING_SECRET", "STRIPE_ENDPOINT_SECRET", "STRIPE_WEBHOOK_SIGNING_SECRET", "STRIPE_WEBHOOK_KEY":
		return nameWebhookSecret
	default:
		return ""
	}
}

// lookAlikes finds variables that are set and not used. If one looks like a required
// variable that is missing, it is named in that variable's problem; the others get a
// warning.
func lookAlikes(variables map[string]string, found *problems) (warnings []string) {
	known := append(names(), telemetry.Variables()...)

	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if variables[name] == "" || slices.Contains(known, name) {
			continue
		}

		meant := nearest(name, known)

		switch other := elsewhere(name); {
		case found.about[meant] != nil && variables[meant] == "":
			found.about[meant] = fmt.Errorf("%w; %s is set, was that meant?", found.about[meant], name)
		case found.about[other] != nil && variables[other] == "":
			found.about[other] = fmt.Errorf("%w; %s is set, was that meant?", found.about[other], name)
		case meant != "":
			warnings = append(warnings, name+": is not used; did you mean "+meant+"?")
		case isOurs(name):
			warnings = append(warnings, name+": is not used")
		}
	}

	return warnings
}

// nearest is the known variable that name is a misspelling of, if any.
func nearest(name string, known []string) string {
	const slips = 2

	best, least := "", slips+1

	for _, one := range known {
		d := distance(letters(name), letters(one))
		// DATABASE_URL_FILE, MARKETFLOW_DATABASE_URL, HTTP_ADDRESS.
		if strings.HasPrefix(letters(name), letters(one)) || letters(name) == "MARKETFLOW"+letters(one) {
			d = min(d, slips)
		}

		// AUTH is not what is meant by PATH.
		if d < least && d <= max(1, len(one)/3) {
			best, least = one, d
		}
	}

	return best
}

// letters leaves out what is most often misspelt: case and separators.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}

		return unicode.ToUpper(r)
	}, name)
}

// distance is Levenshtein's: the number of letters that are missing, added or wrong.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}

	for i := range len(a) {
		before := row[0]
		row[0] = i + 1

		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}

			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}

	return row[len(b)]
}
