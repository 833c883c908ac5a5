//! The jobs of a plan and what each waits for: what an engine that works across machines is
//! told. `bgm run` makes on its own whatever a run needs and the store lacks; here every such
//! run is a job, so that two jobs never wait for each other's lock.

use super::cost::{self, Work};
use super::grid::{KeyMaker, Plan};
use super::memory::Memory;
use crate::data::DataError;
use crate::measure::MeasureSpec;
use crate::spec::{Key, RunSpec};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A run that others start from: it is in everybody's way, and comes first.
    Pretrain,
    /// Any other run.
    Train,
    /// Measurements that need another run's weights besides the run's and its parent's.
    Measure,
}

/// One call of `bgm run`.
#[derive(Clone, Debug)]
pub struct Job {
    pub kind: Kind,
    pub key: Key,
    pub spec: RunSpec,
    /// Made together with the run, or all that is made.
    pub measures: Vec<MeasureSpec>,
    /// Places of the jobs that must be done before; all smaller than its own.
    pub needs: Vec<usize>,
}

impl Job {
    /// What it is expected to take.
    pub fn work(&self) -> Work {
        self.count(Work::of)
    }

    /// What it can take, if no fit comes early.
    pub fn most_work(&self) -> Work {
        self.count(Work::at_most)
    }

    fn count(&self, training: fn(&RunSpec) -> Work) -> Work {
        let run = if self.kind == Kind::Measure { Work::default() } else { training(&self.spec) };
        let measures = self.measures.iter().map(|m| Work::of_measure(&self.spec, m));
        run + measures.sum()
    }

    pub fn memory(&self) -> Memory {
        let measures = self.measures.iter().map(|m| Memory::of_measure(&self.spec, m));
        measures.fold(Memory::of_run(&self.spec), Memory::or)
    }
}

/// How fast jobs are worked on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// One core of the reference machine, as measured.
    Core,
    /// A device that is declared to sustain this many floating-point operations a second.
    Device(f64),
}

impl Speed {
    /// Seconds of a job, starting the program included.
    pub fn seconds(self, work: Work) -> f64 {
        cost::START_UP
            + match self {
                Speed::Core => work.cpu_seconds(),
                Speed::Device(flops) => work.device_seconds(flops),
            }
    }
}

/// All jobs of a plan, those that are waited for before those that wait.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub jobs: Vec<Job>,
    /// Where each run is made.
    runs: BTreeMap<Key, usize>,
}

impl Graph {
    /// The jobs of a plan.
    ///
    /// # Errors
    /// If the data set of a run that only a measurement needs is unknown.
    pub fn of(plan: &Plan, keys: &mut KeyMaker<'_>) -> Result<Graph, DataError> {
        let mut graph = Graph::default();
        let mut later = Vec::new();
        for key in &plan.order {
            let run = &plan.runs[key];
            let (mut own, mut apart) = (Vec::new(), Vec::new());
            for measure in &run.measures {
                match measure.counterpart(&run.spec) {
                    Some(other) if other != run.spec && Some(&other) != run.spec.parent() => {
                        apart.push((measure.clone(), other));
                    }
                    _ => own.push(measure.clone()),
                }
            }
            graph.add(key, &run.spec, run.parent.as_ref(), own);
            if !apart.is_empty() {
                later.push((key, run, apart));
            }
        }
        let parents: Vec<Key> = plan.runs.values().filter_map(|run| run.parent.clone()).collect();
        for (key, run, apart) in later {
            let mut needs = vec![graph.runs[key]];
            for (_, other) in &apart {
                needs.push(graph.ensure(other, keys)?);
            }
            needs.sort_unstable();
            needs.dedup();
            let measures = apart.into_iter().map(|(measure, _)| measure).collect();
            let spec = run.spec.clone();
            graph.jobs.push(Job { kind: Kind::Measure, key: key.clone(), spec, measures, needs });
        }
        for key in parents {
            graph.jobs[graph.runs[&key]].kind = Kind::Pretrain;
        }
        Ok(graph)
    }

    /// Adds a run whose parent is there; its place.
    fn add(
        &mut self,
        key: &Key,
        spec: &RunSpec,
        parent: Option<&Key>,
        measures: Vec<MeasureSpec>,
    ) -> usize {
        let needs = parent.map(|parent| self.runs[parent]).into_iter().collect();
        let (key, spec) = (key.clone(), spec.clone());
        let place = self.jobs.len();
        self.runs.insert(key.clone(), place);
        self.jobs.push(Job { kind: Kind::Train, key, spec, measures, needs });
        place
    }

    /// The place of a run, which is added with those before it if it is not there.
    fn ensure(&mut self, spec: &RunSpec, keys: &mut KeyMaker<'_>) -> Result<usize, DataError> {
        let key = keys.key(spec)?;
        if let Some(&place) = self.runs.get(&key) {
            return Ok(place);
        }
        let parent = match spec.parent() {
            Some(parent) => {
                let place = self.ensure(parent, keys)?;
                self.jobs[place].kind = Kind::Pretrain;
                Some(self.jobs[place].key.clone())
            }
            None => None,
        };
        Ok(self.add(&key, spec, parent.as_ref(), Vec::new()))
    }
}
