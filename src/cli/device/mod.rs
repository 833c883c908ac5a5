//! Which engine and which devices a command computes on.

#[cfg(not(feature = "torch"))]
#[path = "absent.rs"]
mod libtorch;
#[cfg(feature = "torch")]
mod libtorch;

use super::CliError;
use super::args::{EngineName, Global};
use crate::backend::{Device, Platform};
use crate::cli::terminal::note;
use crate::engine::{EngineDevice, Options, Simd};
use crate::experiments::Profile;
use crate::spec::Numerics;
use crate::verify::reference::Reference;
use std::collections::BTreeSet;
use std::sync::Once;

pub use libtorch::{clear_settings, graphs_refused};

/// What stands for every GPU of the machine.
pub const ALL_GPUS: &str = "cuda:all";

/// One device, as children are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub engine: EngineName,
    /// `cpu` or `cuda:N`.
    pub name: String,
}

impl Place {
    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.name != "cpu"
    }

    /// Bytes of a GPU's memory, if it is one and says so.
    pub fn memory(&self) -> Option<u64> {
        libtorch::memory(&self.name)
    }

    /// The device, with `threads` of this process where the engine computes.
    ///
    /// # Errors
    /// If it is absent, or `BGM_SIMD` asks for instructions that it has not.
    pub fn open(&self, global: &Global) -> Result<Box<dyn Device>, CliError> {
        self.open_with(global, !global.no_cuda_graphs)
    }

    /// As [`Place::open`], with steps on a GPU recorded as CUDA graphs or not, as told.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn open_with(&self, global: &Global, graphs: bool) -> Result<Box<dyn Device>, CliError> {
        match self.engine {
            EngineName::Portable => {
                let threads = global.threads.unwrap_or(1);
                if threads == 0 {
                    let problem = "--threads 0: there must be at least one".to_owned();
                    return Err(CliError::Usage(problem));
                }
                Ok(Box::new(EngineDevice(Options { simd: simd()?, threads })))
            }
            EngineName::Libtorch => libtorch::open(&self.name, graphs),
        }
    }
}

/// The instructions that `BGM_SIMD` names, or the fastest that the processor has.
fn simd() -> Result<Simd, CliError> {
    static SAID: Once = Once::new();
    match std::env::var("BGM_SIMD") {
        Err(_) => {
            let simd = Simd::detect();
            if !simd.is_fast() {
                SAID.call_once(|| {
                    note!(
                        "bgm: this processor has no AVX2 with FMA: the same bits take about a \
                         hundred times as long"
                    );
                });
            }
            Ok(simd)
        }
        Ok(name) => {
            Simd::named(&name).map_err(|problem| CliError::Usage(format!("BGM_SIMD: {problem}")))
        }
    }
}

/// The devices of the command line; at least one.
///
/// # Errors
/// If one is unknown, absent, or does not go with the engine.
pub fn places(global: &Global) -> Result<Vec<Place>, CliError> {
    let engine = match (global.engine, global.device.as_str()) {
        (Some(engine), _) => engine,
        (None, "cpu") => EngineName::Portable,
        (None, "auto") if !wants_gpu(global) => EngineName::Portable,
        (None, _) => EngineName::Libtorch,
    };
    let names = match (engine, global.device.as_str()) {
        (EngineName::Portable, "auto" | "cpu") => vec!["cpu".to_owned()],
        (EngineName::Portable, device) => {
            return Err(CliError::Usage(format!(
                "--engine portable computes on CPUs, not on '{device}': leave one of the two \
                 options out"
            )));
        }
        (EngineName::Libtorch, "auto") if wants_gpu(global) => {
            libtorch::names("cuda:0").map_err(|problem| {
                CliError::Environment(format!(
                    "the profile '{}' is made for a GPU: {problem}; --device cpu runs it on this \
                     processor all the same",
                    global.profile
                ))
            })?
        }
        (EngineName::Libtorch, "cuda") => libtorch::names("cuda:0")?,
        (EngineName::Libtorch, device) => libtorch::names(device)?,
    };
    Ok(names.into_iter().map(|name| Place { engine, name }).collect())
}

/// Whether the profile is declared for GPUs; one that cannot be read is not.
fn wants_gpu(global: &Global) -> bool {
    Profile::read(&global.tables, &global.profile).is_ok_and(|profile| profile.gpu)
}

/// Whether no device was asked for, and the profile is made for a GPU: its runs can be read where
/// there is none.
pub fn is_left_to_gpu_profile(global: &Global) -> bool {
    global.device == "auto" && global.engine.is_none() && wants_gpu(global)
}

/// The one device of a run.
///
/// # Errors
/// As [`places`], or if there are several.
pub fn place(global: &Global) -> Result<Place, CliError> {
    if global.device == ALL_GPUS {
        return Err(CliError::Usage(
            "--device cuda:all spreads runs over all GPUs, and this is about one: use cuda:0, or \
             `bgm reproduce`"
                .to_owned(),
        ));
    }
    let places = places(global)?;
    places.into_iter().next().ok_or_else(|| CliError::Environment("there is no device".to_owned()))
}

/// The device that runs are compared with: the first of several.
///
/// # Errors
/// As [`places`].
pub fn first(global: &Global) -> Result<Box<dyn Device>, CliError> {
    match places(global)?.first() {
        Some(place) => place.open(global),
        None => Err(CliError::Environment("there is no device".to_owned())),
    }
}

/// Numerics that the keys of planned runs hold: this device's. Where there is no GPU, for a profile
/// that is made for one or with `--device cuda`, those of its reference: its runs can be read, and
/// planned, anywhere.
///
/// # Errors
/// As [`places`], unless `--numerics` says them.
pub fn numerics(global: &Global) -> Result<Numerics, CliError> {
    if let Some(numerics) = &global.numerics {
        return Ok(numerics.clone());
    }
    let problem = match first(global) {
        Ok(device) => return Ok(device.platform().numerics),
        Err(problem) => problem,
    };
    let is_cuda = global.device == "cuda";
    match Reference::of_profile(&global.expected, &global.profile) {
        Ok(Some(Reference { platform: Platform { numerics, .. }, .. }))
            if is_left_to_gpu_profile(global) || is_cuda && !numerics.is_portable() =>
        {
            Ok(numerics)
        }
        _ if is_cuda => Err(CliError::Environment(format!(
            "{problem}; to plan for a GPU elsewhere, name its numerics as `bgm doctor` prints them \
             there: --numerics 'libtorch 2.11.0 cuda NVIDIA H200', say"
        ))),
        _ => Err(problem),
    }
}

/// The models of several devices; more than one give different bits.
///
/// # Errors
/// If one cannot be opened.
pub fn models(global: &Global, places: &[Place]) -> Result<BTreeSet<String>, CliError> {
    places.iter().map(|place| Ok(place.open(global)?.platform().device)).collect()
}
