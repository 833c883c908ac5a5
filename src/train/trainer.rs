//! The training loop.

use super::checkpoint::{self, Position, Progress};
use super::evaluate::{Incomplete, MeanMetrics, measure_first, measure_split};
use super::feed::Feed;
use super::metrics::{Evaluation, Metrics, Status};
use super::source::{Source, Split};
use super::{EpochPosition, Inputs, Observer, Step, TrainError, Trained};
use crate::backend::{Backend, Totals};
use crate::models::graph::Graph;
use crate::models::state::{Running, State};
use crate::models::{distance, norm};
use crate::planted;
use crate::spec::{Optimizer, RunSpec, Stop};

/// One run on its way.
pub(super) struct Trainer<'a> {
    spec: &'a RunSpec,
    feed: Feed<'a>,
    origin: &'a State,
    backend: Box<dyn Backend>,
    progress: Progress,
    /// In an epoch.
    batches: u64,
}

/// Whether an epoch is the last one.
enum Next {
    Epoch,
    End(Status),
}

impl<'a> Trainer<'a> {
    /// A run at its start, or where its checkpoint left off.
    pub fn new(
        spec: &'a RunSpec,
        source: &'a Source,
        origin: &'a State,
        mut backend: Box<dyn Backend>,
        inputs: &Inputs<'_>,
    ) -> Result<Trainer<'a>, TrainError> {
        backend.set_optimizer(&rule(&spec.train.optimizer));
        let refuse = |problem: String| Err(TrainError::Checkpoint(problem));
        let progress = match inputs.resume {
            None => Progress::new(inputs.key),
            Some((key, bytes)) => match checkpoint::restore(bytes, &mut *backend) {
                Err(problem) => return refuse(problem.to_string()),
                Ok(found) if found.key != key => {
                    return refuse(format!("belongs to run {}", found.key));
                }
                Ok(progress) => progress,
            },
        };
        let batch_size = spec.train.batch_size as usize;
        let batches = source.len(Split::TrainPlain).div_ceil(batch_size) as u64;
        if progress.position.is_some_and(|position| position.batches > batches) {
            return refuse(format!("counts more batches than the {batches} of an epoch"));
        }
        Ok(Trainer { spec, feed: Feed::new(source), origin, backend, progress, batches })
    }

    /// Trains to the end.
    ///
    /// A run diverges in the first epoch in which a loss is not finite: their sum is not,
    /// then, and is looked at after the pass. What weights do after such a loss differs in
    /// the bits of a NaN between processors, so the run's final weights are all NaN, and it
    /// makes no difference how soon a device gives up.
    pub fn run(mut self, observer: &mut dyn Observer) -> Result<Trained, TrainError> {
        let status = self.train(observer)?;
        observer.ends(&*self.backend);
        let graph = self.backend.graph().clone();
        let state = match status {
            Status::Diverged => not_a_number(&graph),
            Status::Finished | Status::NotMemorized => self.backend.state(),
        };
        let Progress { epoch: epochs, evaluations, .. } = self.progress;
        Ok(Trained { metrics: Metrics { status, epochs, evaluations }, graph, state })
    }

    fn train(&mut self, observer: &mut dyn Observer) -> Result<Status, TrainError> {
        if self.progress.evaluations.is_empty() {
            let at = EpochPosition { epoch: 1, batches: 0, total_batches: self.batches };
            let rate = self.rate(1);
            let first =
                self.or_stop(at, observer, |run, stop| run.evaluation(0, rate, false, stop))?;
            if !first.is_finite() {
                // Weights too large to compute with: there is nothing to train.
                return Ok(Status::Diverged);
            }
            self.progress.evaluations.push(first);
        }
        let most = self.spec.train.stop.max_epochs();
        while self.progress.epoch < most {
            if let Next::End(status) = self.epoch(observer)? {
                return Ok(status);
            }
            let epoch = self.progress.epoch;
            observer.epoch(epoch, most, &|| checkpoint::save(&*self.backend, &self.progress))?;
        }
        Ok(match self.spec.train.stop {
            Stop::Epochs(_) => Status::Finished,
            Stop::Memorized { .. } => Status::NotMemorized,
        })
    }

    fn rate(&self, epoch: u32) -> f64 {
        let train = &self.spec.train;
        self.progress.schedule.rate(&train.schedule, train.learning_rate, epoch)
    }

    /// One epoch with what follows it.
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<Next, TrainError> {
        let train = &self.spec.train;
        let epoch = self.progress.epoch + 1;
        let rate = self.rate(epoch);
        let means = self.pass(rate, observer)?;
        let mut diverged = !means.loss.is_finite();
        let mut memorized = false;
        if !diverged {
            // A checkpoint of this place goes on with what follows, however often that is
            // broken off.
            let at = EpochPosition { epoch, batches: self.batches, total_batches: self.batches };
            observer.step(at, &|| checkpoint::save(&*self.backend, &self.progress))?;
            let (fits, evaluated) =
                self.or_stop(at, observer, |run, stop| run.assess(epoch, rate, means, stop))?;
            memorized = fits;
            diverged = evaluated.as_ref().is_some_and(|evaluation| !evaluation.is_finite());
            self.progress.evaluations.extend(evaluated.filter(|_| !diverged));
        }
        self.progress.epoch = epoch;
        self.progress.position = None;
        if diverged {
            return Ok(Next::End(Status::Diverged));
        }
        if train.snapshots.contains(&epoch) {
            let named = crate::models::weights::named(self.backend.graph(), &self.backend.state());
            observer.snapshot(epoch, named)?;
        }
        self.progress.schedule.observe(&train.schedule, means.loss);
        Ok(if memorized { Next::End(Status::Finished) } else { Next::Epoch })
    }

    /// One pass over the shuffled training set, from where it was broken off if it was. Loss
    /// and accuracy are those of the batches as they were trained on.
    fn pass(&mut self, rate: f64, observer: &mut dyn Observer) -> Result<MeanMetrics, TrainError> {
        let Trainer { spec, feed, backend, progress, batches, .. } = self;
        let (source, batches) = (feed.source(), *batches);
        let epoch = progress.epoch + 1;
        let order = source.order(u64::from(epoch));
        let split = Split::Train { epoch: u64::from(epoch) };
        let mut pass = feed.pass(&mut **backend, split, order.clone())?;
        let done = progress.position.map_or(0, |position| position.batches);
        backend.set_totals(progress.position.map_or(Totals::default(), Position::totals));
        let ranges = pass.ranges(spec.train.batch_size as usize);
        for (range, batch) in ranges.zip(0..batches).skip(done as usize) {
            let at = EpochPosition { epoch, batches: batch, total_batches: batches };
            observer.step(at, &|| {
                let position = Position::new(batch, backend.totals());
                checkpoint::save(&**backend, &progress.within(position))
            })?;
            backend.train(&pass.batch(range.clone()), rate)?;
            let at = EpochPosition { batches: batch + 1, ..at };
            let (backend, examples) = (&**backend, &order[range]);
            observer.trained(&Step { at, rate, backend, source, examples })?;
        }
        let totals = backend.totals();
        progress.position = Some(Position::new(batches, totals));
        Ok(MeanMetrics::of(totals, pass.examples()))
    }

    /// Does what can be broken off between batches; if it is, lets the observer keep the state
    /// of this place.
    fn or_stop<T>(
        &mut self,
        at: EpochPosition,
        observer: &mut dyn Observer,
        work: impl FnOnce(&mut Self, &dyn Fn() -> bool) -> Result<T, Incomplete>,
    ) -> Result<T, TrainError> {
        match work(self, &|| observer.interrupted()) {
            Ok(done) => Ok(done),
            Err(Incomplete::Backend(problem)) => Err(problem.into()),
            Err(Incomplete::Stopped) => {
                observer.step(at, &|| checkpoint::save(&*self.backend, &self.progress))?;
                Err(TrainError::Interrupted(at))
            }
        }
    }

    /// Whether training may end because every example as it is memorized is classified as
    /// labelled, and the evaluation, if one is due.
    fn assess(
        &mut self,
        epoch: u32,
        rate: f64,
        means: MeanMetrics,
        stop: &dyn Fn() -> bool,
    ) -> Result<(bool, Option<Evaluation>), Incomplete> {
        let train = &self.spec.train;
        let memorized = match train.stop {
            Stop::Epochs(_) => false,
            Stop::Memorized { check_from, .. } => {
                means.accuracy >= check_from && self.measure_train(stop)?.accuracy == 100.0
            }
        };
        let last = memorized || epoch == train.stop.max_epochs();
        let due = last || epoch.is_multiple_of(train.evaluate_every);
        let evaluated = if due { Some(self.evaluation(epoch, rate, last, stop)?) } else { None };
        Ok((memorized, evaluated))
    }

    /// Over the training set as it is memorized.
    fn measure_train(&mut self, stop: &dyn Fn() -> bool) -> Result<MeanMetrics, Incomplete> {
        measure_split(&mut *self.backend, &mut self.feed, Split::TrainPlain, stop)
    }

    fn evaluation(
        &mut self,
        epoch: u32,
        learning_rate: f64,
        is_last: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Evaluation, Incomplete> {
        let train = self.measure_train(stop)?;
        let images = (Split::Test, self.feed.source().evaluated(is_last));
        let test = measure_first(&mut *self.backend, &mut self.feed, images, stop)?;
        let moved = distance(&self.backend.state().parameters, &self.origin.parameters);
        Ok(Evaluation {
            epoch,
            learning_rate,
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
            distance: moved,
            distance_relative: moved / norm(&self.origin.parameters),
        })
    }
}

/// The state of a run that diverged.
fn not_a_number(graph: &Graph) -> State {
    let nan = |count: usize| vec![f32::NAN; count];
    State {
        parameters: graph.parameters.iter().map(|p| nan(p.count())).collect(),
        running: (graph.norms.iter())
            .map(|norm| Running { mean: nan(norm.channels), variance: nan(norm.channels) })
            .collect(),
        batches_tracked: 0,
    }
}

/// The declared update rule; another one only with a planted fault.
fn rule(declared: &Optimizer) -> Optimizer {
    let mut rule = declared.clone();
    if let Optimizer::Sgd { momentum, weight_decay } = &mut rule {
        if planted::momentum_off() {
            *momentum = 0.0;
        } else if planted::momentum_too_low() {
            *momentum *= 0.8 / 0.9;
        }
        if planted::weight_decay_off() {
            *weight_decay = 0.0;
        } else if planted::weight_decay_halved() {
            *weight_decay /= 2.0;
        } else if planted::weight_decay_doubled() {
            *weight_decay *= 2.0;
        }
    }
    rule
}
