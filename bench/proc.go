package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that Go
// runs on (proc(5)).
const tick = 10 * time.Millisecond

var errProc = errors.New("unexpected form of a file in /proc")

// stat is what is used of /proc/PID/stat.
type stat struct {
	parent int
	own    time.Duration
	// reaped is what its dead children used.
	reaped time.Duration
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, fmt.Errorf("reading a process's times: %w", err)
	}

	// The name, which is in parentheses, may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return stat{}, errProc
	}

	numbers := make([]int, 0, 5)

	for _, i := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return stat{}, fmt.Errorf("%w: %w", errProc, err)
		}

		numbers = append(numbers, n)
	}

	return stat{
		parent: numbers[0],
		own:    time.Duration(numbers[1]+numbers[2]) * tick,
		reaped: time.Duration(numbers[3]+numbers[4]) * tick,
	}, nil
}

// treeTime is the CPU time of a server and its children, dead ones included.
func treeTime(pid int) (time.Duration, error) {
	root, err := readStat(pid)
	if err != nil {
		return 0, err
	}

	total := root.own + root.reaped

	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, fmt.Errorf("listing processes: %w", err)
	}

	for _, folder := range folders {
		child, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}

		if s, err := readStat(child); err == nil && s.parent == pid {
			total += s.own
		}
	}

	return total, nil
}

// residentBytes are a process's now, and the most that it ever had.
func residentBytes(pid int) (now, most int64, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, fmt.Errorf("reading a process's memory: %w", err)
	}

	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}

		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%w: %w", errProc, err)
		}

		if name == "VmRSS" {
			now = kilobytes << 10
		} else {
			most = kilobytes << 10
		}
	}

	return now, most, nil
}

// busyTime is what all processes of the machine have used.
func busyTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("reading the machine's times: %w", err)
	}

	line, _, _ := strings.Cut(string(text), "\n")

	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, errProc
	}

	var total time.Duration

	for _, i := range []int{1, 2, 3, 6, 7} { // user, nice, system, irq, softirq
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errProc, err)
		}

		total += time.Duration(n) * tick
	}

	return total, nil
}
