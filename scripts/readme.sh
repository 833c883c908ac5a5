#!/usr/bin/env bash
# Writes the generated tables between their markers: the blessed verdicts into the README and
# docs/controls.md, the planted regressions into docs/verification.md.
set -euo pipefail
cd "$(dirname "$0")/.."

between() { # file, marker, text
    python3 - "$1" "$2" "$3" <<'PY'
import re, sys
path, marker, text = sys.argv[1], sys.argv[2], sys.argv[3].strip()
page = open(path).read()
pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.S)
if not pattern.search(page):
    sys.exit(f"{path} has no markers for {marker}")
open(path, "w").write(pattern.sub(lambda m: m[1] + text + "\n" + m[2], page))
PY
}

# The table of a profile's verdicts (only the claims that are named, if any), and what the
# reference says of itself.
verdicts() { # profile, claim ...
    local profile=$1 reference=expected/$1.toml table
    shift
    if [ ! -e "$reference" ]; then
        echo "The profile \`$profile\` has no blessed reference yet, so there are no verdicts."
        return
    fi
    table=$(./target/release/bgm --profile "$profile" report --verdicts)
    if [ $# -gt 0 ]; then
        local wanted
        wanted=$(IFS='|'; echo "$*")
        table=$(grep -E "^\| (Claim|$wanted) \||^\|---" <<< "$table")
    fi
    echo "$table"
    echo
    # The first `reason` and `date` are the reference's own.
    echo "Blessed on $(sed -n 's/^date = "\(.*\)"$/\1/p;/^\[/q' "$reference"):" \
        "$(sed -n 's/^reason = "\(.*[^.]\)\.*"$/\1./p;/^\[/q' "$reference")"
}

between README.md verdicts "$(verdicts quick)"
between README.md verdicts-all-claims "$(verdicts all-claims C3 C4)"
between README.md verdicts-cifar "$(verdicts cifar)"
for page in README.md docs/gpu-box.md; do between $page verdicts-gpu "$(verdicts gpu)"; done
between docs/controls.md verdicts-desk "$(verdicts desk)"
snapshot=tests/snapshots/planted__every_planted_regression_is_caught.snap
[ ! -e $snapshot ] || between docs/verification.md planted "$(sed '1,/^---$/{/^---$/!d}' $snapshot | sed '1,/^---$/d')"
# Figures from the records of the blessed runs: the headline, the controls' verdicts, the curves at the paper's width.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
figure() { # profile, experiments, figure, page's picture
    local numerics
    numerics=$(sed -n 's/^numerics = "\(.*\)"$/\1/p' "expected/$1.toml")
    ./target/release/bgm --profile "$1" --only "$2" --store "$folder/none" --device cpu --numerics "$numerics" --quiet report --out "$folder/$1" > "$folder/log"
    cp "$folder/$1/figures/$3.svg" "docs/$4.svg"
}
figure quick table1_accuracy table1_accuracy headline
figure desk r1_zero_out,r2_constant_rate,r5_large_rate,r9_adam,r10_coherence,r11_toy_regularizers,x4_treatment claims controls
figure gpu fig2_curves fig2_curves headline-gpu
