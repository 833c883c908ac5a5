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

# One row a profile: verdict, effect and interval of the claims of the headline.
headlines() {
    echo "| runs | profile | n | C1: gap of vanilla SGD, above 3 points | C2: difference under SOTA SGD, within 2 points | C6: ratio of distances, above 1.2 |"
    echo "|---|---|---:|---|---|---|"
    while IFS='|' read -r profile runs; do
        [ ! -e "expected/$profile.toml" ] ||
            ./target/release/bgm --profile "$profile" report --verdicts |
            awk -F ' [|] ' -v profile="$profile" -v runs="$runs" '
                { id = substr($1, 3); split($2, verdict, " "); cell[id] = verdict[1] " " $4 " " $5; n[id] = $7 }
                END { print "| " runs " | `" profile "` | " n["C1"] " | " cell["C1"] " | " cell["C2"] " | " cell["C6"] " |" }'
    done <<'ROWS'
quick|Fashion-MNIST, our engine
fresh|the first, on fresh seeds
libtorch|the first, by libtorch on an H200
cifar|CIFAR-10, our engine
gpu|CIFAR-10 at the paper's width, libtorch on an H200
ROWS
}

between README.md verdicts "$(verdicts quick)"
between README.md headlines "$(headlines)"
between README.md verdicts-all-claims "$(verdicts all-claims C3 C4)"
between README.md verdicts-cifar "$(verdicts cifar)"
between docs/gpu-box.md verdicts-gpu "$(verdicts gpu)"
between docs/controls.md verdicts-desk "$(verdicts desk 'R[0-9]+[bc]?' 'N[0-9]')"
# Accuracies and relative distances by both implementations, and the verdicts.
between docs/verification.md implementations \
    "$(./target/release/bgm diff quick libtorch | grep -E '^\| Mean|^\|---|] (test..accuracy|distance..relative) |^$|^\| C')"
snapshot=tests/snapshots/planted__every_planted_regression_is_caught.snap
[ ! -e $snapshot ] || between docs/verification.md planted "$(sed '1,/^---$/{/^---$/!d}' $snapshot | sed '1,/^---$/d')"
# Figures from the records of the blessed runs: the headline, the controls' verdicts, the curves at the paper's width.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
figure() { # profile, experiments, figure, page's picture
    local numerics
    numerics=$(sed -n 's/^numerics = "\(.*\)"$/\1/p' "expected/$1.toml")
    mkdir -p "$folder/none"
    ./target/release/bgm --profile "$1" --only "$2" --store "$folder/none" --device cpu --numerics "$numerics" --quiet report --out "$folder/$1" > "$folder/log"
    cp "$folder/$1/figures/$3.svg" "docs/$4.svg"
}
figure quick table1_accuracy table1_accuracy headline
figure desk r1_zero_out,r2_constant_rate,r3_initial_scale,r4_label_fraction,r5_large_rate,r6_plateau_length,r7_grid_vanilla,r7_grid_sota,r8_selection,r9_adam,r10_coherence,r11_toy_regularizers,x4_treatment,x5_training_size claims controls
figure gpu fig2_curves fig2_curves headline-gpu
