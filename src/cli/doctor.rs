//! `bgm doctor`: what this machine is and whether it keeps the promise of determinism.

use super::args::Global;
use super::device::{self, Place};
use super::{CliError, session};
use crate::cli::terminal::output;
use crate::data::Catalog;
use crate::experiments::{Plan, Profile, Seeds};
use crate::models::weights;
use crate::spec::{DataSpec, Precision, RunSpec, Schedule, Start, Stop, TRAINING_SEMANTICS};
use crate::train::{self, Inputs, Unobserved};
use crate::verify::exit;

/// Epochs of a self-test: a batch size is recorded as a CUDA graph at its fourth step, and the
/// last, short batch of an epoch comes once in each.
const EPOCHS: u32 = 5;
/// The rate drops after this many of them: both recordings are made again.
const DROP_AFTER: u32 = 4;
/// Test images of a self-test.
const TEST_IMAGES: u32 = 500;

pub fn doctor(global: &Global) -> Result<u8, CliError> {
    let place = device::place(global)?;
    let platform = place.open(global)?.platform();
    output!("bgm        {} (training semantics {TRAINING_SEMANTICS})", env!("CARGO_PKG_VERSION"));
    output!("numerics   {}", platform.numerics);
    output!("device     {}: {}", place.name, platform.device);
    if let Some(bytes) = place.memory() {
        output!("memory     {:.1} GiB on the GPU", bytes as f64 / f64::from(1 << 30));
    }
    output!("threads    {} a run", global.threads.unwrap_or(1));
    output!("commit     {}", session::commit());
    let catalog = global.catalog()?;
    let precisions: &[Precision] =
        if place.is_gpu() { &[Precision::Strict, Precision::Tf32] } else { &[Precision::Strict] };
    let (mut trusted, mut graphs_fit) = (true, true);
    for spec in self_tests(global, &catalog, &place)? {
        for &precision in precisions {
            let spec = RunSpec { precision, ..spec.with_numerics(&platform.numerics) };
            let test = SelfTest { spec, global, place: &place };
            let (first, second) = (test.hash(&catalog, false)?, test.hash(&catalog, false)?);
            trusted &= test.report_repeat(&first, &second);
            graphs_fit &= !place.is_gpu() || test.repeats_with_graphs(&catalog, &first);
        }
    }
    trusted &= graphs_fit || global.no_cuda_graphs;
    Ok(if trusted { exit::SUCCESS } else { exit::ENVIRONMENT })
}

/// A short run of each network of the profile that is trained on this kind of device: from
/// random weights, all regularizers on where the profile has such a run, a last batch that is
/// shorter than the others, and a drop of the learning rate.
fn self_tests(global: &Global, catalog: &Catalog, place: &Place) -> Result<Vec<RunSpec>, CliError> {
    let profile = Profile::read(&global.tables, &global.profile)?;
    let seeds = Seeds::first(1);
    let plan = Plan::new(&profile, &global.tables, catalog, &global.only, Some(&seeds))?;
    let mut tests: Vec<RunSpec> = Vec::new();
    let planned = || plan.order.iter().map(|key| &plan.runs[key].spec);
    let regularized =
        |spec: &&RunSpec| spec.train.augmentation.is_some() || spec.train.noise_copies.is_some();
    for spec in planned().filter(regularized).chain(planned()) {
        let mut spec = spec.clone();
        match &mut spec.data {
            DataSpec::Images(images) => {
                let batch = spec.train.batch_size;
                images.train = 2 * batch + (batch / 3).max(2);
                (images.test, images.test_along) = (TEST_IMAGES, None);
            }
            // A million tiny steps are nothing for a GPU.
            DataSpec::Toy(_) if place.is_gpu() => continue,
            DataSpec::Toy(_) => {}
        }
        spec.start = Start::Random { scale: 1.0 };
        spec.train.corruption = None;
        spec.train.snapshots = Vec::new();
        spec.train.stop = Stop::Epochs(EPOCHS);
        spec.train.schedule = Schedule::MultiStep { milestones: vec![DROP_AFTER], gamma: 0.1 };
        if !tests.iter().any(|test| test.network == spec.network) {
            tests.push(spec);
        }
    }
    Ok(tests)
}

/// One short run, made several times.
struct SelfTest<'a> {
    spec: RunSpec,
    global: &'a Global,
    place: &'a Place,
}

impl SelfTest<'_> {
    fn name(&self) -> String {
        let network = &self.spec.network;
        let precision = match self.spec.precision {
            Precision::Strict => "strict",
            Precision::Tf32 => "tf32",
        };
        format!("{:?} width {}, {precision}", network.arch, network.width)
    }

    /// The weights that it ends with, hashed.
    fn hash(&self, catalog: &Catalog, graphs: bool) -> Result<String, CliError> {
        let device = &*self.place.open_with(self.global, graphs)?;
        let inputs = Inputs { catalog, device, parent: None, resume: None, key: "" };
        let trained = train::train(&self.spec, &inputs, &mut Unobserved)
            .map_err(crate::schedule::worker::RunError::from)?;
        let bytes = weights::to_bytes(&trained.weights(), None);
        Ok(crate::digest::sha256(&bytes))
    }

    fn report_repeat(&self, first: &str, second: &str) -> bool {
        let (a, b, name) = (short(first), short(second), self.name());
        if first == second {
            output!("self-test  passed: {name}: {EPOCHS} epochs twice, the same bits ({a})");
        } else {
            output!("self-test  FAILED: {name}: {EPOCHS} epochs twice gave {a} and {b}");
        }
        first == second
    }

    /// Compares recorded steps with plain ones: whatever goes wrong with them is said, and ends
    /// nothing else.
    fn repeats_with_graphs(&self, catalog: &Catalog, plain: &str) -> bool {
        let name = self.name();
        let made = || self.hash(catalog, true);
        // tch reports some of libtorch's failures as panics.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(made)) {
            // Its steps were made one by one: nothing is wrong, and nothing was tested.
            Ok(Ok(graphs)) if plain == graphs && device::graphs_refused() => {
                output!("graphs     not available: {name}: see the message above");
                true
            }
            Ok(Ok(graphs)) if plain == graphs => {
                output!("graphs     passed: {name}: the same bits with CUDA graphs");
                true
            }
            Ok(Ok(graphs)) => {
                let graphs = short(&graphs);
                output!("graphs     FAILED: {name}: CUDA graphs gave {graphs}: --no-cuda-graphs");
                false
            }
            Ok(Err(problem)) => {
                output!("graphs     FAILED: {name}: use --no-cuda-graphs: {problem}");
                false
            }
            Err(_) => {
                output!("graphs     FAILED: {name}: use --no-cuda-graphs: see the error above");
                false
            }
        }
    }
}

fn short(hash: &str) -> &str {
    &hash[..12]
}
