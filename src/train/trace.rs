//! A run's first steps, written down so that another implementation can replay them: initial
//! weights, the exact batches after corruption and augmentation, labels, learning rates,
//! losses, final weights.

use super::schedule::ScheduleState;
use super::source::{Source, Split};
use super::{Inputs, TrainError, start, step};
use crate::models::weights::{self, NamedTensors};
use crate::optim::OptimizerState;
use crate::spec::{RunSpec, TRAINING_SEMANTICS};
use tch::{Kind, Tensor};

/// Traces the first `steps` steps of a run by the same code that trains it.
///
/// The file holds `initial/<name>` and `final/<name>` (the `state_dict`), `batch/<k>/inputs`
/// `[batch, channels, height, width]` and `batch/<k>/labels` `[batch]`, `learning_rates` and
/// `losses` `[steps]`; its metadata the spec as JSON.
///
/// # Errors
/// If data or weights cannot be read or libtorch fails.
pub fn trace(spec: &RunSpec, inputs: &Inputs<'_>, steps: usize) -> Result<Vec<u8>, TrainError> {
    let source = Source::open(spec, inputs.catalog)?;
    let mut network = start(spec, &source, inputs.parent, inputs.device)?;
    let mut optimizer = OptimizerState::new(&spec.train.optimizer, &network);
    let mut tensors = NamedTensors::new();
    let under = |place: &'static str, state: NamedTensors| {
        state.into_iter().map(move |(name, tensor)| (format!("{place}/{name}"), tensor))
    };
    tensors.extend(under("initial", weights::state(&network)));
    let (mut rates, mut losses) = (Vec::new(), Vec::new());
    let mut schedule = ScheduleState::new();
    let train = &spec.train;
    'epochs: for epoch in 1..=train.stop.max_epochs() {
        let rate = schedule.rate(&train.schedule, train.learning_rate, epoch);
        let split = Split::Train { epoch: u64::from(epoch) };
        let (mut sum, order) = (0.0, source.order(u64::from(epoch)));
        for examples in order.chunks(train.batch_size as usize) {
            if losses.len() == steps {
                break 'epochs;
            }
            let batch = source.batch(split, examples.iter().map(|&e| e as usize));
            let (x, y) = batch.tensors(source.signature(), inputs.device);
            let (_, loss) = step(&mut network, &mut optimizer, (&x, &y), rate)?;
            let loss = loss.to_kind(Kind::Float).double_value(&[]);
            let place = format!("batch/{}", losses.len());
            tensors.insert(format!("{place}/inputs"), x);
            tensors.insert(format!("{place}/labels"), y);
            rates.push(rate as f32);
            losses.push(loss as f32);
            // The toy's loss is a sum over the batch, the images' a mean.
            let examples = examples.len() as f64;
            sum += if source.signature().outputs == 1 { loss } else { loss * examples };
        }
        schedule.observe(&train.schedule, sum / order.len() as f64);
    }
    tensors.extend(under("final", weights::state(&network)));
    tensors.insert("learning_rates".to_owned(), Tensor::from_slice(&rates));
    tensors.insert("losses".to_owned(), Tensor::from_slice(&losses));
    let metadata = serde_json::json!({
        "format": 1, "key": inputs.key, "spec": spec, "semantics": TRAINING_SEMANTICS,
    });
    Ok(weights::to_bytes(&tensors, Some(metadata.to_string())))
}
