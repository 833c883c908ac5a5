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
        self.names.len() * self.places
    }

    fn taken(&self) -> MutexGuard<'_, Vec<usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free place and takes it: on the device with the fewest runs, of those on
    /// the first. A run that failed on one is given another, if another has a place.
    pub fn take(&self, failed_on: Option<&str>) -> Place<'_> {
        let mut taken = self.taken();
        loop {
            let free = (0..self.names.len()).filter(|&index| taken[index] < self.places);
            let cost =
                |index: &usize| (Some(self.names[*index].as_str()) == failed_on, taken[*index]);
            if let Some(index) = free.min_by_key(cost) {
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
        self.devices.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn who_failed_on_a_device_is_given_another_while_there_is_one() {
        let devices = gpus(2, 1);
        let other = devices.take(Some("cuda:0"));
        assert_eq!(other.device(), "cuda:1");
        assert_eq!(devices.take(Some("cuda:0")).device(), "cuda:0", "no other is free");
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
}
