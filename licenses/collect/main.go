// Command collect writes licenses/THIRD_PARTY_LICENSES: the licences of every module of which
// marketflow contains a package, and of Go itself. It needs the module cache and no network. It
// fails if it does not know a licence.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	program = "github.com/marketflow/marketflow/cmd/marketflow"
	output  = "licenses/THIRD_PARTY_LICENSES"
	rule    = "================================================================================\n"
)

func main() {
	text, err := collect(context.Background())
	if err == nil {
		err = os.WriteFile(output, text, 0o644) //nolint:gosec // everybody may read it
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, "collect:", err)
		os.Exit(1)
	}
}

// module is one that the program has packages of.
type module struct {
	path, version string
	// kinds are its licences' names, and texts their files' contents, by their paths in it.
	kinds map[string]bool
	texts map[string]string
}

// collect returns the whole file.
func collect(ctx context.Context) ([]byte, error) {
	modules, err := modulesOf(ctx)
	if err != nil {
		return nil, err
	}

	var (
		out      bytes.Buffer
		unknown  []error
		users    = map[string][]string{} // of each text
		inOrder  = slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return cmp.Compare(a.path, b.path) })
		allTexts []string
	)

	fmt.Fprintf(&out, "MarketFlow contains the software below, each under its own licence. MarketFlow's own is in LICENSE.\n"+
		"The source of MODULE VERSION is at https://pkg.go.dev/MODULE@VERSION.\n\n")

	for _, m := range inOrder {
		if len(m.texts) == 0 {
			unknown = append(unknown, fmt.Errorf("%s %s has no licence", m.path, m.version))
		}

		for _, file := range slices.Sorted(maps.Keys(m.texts)) {
			text := m.texts[file]

			kind := kindOf(text)
			if kind == "" && !isNotice(file) {
				unknown = append(unknown, fmt.Errorf("%s %s: the licence in %s is not one that is allowed", m.path, m.version, file))
			} else if kind != "" {
				m.kinds[kind] = true
			}

			if users[text] == nil {
				allTexts = append(allTexts, text)
			}

			users[text] = append(users[text], strings.TrimSpace(m.path+" "+m.version)+": "+file)
		}

		fmt.Fprintf(&out, "%-72s %-44s %s\n", m.path, m.version, strings.Join(slices.Sorted(maps.Keys(m.kinds)), ", "))
	}

	for _, text := range allTexts {
		fmt.Fprintf(&out, "\n%s%s\n%s\n%s\n", rule, strings.Join(users[text], "\n"), rule, strings.TrimRight(text, "\n"))
	}

	return out.Bytes(), errors.Join(unknown...)
}

// modulesOf asks Go which packages the program is made of, on each platform of the image.
func modulesOf(ctx context.Context) (map[string]*module, error) {
	modules := map[string]*module{}

	for _, arch := range []string{"amd64", "arm64"} {
		list := exec.CommandContext(ctx, "go", "list", "-deps",
			"-f", "{{.Dir}}\t{{.Root}}\t{{with .Module}}{{.Path}}\t{{.Version}}\t{{.Dir}}\t{{.Main}}{{end}}", program)

		list.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		list.Stderr = os.Stderr

		lines, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("listing the packages of %s: %w", program, err)
		}

		for line := range strings.Lines(string(lines)) {
			if err := addPackage(modules, strings.Split(strings.TrimRight(line, "\n"), "\t")); err != nil {
				return nil, err
			}
		}
	}

	return modules, nil
}

// addPackage adds the licences that stand in a package's directory, or above it in its module.
func addPackage(modules map[string]*module, fields []string) error {
	dir, path, version, root := fields[0], "Go", "", fields[1]

	if len(fields) > 3 {
		if path, version, root = fields[2], fields[3], fields[4]; fields[5] == "true" {
			return nil // our own
		}
	}

	if version == "" {
		dir = root // Go's licence is for all of the standard library
	}

	m := modules[path]
	if m == nil {
		m = &module{path: path, version: version, kinds: map[string]bool{}, texts: map[string]string{}}
		modules[path] = m
	}

	for ; len(dir) >= len(root); dir = filepath.Dir(dir) {
		if err := m.read(root, dir); err != nil {
			return err
		}
	}

	return nil
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-](md|txt|apache|mit|bsd))?$`)

func (m *module) read(root, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading %s %s: %w", m.path, m.version, err)
	}

	for _, file := range files {
		if file.IsDir() || !licenceFile.MatchString(file.Name()) {
			continue
		}

		text, err := os.ReadFile(filepath.Join(dir, file.Name())) //nolint:gosec // a licence of a module
		if err != nil {
			return fmt.Errorf("reading %s %s: %w", m.path, m.version, err)
		}

		name, err := filepath.Rel(root, filepath.Join(dir, file.Name()))
		if err != nil {
			return fmt.Errorf("naming a file of %s: %w", m.path, err)
		}

		m.texts[name] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}

	return nil
}

// isNotice tells whether a file only goes with a licence.
func isNotice(file string) bool {
	name := strings.ToLower(filepath.Base(file))

	return strings.HasPrefix(name, "notice") || strings.HasPrefix(name, "patents")
}

// kindOf is the licence, if it is one that is allowed. Each of them lets us ship binaries as long
// as its text goes with them. MPL-2.0 also asks that its source can be had, which the file says.
func kindOf(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	has := func(parts ...string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	}

	const bsd = "redistribution and use in source and binary forms, with or without modification, are permitted"

	switch {
	case has("mozilla public license version 2.0"), has("mozilla public license, version 2.0"):
		return "MPL-2.0"
	case has("gnu "), has("business source license"), has("commons clause"), has("server side public license"):
		return ""
	case has("apache license version 2.0, january 2004"):
		return "Apache-2.0"
	case has(bsd, "endorse or promote products"):
		return "BSD-3-Clause"
	case has(bsd):
		return "BSD-2-Clause"
	case has("permission is hereby granted, free of charge, to any person obtaining a copy"):
		return "MIT"
	case has("permission to use, copy, modify, and", "distribute this software for any purpose"):
		return "ISC"
	case has("boost software license - version 1.0"):
		return "BSL-1.0"
	case has("this is free and unencumbered software released into the public domain"):
		return "Unlicense"
	case has("put into the public domain"), has("placed in the public domain"), has("in the public domain"):
		return "public domain"
	default:
		return ""
	}
}
