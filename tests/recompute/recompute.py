"""Every blessed verdict once more, with SciPy, from the raw values of expected/<profile>.toml.

    python3 tests/recompute/recompute.py [PROFILE ...]      (default: every reference there is)

Nothing of the program's own code is used: the claims, the declarations and the values are
read from their files, and effects, intervals, seeds and verdicts are computed with
scipy.stats. Prints one line a claim that differs; exit code 1 if any does.
Needs Python 3.11 and SciPy (tests/recompute/requirements.txt).
"""

import itertools
import math
import sys
import tomllib
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
MIN_SEEDS = 3


def read(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


def kept_levels(profile):
    """The levels that a profile keeps of some axes, those of its ancestors included."""
    declared = read(ROOT / f"paper_tables/profiles/{profile}.toml")
    inherits = declared.get("inherits")
    kept = kept_levels(inherits) if inherits else {}
    for experiment, axes in declared.get("levels", {}).items():
        kept.setdefault(experiment, {}).update(axes)
    return kept


class Grid:
    """An experiment's axes in a profile, with the blessed values of its cells."""

    def __init__(self, name, kept, values):
        declared = read(ROOT / f"paper_tables/{name}.toml")
        shared = {axis["name"]: axis for axis in read(ROOT / "paper_tables/shared/axes.toml")["axis"]}
        self.axes = []
        for axis in declared["axis"]:
            axis = shared[axis["use"]] if "use" in axis else axis
            keep = kept.get(name, {}).get(axis["name"])
            levels = [x for x in axis["level"] if keep is None or x["id"] in keep]
            self.axes.append((axis["name"], levels))
        self.values = {
            (v["cell"], v["metric"]): v for v in values if v["experiment"] == name
        }

    def levels(self, axis):
        return next(levels for name, levels in self.axes if name == axis)

    def cell(self, wanted):
        parts = []
        for axis, levels in self.axes:
            level = wanted.get(axis, levels[0]["id"] if len(levels) == 1 else None)
            if level not in [x["id"] for x in levels]:
                return None
            parts.append(f"{axis}={level}")
        return " ".join(parts)

    def samples(self, wanted, metric):
        """Values by seed; None if nothing may rest on the cell."""
        cell = self.cell(wanted)
        own = [v for (name, _), v in self.values.items() if name == cell]
        if not own or any(v.get("excluded") for v in own):
            return None
        value = self.values.get((cell, metric))
        return dict(zip(value["seeds"], value["values"])) if value else {}

    def all_samples(self, metric):
        return [v["values"] for (_, name), v in self.values.items() if name == metric]


def repeated(part, grid):
    """The parts that one with `each`, `against` or `best` stands for."""
    choices = [[(axis, x["id"]) for x in grid.levels(axis)] for axis in part.get("each", [])]
    for chosen in itertools.product(*choices):
        fill = lambda cell: {**dict(chosen), **cell}
        ((kind, test),) = part["test"].items()
        if kind == "trend":
            yield "above", trend(test, grid, fill)
        elif kind == "best":
            a = fill(test["a"])
            axes = [[(axis, x["id"]) for x in grid.levels(axis)] for axis in test["over"]]
            for other in itertools.product(*axes):
                b = {**a, **dict(other)}
                if b != a:
                    yield "not_worse", [(1.0, a), (-1.0, b)]
        elif "contrast" in test:
            contrast = test["contrast"]
            cells = []
            for level, weight in sorted(contrast["weights"].items()):
                at = fill(contrast.get("at", {}))
                cells.append((weight, {**at, contrast["axis"]: level}))
            yield kind, cells
        else:
            for b in test.get("against", [test.get("b")]):
                cells = [(1.0, fill(test["a"])), (-1.0, fill(b))]
                if "than" in test:
                    cells.append((-1.0, fill(test["than"]["a"])))
                    cells.append((1.0, fill(test["than"]["b"])))
                yield kind, cells


def trend(test, grid, fill):
    levels = grid.levels(test["axis"])
    xs = [math.log(x["value"]) if test.get("log") else x["value"] for x in levels]
    reach = (max(xs) - min(xs)) * (-1 if test.get("falling") else 1)
    cells = []
    for place, level in enumerate(levels):
        unit = [1.0 if i == place else 0.0 for i in range(len(xs))]
        slope = stats.linregress(xs, unit).slope
        cells.append((slope * reach, {**fill(test.get("at", {})), test["axis"]: level["id"]}))
    return cells


def estimate(cells, metric, grid, scale, variance):
    """Effect, standard error, degrees of freedom and seeds; None where there is no verdict."""
    inward = math.log if scale == "ratio" else float
    samples = []
    for weight, cell in cells:
        found = grid.samples(cell, metric)
        if not found:
            return None
        samples.append((weight, {seed: inward(x) for seed, x in found.items()}))
    n = min(len(found) for _, found in samples)
    if variance == "pairs":
        seeds = set.intersection(*(set(found) for _, found in samples))
        effects = [sum(w * found[s] for w, found in samples) for s in sorted(seeds)]
        n = len(effects)
        if n < MIN_SEEDS:
            return None
        return stats.tmean(effects), stats.sem(effects), n - 1, n
    if n < MIN_SEEDS:
        return None
    effect = sum(w * stats.tmean(list(found.values())) for w, found in samples)
    if variance == "pooled":
        groups = [[inward(x) for x in g] for g in grid.all_samples(metric) if len(g) > 1]
        degrees = sum(len(g) - 1 for g in groups)
        spread = sum(stats.tvar(g) * (len(g) - 1) for g in groups) / degrees
        error = math.sqrt(sum(w * w * spread / len(found) for w, found in samples))
        return effect, error, degrees, n
    shares = [(w * w * stats.tvar(list(f.values())) / len(f), len(f)) for w, f in samples]
    total = sum(share for share, _ in shares)
    squares = sum(share**2 / (count - 1) for share, count in shares)
    degrees = total**2 / squares if squares > 0 else n - 1
    return effect, math.sqrt(total), degrees, n


def interval(found, level):
    effect, error, degrees, _ = found
    if error == 0:
        return effect, effect
    return stats.t.interval(level, degrees, loc=effect, scale=error)


def bounds(kind, margin, scale):
    inner = math.log(margin) if scale == "ratio" else margin
    return {
        "above": (inner, math.inf),
        "equivalent": (-inner, inner),
        "not_worse": (-inner, math.inf),
    }[kind]


def premises_hold(claim, compared, grid):
    for required in claim.get("require", []):
        for cell in [required["cell"]] if "cell" in required else compared:
            found = grid.samples(cell, required["metric"])
            if not found:
                return False
            values = list(found.values())
            if min(values) < required.get("at_least", -math.inf):
                return False
            if stats.tmean(values) < required.get("mean_at_least", -math.inf):
                return False
    return True


def judge(claim, grid):
    """Verdict, seeds, and the (effect, interval) of every part, on the scale that is shown."""
    scale = claim.get("scale", "difference")
    level = claim.get("level", 0.95)
    variance = claim.get("variance", "welch")
    parts, compared = [], []
    for part in claim["part"]:
        for kind, cells in repeated(part, grid):
            metric = part.get("metric", claim["metric"])
            compared += [cell for _, cell in cells]
            found = estimate(cells, metric, grid, scale, variance)
            parts.append((part.get("beside", False), bounds(kind, claim["margin"], scale), found))
    heard = [(limits, found) for beside, limits, found in parts if not beside]
    strict = 1 - (1 - level) / max(len(heard), 1)
    verdicts = []
    for (low, high), found in heard:
        if found is None:
            verdicts.append("inconclusive")
            continue
        narrow, wide = interval(found, level), interval(found, strict)
        if low < narrow[0] and narrow[1] < high:
            verdicts.append("supported")
        elif wide[1] < low or wide[0] > high:
            verdicts.append("refuted")
        else:
            verdicts.append("inconclusive")
    if not premises_hold(claim, compared, grid):
        verdict = "inconclusive"
    elif "refuted" in verdicts:
        verdict = "refuted"
    elif verdicts and all(v == "supported" for v in verdicts):
        verdict = "supported"
    else:
        verdict = "inconclusive"
    outward = math.exp if scale == "ratio" else float
    shown = [
        (outward(found[0]), tuple(outward(x) for x in interval(found, level)), found)
        for _, found in heard
        if found is not None
    ]
    seeds = [found[3] for _, found in heard if found is not None]
    return verdict, min(seeds, default=0), shown


def close(a, b):
    return abs(a - b) <= 1e-6 * max(1.0, abs(a), abs(b))


def check(profile):
    reference = read(ROOT / f"expected/{profile}.toml")
    claims = read(ROOT / "expected/claims.toml")["claim"]
    kept = kept_levels(profile)
    checked, problems = 0, []
    for claim in claims:
        blessed = reference.get("verdicts", {}).get(claim["id"])
        if blessed is None:
            continue
        checked += 1
        grid = Grid(claim["experiment"], kept, reference["value"])
        verdict, n, shown = judge(claim, grid)

        def differs(what, own, theirs):
            problems.append(f"{profile} {claim['id']}: {what} {theirs} blessed, {own} here")

        if verdict != blessed["verdict"]:
            differs("verdict", verdict, blessed["verdict"])
        if shown and n != blessed["n"]:
            differs("n", n, blessed["n"])
        if "statistic" in blessed:
            low, high = blessed["interval"]
            same = lambda s: (
                close(s[0], blessed["statistic"]) and close(s[1][0], low) and close(s[1][1], high)
            )
            if not any(same(s) for s in shown):
                theirs = (blessed["statistic"], low, high)
                differs("effect and interval", [s[:2] for s in shown], theirs)
        for part in blessed.get("part", []):
            theirs = (part["effect"], part["standard_error"], part["degrees"])
            own = [found[:3] for _, _, found in shown]
            beside = not any(all(close(a, b) for a, b in zip(theirs, one)) for one in own)
            if beside and not any(p.get("beside") for p in claim["part"]):
                differs(f"estimate of “{part['name']}”", own, theirs)
    return checked, problems


def main():
    profiles = sys.argv[1:] or sorted(
        path.stem for path in (ROOT / "expected").glob("*.toml") if path.stem != "claims"
    )
    total, problems = 0, []
    for profile in profiles:
        checked, found = check(profile)
        total += checked
        problems += found
    for problem in problems:
        print(problem)
    print(f"{total} verdicts of {', '.join(profiles)}: {len(problems)} mismatches")
    if total == 0:
        print("no blessed verdict was found: nothing was checked")
    sys.exit(1 if problems or total == 0 else 0)


main()
