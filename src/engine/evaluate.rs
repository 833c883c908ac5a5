//! Evaluation: block of images by block, each on the thread that is free.

use super::forward::{Network, Statistics};
use super::kernels::{Arena, BLOCK, Machine, Moments, Team};
use super::plan::Keep;
use std::sync::{Mutex, PoisonError};

/// Logits `[images, outputs]` of a batch. `rooms`: memory for each thread.
pub fn logits(
    network: &Network<'_>,
    machine: Machine<'_>,
    inputs: &[f32],
    moments: &[Vec<Moments>],
    rooms: &mut [Arena],
) -> Vec<f32> {
    let outputs = network.graph.signature.outputs;
    let image = network.shape().values();
    let mut logits = vec![0.0; inputs.len() / image * outputs];
    let alone = Team::new(1);
    let alone = Machine { team: &alone, ..machine };
    let blocks = inputs.chunks(BLOCK * image).zip(logits.chunks_mut(BLOCK * outputs));
    let todo = Mutex::new(blocks);
    let rooms: Vec<_> = rooms.iter_mut().map(Mutex::new).collect();
    machine.team.run(rooms.len(), &|part| {
        let mut values = rooms[part].lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = todo.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((inputs, logits)) = next else { return };
            let statistics = Statistics::Given(moments);
            let images = network.forward(alone, inputs, Keep::Needed, &mut values, statistics);
            logits.copy_from_slice(&network.logits(images, Keep::Needed, &values));
        }
    });
    logits
}
