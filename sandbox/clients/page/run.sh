#!/bin/sh
# Uses the sandbox's payment page in Chromium, with JavaScript and without.
# SANDBOX_URL=http://… tests a sandbox that runs already, CHROMIUM=… names the
# browser, SCREENSHOTS=dir keeps pictures of the pages.
set -eu

cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)

CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}

if [ -z "$CHROMIUM" ] || ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
	echo "sandbox-clients: the payment page is skipped, there is no Chromium, node and npm on this machine"
	exit 0
fi

npm ci --no-audit --no-fund --silent

if [ -z "${SANDBOX_URL:-}" ]; then
	work=$(mktemp -d)
	sandbox=
	trap '[ -z "$sandbox" ] || kill "$sandbox" 2>/dev/null || true; rm -rf "$work"' EXIT INT TERM

	(cd "$root" && go build -o "$work/marketflow" ./cmd/marketflow)
	"$work/marketflow" sandbox --addr 127.0.0.1:0 >"$work/output" 2>&1 &
	sandbox=$!

	for _ in $(seq 100); do
		SANDBOX_URL=$(grep -o -m1 'http://[0-9.:]*' "$work/output" || true)
		[ -n "$SANDBOX_URL" ] && break
		sleep 0.1
	done

	if [ -z "$SANDBOX_URL" ]; then
		echo "sandbox-clients: the sandbox did not start:" >&2
		cat "$work/output" >&2
		exit 1
	fi
fi

CHROMIUM=$CHROMIUM SANDBOX_URL=$SANDBOX_URL node --test
