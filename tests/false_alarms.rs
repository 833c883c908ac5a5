//! The promise of `verify::regression`, by simulation: unchanged code with fresh seeds raises
//! an alarm in at most 6% of verifications of 150 numbers, whatever their distribution; and
//! what it sees, beside the rule of the first edition.
//! `cargo test --release --test false_alarms -- --ignored --nocapture` prints the tables
//! of docs/verification.md.

mod simulated;

use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::verify::stats;
use simulated::{Distribution, OUTSIDE, World};

const VERIFICATIONS: u64 = 400;
const SIZES: [[usize; 2]; 4] = [[5, 3], [5, 5], [8, 3], [8, 5]];

/// Whether the first edition's rule raises an alarm on any number (Bonferroni, the smaller of
/// the bound from the reference alone and the pooled one, at least the resolution).
fn first_edition(blessed: &[Vec<f64>], new: &[Vec<f64>], resolution: f64) -> Vec<bool> {
    let rate = 0.05 / blessed.len() as f64;
    let outside = |(blessed, new): (&Vec<f64>, &Vec<f64>)| {
        let (n, m) = (blessed.len() as f64, new.len() as f64);
        let own = stats::variance(blessed);
        let pooled = ((n - 1.0) * own + (m - 1.0) * stats::variance(new)) / (n + m - 2.0);
        let bound = |variance: f64, degrees: f64| {
            stats::t_quantile(1.0 - rate / 4.0, degrees) * (variance * (1.0 / n + 1.0 / m)).sqrt()
        };
        let bound = bound(own, n - 1.0).min(bound(pooled, n + m - 2.0)).max(resolution);
        (stats::mean(new) - stats::mean(blessed)).abs() > bound
    };
    blessed.iter().zip(new).map(outside).collect()
}

#[test]
#[ignore = "long: make test-long"]
fn unchanged_code_raises_an_alarm_in_at_most_six_percent() {
    println!("| distribution | blessed, new seeds | first edition | now |");
    println!("|---|---|---|---|");
    for distribution in Distribution::ALL {
        let world = World::new(distribution);
        for [n, m] in SIZES {
            let (mut old, mut now) = (0u32, 0u32);
            for draw in 0..VERIFICATIONS {
                let mut stream = Stream::open(draw, Purpose::Test, &[n as u64, m as u64]);
                let (blessed, new) = (world.draw(n, &mut stream), world.draw(m, &mut stream));
                old += u32::from(first_edition(&blessed, &new, world.resolution()).contains(&true));
                let outcomes = world.compare(&blessed, &new, 1000);
                now += u32::from(outcomes.iter().any(|outcome| outcome.status == OUTSIDE));
            }
            let percent = |count: u32| 100.0 * f64::from(count) / VERIFICATIONS as f64;
            println!("| {distribution} | {n}, {m} | {:.1}% | {:.1}% |", percent(old), percent(now));
            assert!(percent(now) <= 6.0, "{distribution} {n} {m}: {}", percent(now));
        }
    }
}

/// Shifts of one number of 150, in its standard deviations.
const SHIFTS: [f64; 7] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0];
const DRAWS: u64 = 60;

#[test]
#[ignore = "long: make test-long"]
fn a_shift_is_seen_earlier_than_by_the_first_edition() {
    let world = World::new(Distribution::Normal);
    println!("| blessed, new seeds | rule | {} |", SHIFTS.map(|s| format!("{s} sd")).join(" | "));
    println!("|---|---|{}", "---|".repeat(SHIFTS.len()));
    for [n, m] in SIZES {
        let mut seen = [[0u32; SHIFTS.len()]; 3];
        for draw in 0..DRAWS {
            let mut stream = Stream::open(draw, Purpose::Test, &[n as u64, m as u64, 1]);
            let (blessed, new) = (world.draw(n, &mut stream), world.draw(m, &mut stream));
            for (place, shift) in SHIFTS.into_iter().enumerate() {
                let mut one = new.clone();
                one[0].iter_mut().for_each(|value| *value += shift);
                seen[0][place] += u32::from(first_edition(&blessed, &one, 0.0)[0]);
                let outcomes = world.compare(&blessed, &one, 1000);
                seen[1][place] += u32::from(outcomes[0].status == OUTSIDE);
                // The same shift of the ten cells of an experiment.
                let mut ten = new.clone();
                ten[..10].iter_mut().flatten().for_each(|value| *value += shift);
                let outcomes = world.compare(&blessed, &ten, 1000);
                seen[2][place] += u32::from(outcomes.iter().any(|o| o.status == OUTSIDE));
            }
        }
        let names = ["first edition, one cell", "now, one cell", "now, ten cells alike"];
        for (name, seen) in names.iter().zip(seen) {
            let percent = seen.map(|count| format!("{}%", 100 * u64::from(count) / DRAWS));
            println!("| {n}, {m} | {name} | {} |", percent.join(" | "));
        }
        let total = |rule: usize| seen[rule].iter().sum::<u32>();
        assert!(total(1) > total(0) && total(2) > total(1), "{n} {m}: {seen:?}");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn pairs_of_the_same_seeds_keep_the_promise_and_see_more() {
    let world = World::new(Distribution::Normal);
    let (mut alarms, mut seen) = (0u32, 0u32);
    for draw in 0..VERIFICATIONS {
        let mut stream = Stream::open(draw, Purpose::Test, &[2]);
        let blessed = world.draw(8, &mut stream);
        // Other numerics move a seed's value by a fifth of what seeds differ by.
        let jitter = world.draw(5, &mut stream);
        let moved = |shift: f64| -> Vec<Vec<f64>> {
            let cell = |(cell, jitter): (&Vec<f64>, &Vec<f64>)| {
                cell.iter().zip(jitter).map(|(x, j)| x + 0.2 * j + shift).collect()
            };
            blessed.iter().zip(&jitter).map(cell).collect()
        };
        // The first seeds are the blessed ones.
        let outcomes = world.compare(&blessed, &moved(0.0), 0);
        alarms += u32::from(outcomes.iter().any(|outcome| outcome.status == OUTSIDE));
        if draw < DRAWS {
            let outcomes = world.compare(&blessed, &moved(0.8), 0);
            seen += u32::from(outcomes[0].status == OUTSIDE);
        }
    }
    let rate = f64::from(alarms) / VERIFICATIONS as f64;
    println!(
        "pairs: {:.1}% alarms; a shift of 0.8 sd is seen {seen} of {DRAWS} times",
        100.0 * rate
    );
    assert!(rate <= 0.06, "{rate}");
    assert!(u64::from(seen) > DRAWS * 8 / 10, "{seen} of {DRAWS}");
}
