#!/usr/bin/env bash
# Lints api/openapi.yaml, generates a Go and a TypeScript client from it, and tests the
# service with both. MARKETFLOW_URL=http://… tests a service that already runs, such as
# `marketflow dev`; SANDBOX_URL is its sandbox.
set -euo pipefail

cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

for tool in go node npm; do
    command -v "$tool" >/dev/null || { echo "clients: $tool is needed" >&2; exit 1; }
done

export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true

npm ci --silent
npm run --silent lint
npm run --silent generate
(cd go && go generate && go vet ./...)

if [ -z "${MARKETFLOW_URL:-}" ]; then
    work=$(mktemp -d)
    chmod 755 "$work" # PostgreSQL runs as another user when this is root
    service=
    trap '[ -z "$service" ] || { kill "$service" 2>/dev/null; wait "$service" || true; }; rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM

    free='const s = [0, 0].map(() => require("net").createServer().listen(0, "127.0.0.1"));
setTimeout(() => { console.log(...s.map((one) => one.address().port)); s.forEach((one) => one.close()) }, 50)'
    read -r port sandbox < <(node -e "$free")

    go build -C "$root" -o "$work/marketflow" ./cmd/marketflow
    (cd "$work" && exec env -u DATABASE_URL -u REDIS_URL HTTP_ADDR="127.0.0.1:$port" \
        ./marketflow dev --data "$work/data" --sandbox-addr "127.0.0.1:$sandbox") >"$work/output" 2>&1 &
    service=$!
    MARKETFLOW_URL=http://127.0.0.1:$port
    SANDBOX_URL=http://127.0.0.1:$sandbox

    until node -e "fetch('$MARKETFLOW_URL/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"; do
        kill -0 "$service" 2>/dev/null || { cat "$work/output" >&2; exit 1; }
        sleep 0.2
    done
fi

export MARKETFLOW_URL SANDBOX_URL=${SANDBOX_URL:-http://127.0.0.1:12111}
(cd go && go test -count=1 ./...)
npm test --silent
