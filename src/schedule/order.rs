//! Which run is begun next: a pure function of the plan, the estimated costs and what is done.
//!
//! Results are wanted in the order of the experiments, and a core that idles at the end is
//! lost. So the runs of earlier experiments go first, among those of one experiment the ones that
//! decide its first claim, and among these the one with the longest chain of runs still ahead of it (list scheduling by critical path,
//! Graham 1969). One exception: a chain that would outlast an even share of all that waits is
//! begun at once, whichever experiment wants it, since every minute that it waits would be
//! added to the end.

use crate::experiments::{Plan, PlannedRun};
use crate::spec::Key;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a run before it is begun.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank {
    /// Places of the first experiment that needs the run, and of what it is wanted for there.
    wanted: (usize, usize),
    /// Estimated seconds of the run itself.
    own: f64,
    /// Those of the run and the longest chain of runs that start from it.
    ahead: f64,
}

/// Wanted by nobody.
const LAST: (usize, usize) = (usize::MAX, usize::MAX);

/// The ranks of all runs that are to be made.
pub struct Order<'a> {
    ranks: BTreeMap<&'a Key, Rank>,
    jobs: f64,
}

impl<'a> Order<'a> {
    /// Ranks the runs of `todo`, of which at most `jobs` are made at a time. `cost` estimates the
    /// seconds of one; of an experiment's runs those whose `place` is lower are wanted sooner.
    pub fn new(
        plan: &'a Plan,
        todo: &BTreeSet<Key>,
        jobs: usize,
        cost: &dyn Fn(&PlannedRun) -> f64,
        place: &dyn Fn(&Key) -> usize,
    ) -> Order<'a> {
        let experiments: BTreeMap<&str, usize> =
            plan.experiments.iter().enumerate().map(|(i, (e, _))| (e.id.as_str(), i)).collect();
        let mut ranks: BTreeMap<&Key, Rank> = BTreeMap::new();
        // Of the runs that start from one: the longest chain, and how soon one of them is wanted.
        let mut behind: BTreeMap<&Key, (f64, (usize, usize))> = BTreeMap::new();
        // From the end: children stand behind their parents in the plan.
        for key in plan.order.iter().rev().filter(|key| todo.contains(key)) {
            let run = &plan.runs[key];
            let needed = run.needed_by.iter().filter_map(|id| experiments.get(id.as_str()));
            let experiment = needed.min().copied().unwrap_or(plan.experiments.len());
            let own = cost(run);
            let (chain, soonest) = behind.get(key).copied().unwrap_or((0.0, LAST));
            let ahead = own + chain;
            let wanted = soonest.min((experiment, place(key)));
            ranks.insert(key, Rank { wanted, own, ahead });
            if let Some(parent) = &run.parent {
                let (longest, soonest) = behind.entry(parent).or_insert((0.0, LAST));
                *longest = longest.max(ahead);
                *soonest = wanted.min(*soonest);
            }
        }
        Order { ranks, jobs: jobs.max(1) as f64 }
    }

    /// The place in `waiting` of the run to begin, of those that `is_ready` says can be.
    pub fn choose(&self, waiting: &[&Key], is_ready: impl Fn(&Key) -> bool) -> Option<usize> {
        let ready: Vec<(usize, Rank)> = waiting
            .iter()
            .enumerate()
            .filter(|(_, key)| is_ready(key))
            .filter_map(|(place, key)| Some((place, *self.ranks.get(key)?)))
            .collect();
        // Of equals the first of the plan: an iterator's `max_by` takes the last.
        let longest = |among: &mut dyn Iterator<Item = &(usize, Rank)>| {
            among
                .copied()
                .reduce(|best, next| if next.1.ahead > best.1.ahead { next } else { best })
        };
        let share = waiting.iter().filter_map(|key| self.ranks.get(key)).map(|rank| rank.own);
        let share = share.sum::<f64>() / self.jobs;
        let (place, rank) = longest(&mut ready.iter())?;
        if rank.ahead >= share {
            return Some(place);
        }
        let first = ready.iter().map(|(_, rank)| rank.wanted).min()?;
        longest(&mut ready.iter().filter(|(_, rank)| rank.wanted == first)).map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Catalog;
    use crate::experiments::{Profile, Seeds, cost};
    use std::path::Path;

    /// When each run begins and ends.
    type Times<'a> = BTreeMap<&'a Key, (f64, f64)>;

    /// Who is next: the place in the first of a run that the second allows.
    type Choice<'c> = &'c dyn Fn(&[&Key], &dyn Fn(&Key) -> bool) -> Option<usize>;

    /// Seconds at which each run begins and ends when the estimates come true and `jobs`
    /// workers take what `choose` gives them.
    fn simulate<'a>(
        plan: &'a Plan,
        jobs: usize,
        cost: &dyn Fn(&PlannedRun) -> f64,
        choose: Choice<'_>,
    ) -> Times<'a> {
        let mut waiting: Vec<&Key> = plan.order.iter().collect();
        let mut running: Vec<(f64, &Key)> = Vec::new();
        let mut times = Times::new();
        let mut now = 0.0;
        while !waiting.is_empty() || !running.is_empty() {
            let pending: BTreeSet<&Key> =
                waiting.iter().copied().chain(running.iter().map(|r| r.1)).collect();
            let is_ready =
                |key: &Key| plan.runs[key].parent.as_ref().is_none_or(|p| !pending.contains(p));
            if running.len() < jobs
                && let Some(place) = choose(&waiting, &is_ready)
            {
                let key = waiting.remove(place);
                assert!(is_ready(key), "a run was begun before its parent's end");
                let end = now + cost(&plan.runs[key]);
                times.insert(key, (now, end));
                running.push((end, key));
                continue;
            }
            running.sort_by(|a, b| b.0.total_cmp(&a.0));
            let (end, _) = running.pop().expect("somebody runs while others wait");
            now = end;
        }
        times
    }

    /// The order of the plan, as it was before: the first that is ready.
    fn first(waiting: &[&Key], is_ready: &dyn Fn(&Key) -> bool) -> Option<usize> {
        waiting.iter().position(|key| is_ready(key))
    }

    fn end(times: &Times<'_>) -> f64 {
        times.values().map(|t| t.1).fold(0.0, f64::max)
    }

    fn plan_of(profile: &str) -> Plan {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tables = root.join("paper_tables");
        let profile = Profile::read(&tables, profile).expect("a profile of the repository");
        Plan::new(&profile, &tables, &Catalog::new(root.join("data")), &[], None).expect("a plan")
    }

    fn seconds(run: &PlannedRun) -> f64 {
        cost::seconds(&run.spec)
    }

    /// Of an experiment's runs none is wanted sooner.
    fn anywhere(_: &Key) -> usize {
        0
    }

    /// Both ways through a profile: the plan's order and ours.
    fn both(plan: &Plan, jobs: usize) -> [Times<'_>; 2] {
        let todo: BTreeSet<Key> = plan.order.iter().cloned().collect();
        let order = Order::new(plan, &todo, jobs, &seconds, &anywhere);
        let ours = simulate(plan, jobs, &seconds, &|w, ready| order.choose(w, ready));
        [simulate(plan, jobs, &seconds, &first), ours]
    }

    #[test]
    fn no_core_idles_at_the_end() {
        for (profile, jobs) in
            [("smoke", 2), ("quick", 2), ("quick", 4), ("all-claims", 2), ("desk", 8)]
        {
            let plan = plan_of(profile);
            let [before, now] = both(&plan, jobs).map(|times| end(&times));
            let total: f64 = plan.runs.values().map(seconds).sum();
            let longest = |key: &Key| -> f64 {
                std::iter::successors(Some(key), |k| plan.runs[*k].parent.as_ref())
                    .map(|k| seconds(&plan.runs[k]))
                    .sum()
            };
            let chain = plan.order.iter().map(longest).fold(0.0, f64::max);
            let bound = (total / jobs as f64).max(chain);
            println!(
                "{profile}, {jobs} jobs: {before:.0} s before, {now:.0} s now, bound {bound:.0}"
            );
            assert!(now <= before * 1.001, "{profile}, {jobs} jobs: {now} after {before}");
            assert!(now <= 1.01 * bound, "{profile}, {jobs} jobs: {now}, could be {bound}");
        }
    }

    #[test]
    fn what_is_wanted_first_is_there_first() {
        let plan = plan_of("quick");
        let times = both(&plan, 2);
        // The headline, its figures and the toy: the promise of the README.
        let wanted = ["table1_accuracy", "fig2_curves", "table3_distance", "fig1_toy"];
        let is_wanted = |key: &Key| {
            plan.runs[key].needed_by.iter().any(|needed| wanted.contains(&needed.as_str()))
        };
        let done = times.map(|times| {
            let ends = times.iter().filter(|(key, _)| is_wanted(key)).map(|(_, time)| time.1);
            ends.fold(0.0, f64::max)
        });
        assert!(done[1] <= 1.02 * done[0], "{done:?}");
    }

    /// Five runs of two experiments: a parent with two children, and two of their own.
    fn made_up() -> Plan {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tables = root.join("paper_tables");
        let profile = Profile::read(&tables, "smoke").expect("a profile of the repository");
        let only = ["table1_accuracy".to_owned(), "fig1_toy".to_owned()];
        let catalog = Catalog::new(root.join("data"));
        Plan::new(&profile, &tables, &catalog, &only, Some(&Seeds::first(1))).expect("a plan")
    }

    #[test]
    fn longer_chains_go_first_and_later_experiments_last() {
        let plan = made_up();
        let todo: BTreeSet<Key> = plan.order.iter().cloned().collect();
        let is_toy = |run: &PlannedRun| run.needed_by[0] == "fig1_toy";
        let cost = |run: &PlannedRun| if is_toy(run) { 5.0 } else { 1.0 };
        let order = Order::new(&plan, &todo, 2, &cost, &anywhere);
        let waiting: Vec<&Key> = plan.order.iter().collect();
        let has_no_parent = |key: &Key| plan.runs[key].parent.is_none();
        let chosen = waiting[order.choose(&waiting, has_no_parent).expect("one is ready")];
        assert!(!is_toy(&plan.runs[chosen]), "the headline comes before the toy");
        assert!(
            plan.runs.values().any(|run| run.parent.as_ref() == Some(chosen)),
            "the run that others start from comes first"
        );
        // A chain of the toy that outlasts an even share of everything cannot wait.
        let cost = |run: &PlannedRun| if is_toy(run) { 500.0 } else { 1.0 };
        let order = Order::new(&plan, &todo, 8, &cost, &anywhere);
        let chosen = waiting[order.choose(&waiting, has_no_parent).expect("one is ready")];
        assert!(is_toy(&plan.runs[chosen]));
        assert_eq!(order.choose(&waiting, |_| false), None);
    }

    #[test]
    fn of_an_experiment_what_is_wanted_sooner_goes_first_with_what_it_starts_from() {
        let plan = made_up();
        let todo: BTreeSet<Key> = plan.order.iter().cloned().collect();
        let waiting: Vec<&Key> = plan.order.iter().collect();
        let is_toy = |key: &Key| plan.runs[key].needed_by[0] == "fig1_toy";
        let first = |wanted: &Key| {
            let place = |key: &Key| usize::from(key != wanted);
            let order = Order::new(&plan, &todo, 2, &|_| 1.0, &place);
            let ready = |key: &Key| plan.runs[key].parent.is_none();
            waiting[order.choose(&waiting, ready).expect("one is ready")]
        };
        for wanted in plan.order.iter().filter(|key| !is_toy(key)) {
            let before = plan.runs[wanted].parent.as_ref().unwrap_or(wanted);
            assert_eq!(first(wanted), before);
        }
        // An earlier experiment goes before whatever is wanted of a later one.
        let toy = plan.order.iter().find(|key| is_toy(key)).expect("the toy is planned");
        assert!(!is_toy(first(toy)));
    }
}
