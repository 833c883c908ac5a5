#!/usr/bin/env bash
# Writes the blessed verdicts and the table of planted regressions into the README, between
# their markers.
set -euo pipefail
cd "$(dirname "$0")/.."

between() { # marker, text
    python3 - "$1" "$2" <<'PY'
import re, sys
marker, text = sys.argv[1], sys.argv[2].strip()
path = "README.md"
readme = open(path).read()
pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.S)
if not pattern.search(readme):
    sys.exit(f"README.md has no markers for {marker}")
open(path, "w").write(pattern.sub(lambda m: m[1] + text + "\n" + m[2], readme))
PY
}

verdicts() { # profile
    if [ -e "expected/$1.toml" ]; then
        ./target/release/bgm --profile "$1" report --verdicts
    else
        echo "The profile \`$1\` has no blessed reference yet, so there are no verdicts."
    fi
}

between verdicts "$(verdicts quick)"
between verdicts-desk "$(verdicts desk)"
snapshot=tests/snapshots/planted__every_planted_regression_is_caught.snap
[ ! -e $snapshot ] || between planted "$(sed '1,/^---$/{/^---$/!d}' $snapshot | sed '1,/^---$/d')"
