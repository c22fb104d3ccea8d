package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/licenses"
)

// What is shipped names every module that the program contains, and no others.
func TestCollect_IsUpToDate(t *testing.T) {
	t.Parallel()

	text, err := collect(t.Context())
	require.NoError(t, err)

	if string(text) != licenses.ThirdParty { // require.Equal would print both files
		require.Fail(t, output+" is out of date: make licenses")
	}

	for _, module := range []string{"Go ", "github.com/jackc/pgx/v5 ", "github.com/riverqueue/river "} {
		require.Contains(t, licenses.ThirdParty, "\n"+module)
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()

	ours, err := os.ReadFile("../../LICENSE")
	require.NoError(t, err)
	require.Equal(t, "MIT", kindOf(string(ours)))

	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                          "Apache-2.0",
		"Mozilla Public License Version 2.0 and the GNU General Public License": "MPL-2.0",
		"GNU GENERAL PUBLIC LICENSE Version 3":                                  "",
		string(ours) + "\nor the GNU Lesser General Public License":             "",
		"Business Source License 1.1, later the Apache License Version 2.0":     "",
		"Apache License Version 2.0, January 2004 with the Commons Clause":      "",
		"All rights reserved.":  "",
		strings.Repeat("x", 10): "",
		"This is free and unencumbered software released into the public domain.": "Unlicense",
	} {
		require.Equal(t, want, kindOf(text), text)
	}
}
