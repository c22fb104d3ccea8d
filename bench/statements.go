package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// generated is where sqlc's code is, seen from the module's root. It is read as
// text, because the package is sealed, and it holds both the statement that the
// service sends and the order of its arguments: so the floor cannot discrepancy.
const generated = "adapters/postgres/internal/sqlc"

// statement is one of the service's, to the letter.
type statement struct {
	name string
	text string
	// arguments are the names of $1, $2, …
	arguments []string
}

var errStatement = errors.New("no such statement in sqlc's code")

func readStatement(name string) (statement, error) {
	files, err := filepath.Glob(filepath.Join(generated, "*.sql.go"))
	if err != nil {
		return statement{}, fmt.Errorf("looking for sqlc's code: %w", err)
	}

	text := regexp.MustCompile("const " + name + " = `([^`]+)`")
	call := regexp.MustCompile(`\(ctx, ` + name + `,?([^)]*)\)`)

	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			return statement{}, fmt.Errorf("reading sqlc's code: %w", err)
		}

		found, called := text.FindSubmatch(code), call.FindSubmatch(code)
		if found == nil || called == nil {
			continue
		}

		s := statement{name: name, text: string(found[1])}
		for _, argument := range strings.FieldsFunc(string(called[1]), func(r rune) bool { return strings.ContainsRune(", \n\t", r) }) {
			s.arguments = append(s.arguments, strings.TrimPrefix(argument, "arg."))
		}

		return s, nil
	}

	return statement{}, fmt.Errorf("%s: %w", name, errStatement)
}

// prepare is SQL's PREPARE of the statement: the server plans and runs what the
// service's protocol-level prepared statement is planned and run as.
func (s statement) prepare() string { return "PREPARE " + s.name + " AS " + s.text + ";\n" }

// execute runs the prepared statement; values says what each argument is, as an
// SQL expression.
func (s statement) execute(values map[string]string) (string, error) {
	list := make([]string, 0, len(s.arguments))

	for _, argument := range s.arguments {
		value, ok := values[argument]
		if !ok {
			return "", fmt.Errorf("%s has an argument %s that the benchmark knows no value for: %w",
				s.name, argument, errStatement)
		}

		list = append(list, value)
	}

	return "EXECUTE " + s.name + "(" + strings.Join(list, ", ") + ");\n", nil
}
