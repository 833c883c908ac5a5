#!/usr/bin/env bash
# Opens a report in headless Chromium: no error, no request, every link, every claim, contrast
# and alternative texts, phone, paper, archive; then breaks it in every way that is looked for
# and wants each found. Pictures and PDF go to target/report-check/pictures/.
#
#   scripts/check-report.sh [PROFILE [STORE [FOLDER]]]
#
# Without arguments it checks the smoke profile's report, as `make smoke` leaves it. Needs
# Chromium and Node 18 or newer; as root on Debian or Ubuntu it installs what is missing.
# CHROMIUM=/path/to/chromium uses another browser.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-smoke}
store=${2:-target/smoke/runs}
folder=${3:-target/smoke/reproduction}
place=target/report-check

if [ ! -f "$folder/report.html" ]; then
    echo "check-report: $folder/report.html is not there: \`make smoke\` makes it, or name a profile, its store and its folder" >&2
    exit 3
fi

chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
missing=()
[ -n "$chromium" ] || missing+=(chromium)
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "check-report: these are missing: ${missing[*]}: apt-get install ${missing[*]}" >&2
        exit 4
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
    chromium=${CHROMIUM:-$(command -v chromium)}
fi
export CHROMIUM=$chromium

# What the check itself is made of; the browser is the system's.
mkdir -p "$place"
cp scripts/report-check/* "$place/"
if [ ! -d "$place/node_modules/axe-core" ]; then
    (cd "$place" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --silent --no-audit --no-fund)
fi

# Its exit code speaks of the verdicts, not of the report.
./target/release/bgm --quiet --profile "$profile" --store "$store" --device cpu \
    verify --format json > "$place/verification.json" || true
node "$place/check.mjs" "$folder" "$place/verification.json" "$place/pictures"
node "$place/check.mjs" "$folder" "$place/verification.json" "$place/pictures" --plant
