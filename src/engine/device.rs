//! This machine's CPU as a device.

use super::{Engine, Options};
use crate::backend::{Backend, BackendError, Device, Platform, processor};
use crate::models::graph::Graph;
use crate::models::state::State;
use crate::spec::{Numerics, Precision};

/// A CPU that computes with the engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineDevice(pub Options);

impl Device for EngineDevice {
    fn platform(&self) -> Platform {
        let device = format!("{}, {}", processor(), self.0.simd);
        Platform { numerics: Numerics::portable(), device }
    }

    fn open(
        &self,
        graph: &Graph,
        state: &State,
        precision: Precision,
    ) -> Result<Box<dyn Backend>, BackendError> {
        if precision == Precision::Tf32 {
            return Err(BackendError(
                "the spec asks for precision 'tf32', which only a GPU has: use --device cuda:0, \
                 or precision 'strict'"
                    .to_owned(),
            ));
        }
        Ok(Box::new(Engine::new(graph, state, self.0)))
    }
}
