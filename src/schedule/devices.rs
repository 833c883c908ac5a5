//! Which device a run goes to: the one with the fewest runs on it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Devices, each with places for a number of runs at a time.
pub struct Devices {
    names: Vec<String>,
    places: usize,
    /// Runs on each device.
    taken: Mutex<Vec<usize>>,
    freed: Condvar,
}

/// A place on a device, free again once this is dropped.
pub struct Place<'a> {
    devices: &'a Devices,
    index: usize,
}

impl Devices {
    /// Devices by their names, as `--device` takes them, with `places` runs on each.
    pub fn new(names: Vec<String>, places: usize) -> Devices {
        let taken = Mutex::new(vec![0; names.len()]);
        Devices { names, places, taken, freed: Condvar::new() }
    }

    /// Runs that find a place at the same time.
    pub fn capacity(&self) -> usize {
        self.names.len().saturating_mul(self.places)
    }

    fn taken(&self) -> MutexGuard<'_, Vec<usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free place and takes it: on the device with the fewest runs, of those on
    /// the first. A run that failed on a device is given another, if there is one.
    pub fn take(&self, failed_on: Option<&str>) -> Place<'_> {
        let mut taken = self.taken();
        loop {
            let other = |index: &usize| {
                self.names.len() == 1 || failed_on != Some(self.names[*index].as_str())
            };
            let free = (0..self.names.len()).filter(|&index| taken[index] < self.places);
            if let Some(index) = free.filter(other).min_by_key(|&index| taken[index]) {
                taken[index] += 1;
                return Place { devices: self, index };
            }
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Place<'_> {
    /// Name of the device.
    pub fn device(&self) -> &str {
        &self.devices.names[self.index]
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.devices.taken()[self.index] -= 1;
        // Not every one that waits can use this place.
        self.devices.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::{Plan, PlannedRun};
    use crate::schedule::order::Order;
    use crate::schedule::{Executor, Monitor, Outcome, RunFailure, execute};
    use crate::spec::{Key, example};
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    fn gpus(count: usize, places: usize) -> Devices {
        Devices::new((0..count).map(|index| format!("cuda:{index}")).collect(), places)
    }

    #[test]
    fn runs_go_where_the_fewest_are() {
        let devices = gpus(3, 2);
        assert_eq!(devices.capacity(), 6);
        let mut held: Vec<Place<'_>> = (0..6).map(|_| devices.take(None)).collect();
        let names: Vec<&str> = held.iter().map(Place::device).collect();
        assert_eq!(names, ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1", "cuda:2"]);
        // Both runs of the middle one end, and one of the first.
        for index in [4, 3, 1] {
            drop(held.remove(index));
        }
        let next: Vec<Place<'_>> = (0..3).map(|_| devices.take(None)).collect();
        let names: Vec<&str> = next.iter().map(Place::device).collect();
        assert_eq!(names, ["cuda:1", "cuda:0", "cuda:1"]);
    }

    #[test]
    fn who_failed_on_a_device_is_given_another_if_there_is_one() {
        let devices = gpus(2, 1);
        assert_eq!(devices.take(Some("cuda:0")).device(), "cuda:1");
        let other = devices.take(Some("cuda:0"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| devices.take(Some("cuda:0")).device().to_owned());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished(), "it was given the place where it failed");
            drop(other);
            assert_eq!(waiting.join().expect("no panic"), "cuda:1");
        });
        assert_eq!(gpus(1, 1).take(Some("cuda:0")).device(), "cuda:0", "there is no other");
    }

    #[test]
    fn who_finds_no_place_waits_for_one() {
        let devices = gpus(1, 1);
        let first = devices.take(None);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| devices.take(None).device().to_owned());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished(), "two runs on one place");
            drop(first);
            assert_eq!(waiting.join().expect("no panic"), "cuda:0");
        });
    }

    /// Pretends to make runs, and takes note of where.
    struct MadeUp {
        devices: Devices,
        /// This device fails whatever is run on it.
        broken: Option<&'static str>,
        now: Mutex<BTreeMap<String, usize>>,
        most: Mutex<BTreeMap<String, usize>>,
        made: Mutex<Vec<(Key, String)>>,
        failed_on: Mutex<BTreeMap<Key, String>>,
    }

    impl Executor for MadeUp {
        fn execute(
            &self,
            key: &Key,
            _: &PlannedRun,
            _: usize,
            _: &dyn Fn(u32, u32),
        ) -> Result<(), RunFailure> {
            let failed = self.failed_on.lock().expect("no panic").get(key).cloned();
            let place = self.devices.take(failed.as_deref());
            let name = place.device().to_owned();
            let running = {
                let mut now = self.now.lock().expect("no panic");
                let running = now.entry(name.clone()).or_default();
                *running += 1;
                *running
            };
            let mut most = self.most.lock().expect("no panic");
            let seen = most.entry(name.clone()).or_default();
            *seen = running.max(*seen);
            drop(most);
            std::thread::sleep(Duration::from_millis(3));
            *self.now.lock().expect("no panic").get_mut(&name).expect("it was entered") -= 1;
            if self.broken == Some(name.as_str()) {
                self.failed_on.lock().expect("no panic").insert(key.clone(), name);
                return Err(RunFailure::Transient("broken".to_owned()));
            }
            self.made.lock().expect("no panic").push((key.clone(), name));
            Ok(())
        }
    }

    struct Silent;

    impl Monitor for Silent {
        fn started(&self, _: &Key, _: &PlannedRun) {}
        fn progress(&self, _: &Key, _: u32, _: u32) {}
        fn finished(&self, _: &Key) {}
        fn retried(&self, _: &Key, _: &str) {}
        fn failed(&self, _: &Key, _: &str) {}
    }

    /// Runs `count` made-up runs, of which every third starts from the one before.
    fn run(count: usize, devices: Devices, broken: Option<&'static str>) -> (Outcome, MadeUp) {
        let keys: Vec<Key> =
            (0..count).map(|n| format!("{n:064x}").parse().expect("a key")).collect();
        let planned = |n: usize| PlannedRun {
            spec: example::toy(),
            parent: (n % 3 == 2).then(|| keys[n - 1].clone()),
            needed_by: Vec::new(),
            measures: Vec::new(),
        };
        let runs = keys.iter().enumerate().map(|(n, key)| (key.clone(), planned(n))).collect();
        let plan = Plan { experiments: Vec::new(), runs, order: keys.clone() };
        let todo: BTreeSet<Key> = keys.into_iter().collect();
        let executor = MadeUp {
            devices,
            broken,
            now: Mutex::default(),
            most: Mutex::default(),
            made: Mutex::default(),
            failed_on: Mutex::default(),
        };
        let jobs = executor.devices.capacity();
        let order = Order::new(&plan, &todo, jobs, &|_| 1.0, &|_| 0);
        (execute((&plan, &order), &todo, jobs, &executor, &Silent), executor)
    }

    #[test]
    fn a_profile_is_spread_over_all_devices_and_no_device_takes_too_much() {
        let (outcome, executor) = run(60, gpus(4, 2), None);
        assert_eq!(outcome, Outcome { finished: 60, ..Outcome::default() });
        let made = executor.made.into_inner().expect("no panic");
        let once: BTreeSet<&Key> = made.iter().map(|(key, _)| key).collect();
        assert_eq!((made.len(), once.len()), (60, 60));
        let most = executor.most.into_inner().expect("no panic");
        assert_eq!(most.len(), 4, "a device stood idle: {most:?}");
        assert!(most.values().all(|&runs| runs <= 2), "{most:?}");
    }

    #[test]
    fn a_broken_device_takes_no_run_along() {
        let (outcome, executor) = run(24, gpus(3, 1), Some("cuda:1"));
        assert_eq!(outcome, Outcome { finished: 24, ..Outcome::default() });
        let made = executor.made.into_inner().expect("no panic");
        assert!(made.iter().all(|(_, device)| device != "cuda:1"));
        let most = executor.most.into_inner().expect("no panic");
        assert!(most.contains_key("cuda:1"), "the broken one was never tried");
    }
}
