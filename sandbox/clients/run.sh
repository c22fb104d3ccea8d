#!/usr/bin/env bash
# Holds `marketflow sandbox` against Stripe's official clients and against the
# calls of localstripe's script, and uses its payment page in Chromium, with
# JavaScript and without. SANDBOX_URL=http://… tests a sandbox that runs already;
# arguments name what to run: go, node, localstripe, page. CHROMIUM=… names the
# browser, SCREENSHOTS=dir keeps pictures of the page.
set -euo pipefail

cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

for tool in go node npm curl; do
    command -v "$tool" >/dev/null || { echo "sandbox-clients: $tool is needed" >&2; exit 1; }
done

# start gives a suite a sandbox of its own, since localstripe's calls count what is there.
start() {
    : >"$work/output" # the last one's address must not be read
    "$work/marketflow" sandbox --addr 127.0.0.1:0 >"$work/output" 2>&1 &
    sandbox=$!

    until SANDBOX_URL=$(grep -o -m1 'http://[0-9.:]*' "$work/output"); do
        kill -0 "$sandbox" 2>/dev/null || { cat "$work/output" >&2; exit 1; }
        sleep 0.1
    done
}

stop() {
    [ -z "$sandbox" ] || { kill "$sandbox" 2>/dev/null; wait "$sandbox" || true; }
    sandbox=
}

# page is skipped on a machine without Chromium, but not in CI.
page() {
    CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
    export CHROMIUM

    if [ -n "$CHROMIUM" ]; then
        (cd page && npm ci --no-audit --no-fund --silent && npm test --silent)
    elif [ "${CI:-}" = true ]; then
        echo "sandbox-clients: Chromium is needed for the payment page" >&2
        exit 1
    else
        echo "sandbox-clients: the payment page is skipped, there is no Chromium on this machine"
    fi
}

own=
sandbox=
work=$(mktemp -d)
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

if [ -z "${SANDBOX_URL:-}" ]; then
    own=yes
    go build -C "$root" -o "$work/marketflow" ./cmd/marketflow
fi

export SANDBOX_URL

(($#)) || set -- go node localstripe page
for suite; do
    echo "sandbox-clients: $suite"
    [ -z "$own" ] || start

    case $suite in
    go) go test -C go -count=1 ./... ;;
    node) (cd node && npm ci --no-audit --no-fund --silent && npm test --silent) ;;
    localstripe) ./localstripe/run.sh ;;
    page) page ;;
    *) echo "sandbox-clients: there is no suite $suite" >&2; exit 2 ;;
    esac

    stop
done
