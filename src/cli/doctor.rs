//! `bgm doctor`: what this machine is and whether it keeps the promise of determinism.

use super::args::Global;
use super::{Failure, session};
use crate::data::Catalog;
use crate::experiments::{Plan, Profile};
use crate::models::weights;
use crate::spec::{RunSpec, Stop, TRAINING_SEMANTICS};
use crate::torch;
use crate::train::{self, Inputs, Unobserved};
use crate::verify::exit;
use sha2::{Digest, Sha256};

/// Epochs of the self-test.
const EPOCHS: u32 = 2;

pub fn doctor(global: &Global) -> Result<u8, Failure> {
    let device = session::device(global)?;
    let platform = torch::platform(device);
    println!("bgm        {} (training semantics {TRAINING_SEMANTICS})", env!("CARGO_PKG_VERSION"));
    println!("libtorch   {}", platform.libtorch);
    println!("device     {device:?}: {}", platform.device);
    println!("threads    {} a run (fixed)", tch::get_num_threads());
    println!("commit     {}", session::commit());
    let catalog = Catalog::new(&global.data);
    let profile = Profile::read(&global.tables, "smoke")?;
    let plan =
        Plan::new(&profile, &global.tables, &catalog, &["table1_accuracy".to_owned()], Some(1))?;
    // The run of the smoke profile with everything switched on and random weights.
    let regularized =
        |spec: &&RunSpec| spec.train.augmentation.is_some() && spec.parent().is_none();
    let spec = plan.runs.values().map(|run| &run.spec).find(regularized);
    let mut spec = spec
        .cloned()
        .ok_or_else(|| Failure::Usage("the smoke profile has no regularized run".to_owned()))?;
    spec.train.stop = Stop::Epochs(EPOCHS);
    let hash = |graphs| -> Result<String, Failure> {
        let inputs =
            Inputs { catalog: &catalog, device, graphs, parent: None, resume: None, key: "" };
        let trained = train::train(&spec, &inputs, &mut Unobserved)
            .map_err(crate::schedule::worker::RunError::from)?;
        let bytes = weights::to_bytes(&weights::state(&trained.network), None);
        Ok(crate::spec::hex(&Sha256::digest(bytes)))
    };
    let (first, second) = (hash(false)?, hash(false)?);
    let same = first == second;
    let short = |hash: &str| hash[..12].to_owned();
    if same {
        println!("self-test  passed: {EPOCHS} epochs twice, the same bits ({})", short(&first));
    } else {
        let (first, second) = (short(&first), short(&second));
        println!("self-test  FAILED: {EPOCHS} epochs twice gave {first} and {second}");
    }
    let graphs = !device.is_cuda()
        || match hash(true) {
            Ok(third) if third == first => {
                println!("graphs     passed: the same bits with --cuda-graphs");
                true
            }
            Ok(third) => {
                println!("graphs     FAILED: --cuda-graphs gave {}: leave it out", short(&third));
                false
            }
            Err(problem) => {
                println!("graphs     FAILED: leave --cuda-graphs out: {problem}");
                false
            }
        };
    let trusted = same && (graphs || !global.cuda_graphs);
    Ok(if trusted { exit::AS_BLESSED } else { exit::ENVIRONMENT })
}
