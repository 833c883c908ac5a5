//! How long a plan would take on a cluster, by simulation with estimated times: whenever a
//! worker is free it begins the job, of those that wait for nothing, that has the longest
//! chain of jobs behind it (Graham 1969, critical path first). Neither queues nor failures
//! nor different machines are simulated: it shows where a grid stops scaling.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A cluster with so many workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulated {
    pub workers: usize,
    /// Seconds from the first begin to the last end.
    pub makespan: f64,
    /// Share of the workers' time in which they have nothing to do.
    pub idle: f64,
    /// No schedule is shorter than the longest chain, nor than all work spread evenly.
    pub bound: f64,
}

/// A time that is ordered; estimates are never NaN.
#[derive(Clone, Copy, PartialEq)]
struct Time(f64);

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Time) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Time) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// For each job the seconds from its begin to the end of everything that waits for it, if
/// nothing has to wait for a worker. `needs` holds, for each job, places of earlier ones.
pub fn chains(needs: &[Vec<usize>], seconds: &[f64]) -> Vec<f64> {
    let mut after = vec![0.0f64; seconds.len()];
    for job in (0..seconds.len()).rev() {
        after[job] += seconds[job];
        for &before in &needs[job] {
            after[before] = after[before].max(after[job]);
        }
    }
    after
}

/// Simulates jobs that take `seconds` and wait for those that `needs` names by place, all
/// earlier, on `workers` workers.
pub fn simulate(needs: &[Vec<usize>], seconds: &[f64], workers: usize) -> Simulated {
    let workers = workers.max(1);
    let chain = chains(needs, seconds);
    let mut waits: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (job, before) in needs.iter().enumerate() {
        before.iter().for_each(|&before| behind[before].push(job));
    }
    // Longest chain first; among equals the earlier of the plan.
    let ready = |job: usize| (Time(chain[job]), Reverse(job));
    let mut waiting: BinaryHeap<_> =
        (0..needs.len()).filter(|&job| waits[job] == 0).map(ready).collect();
    let mut running: BinaryHeap<Reverse<(Time, usize)>> = BinaryHeap::new();
    let mut now = 0.0;
    loop {
        while running.len() < workers
            && let Some((_, Reverse(job))) = waiting.pop()
        {
            running.push(Reverse((Time(now + seconds[job]), job)));
        }
        let Some(Reverse((Time(end), job))) = running.pop() else { break };
        now = end;
        for &next in &behind[job] {
            waits[next] -= 1;
            if waits[next] == 0 {
                waiting.push(ready(next));
            }
        }
    }
    let work: f64 = seconds.iter().sum();
    let longest = chain.iter().copied().fold(0.0, f64::max);
    let capacity = now * workers as f64;
    Simulated {
        workers,
        makespan: now,
        idle: if capacity > 0.0 { (1.0 - work / capacity).max(0.0) } else { 0.0 },
        bound: longest.max(work / workers as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(needs: &[&[usize]], seconds: &[f64], workers: usize) -> Simulated {
        let needs: Vec<Vec<usize>> = needs.iter().map(|n| n.to_vec()).collect();
        simulate(&needs, seconds, workers)
    }

    /// A pretraining of 3 that two runs of 2 and 1 start from, and a run of 4 on its own.
    const NEEDS: [&[usize]; 4] = [&[], &[0], &[0], &[]];
    const SECONDS: [f64; 4] = [3.0, 2.0, 1.0, 4.0];

    #[test]
    fn one_worker_is_never_idle() {
        let one = run(&NEEDS, &SECONDS, 1);
        assert_eq!((one.makespan, one.idle, one.bound), (10.0, 0.0, 10.0));
    }

    #[test]
    fn two_workers_by_hand() {
        // Chains: 5, 2, 1, 4. Worker 1: pretraining 0-3, its long child 3-5. Worker 2: the
        // lone run 0-4, the short child 4-5.
        let two = run(&NEEDS, &SECONDS, 2);
        assert_eq!((two.makespan, two.idle, two.bound), (5.0, 0.0, 5.0));
    }

    #[test]
    fn more_workers_than_the_chain_allows_stand_idle() {
        // The chain of 3 + 2 stays; ten units of work on three and on a hundred workers.
        let three = run(&NEEDS, &SECONDS, 3);
        assert_eq!((three.makespan, three.bound), (5.0, 5.0));
        assert!((three.idle - (1.0 - 10.0 / 15.0)).abs() < 1e-12);
        let hundred = run(&NEEDS, &SECONDS, 100);
        assert_eq!((hundred.makespan, hundred.bound), (5.0, 5.0));
        assert!((hundred.idle - 0.98).abs() < 1e-12);
    }

    #[test]
    fn a_chain_does_not_scale_and_the_longest_one_goes_first() {
        let chain: [&[usize]; 3] = [&[], &[0], &[1]];
        assert_eq!(run(&chain, &[1.0, 2.0, 3.0], 8).makespan, 6.0);
        // Three short jobs, then the head of a chain of 1 + 5. In the order of the plan on two
        // workers it would begin at 1 and end at 7.
        let needs: [&[usize]; 5] = [&[], &[], &[], &[], &[3]];
        let seconds = [1.0, 1.0, 1.0, 1.0, 5.0];
        assert_eq!(run(&needs, &seconds, 2).makespan, 6.0);
    }

    #[test]
    fn a_job_waits_for_the_last_of_those_it_needs() {
        // A measurement of 1 that needs runs of 2 and 5.
        let needs: [&[usize]; 3] = [&[], &[], &[0, 1]];
        let both = run(&needs, &[2.0, 5.0, 1.0], 2);
        assert_eq!((both.makespan, both.bound), (6.0, 6.0));
        assert!((both.idle - (1.0 - 8.0 / 12.0)).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_do_takes_no_time() {
        let none = run(&[], &[], 4);
        assert_eq!((none.makespan, none.idle, none.bound), (0.0, 0.0, 0.0));
    }
}
