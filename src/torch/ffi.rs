//! Calls into `shim.cpp`. All foreign calls of this room, and with them its `unsafe` code, are
//! in this file.
#![allow(unsafe_code)]

use super::TorchError;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};
use tch::{Device, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn bgm_free(message: *mut c_char);
    fn bgm_set_numerics(allow_tf32: bool) -> *mut c_char;
    fn bgm_cpu_capability() -> *mut c_char;
    fn bgm_sgd_step(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        momenta: *const *const C_tensor,
        count: usize,
        learning_rate: f64,
        momentum: f64,
        weight_decay: f64,
        first_step: bool,
    ) -> *mut c_char;
    fn bgm_adam_step(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        first_moments: *const *const C_tensor,
        second_moments: *const *const C_tensor,
        steps: *const *const C_tensor,
        count: usize,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> *mut c_char;
    fn bgm_gpu_name(device: i8, name: *mut *mut c_char) -> *mut c_char;
    fn bgm_gpu_memory(device: i8, bytes: *mut u64) -> *mut c_char;
    fn bgm_graph_new(device: i8, graph: *mut *mut c_void) -> *mut c_char;
    fn bgm_graph_begin(graph: *mut c_void) -> *mut c_char;
    fn bgm_graph_end(graph: *mut c_void) -> *mut c_char;
    fn bgm_graph_replay(graph: *mut c_void) -> *mut c_char;
    fn bgm_graph_free(graph: *mut c_void);
}

/// Takes over a message that the shim allocated; `None` for null.
fn take(message: *mut c_char) -> Option<String> {
    if message.is_null() {
        return None;
    }
    // SAFETY: the shim returns null or a NUL-terminated string made by strdup, which is
    // copied here and then freed exactly once.
    unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        bgm_free(message);
        Some(text)
    }
}

fn outcome(message: *mut c_char) -> Result<(), TorchError> {
    take(message).map_or(Ok(()), |text| Err(TorchError::Call(text)))
}

pub(super) fn set_numerics(allow_tf32: bool) -> Result<(), String> {
    // SAFETY: no pointers are passed.
    take(unsafe { bgm_set_numerics(allow_tf32) }).map_or(Ok(()), Err)
}

pub(super) fn cpu_capability() -> String {
    // SAFETY: no pointers are passed.
    take(unsafe { bgm_cpu_capability() }).unwrap_or_default()
}

/// Model of a GPU as the driver names it, by CUDA's index of it. libtorch's CUDA libraries must
/// be loaded.
pub(super) fn gpu_name(device: usize) -> Result<String, String> {
    let index = i8::try_from(device).map_err(|_| format!("no GPU has the number {device}"))?;
    let mut name = null_mut();
    // SAFETY: `name` is written before a null message comes back.
    take(unsafe { bgm_gpu_name(index, &raw mut name) }).map_or(Ok(()), Err)?;
    take(name).filter(|name| !name.is_empty()).ok_or_else(|| "the GPU has no name".to_owned())
}

/// Bytes of memory of a GPU, by CUDA's index of it.
pub(super) fn gpu_memory(device: usize) -> Result<u64, String> {
    let index = i8::try_from(device).map_err(|_| format!("no GPU has the number {device}"))?;
    let mut bytes = 0;
    // SAFETY: `bytes` outlives the call, which writes it before a null message comes back.
    let problem = take(unsafe { bgm_gpu_memory(index, &raw mut bytes) });
    problem.map_or(Ok(bytes), Err)
}

/// Loads a shared library for good, with its symbols visible to all.
pub(super) fn load_library(name: &str) -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library is libtorch's own; its initializers register kernels and have no
    // precondition. It is never unloaded.
    match unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn pointers(tensors: &[Tensor]) -> Vec<*const C_tensor> {
    tensors.iter().map(Tensor::as_ptr).collect()
}

/// One step of `torch.optim.SGD` on all parameters at once, in place: momentum buffers are
/// set to the gradient on the first step and updated afterwards, no dampening, no Nesterov.
/// The gradients are consumed: weight decay is added to them.
///
/// # Errors
/// If libtorch refuses the tensors.
pub fn sgd_step(
    parameters: &[Tensor],
    gradients: &[Tensor],
    momenta: &[Tensor],
    (learning_rate, momentum, weight_decay): (f64, f64, f64),
    first_step: bool,
) -> Result<(), TorchError> {
    assert_eq!(parameters.len(), gradients.len());
    assert!(momentum == 0.0 || momenta.len() == parameters.len());
    let (p, g, m) = (pointers(parameters), pointers(gradients), pointers(momenta));
    // SAFETY: the arrays hold `p.len()` live tensors each (the momenta are not read when
    // momentum is 0), and outlive the call.
    outcome(unsafe {
        bgm_sgd_step(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            p.len(),
            learning_rate,
            momentum,
            weight_decay,
            first_step,
        )
    })
}

/// Running moments of Adam, one tensor a parameter, and the step count of each (`[]`, `f32`).
pub struct AdamMoments<'a> {
    pub first: &'a [Tensor],
    pub second: &'a [Tensor],
    pub steps: &'a [Tensor],
}

/// One step of `torch.optim.Adam` (betas 0.9 and 0.999, epsilon 1e-8) on all parameters, in
/// place. `steps` must already count this step.
///
/// # Errors
/// If libtorch refuses the tensors.
pub fn adam_step(
    parameters: &[Tensor],
    gradients: &[Tensor],
    moments: &AdamMoments<'_>,
    learning_rate: f64,
    weight_decay: f64,
) -> Result<(), TorchError> {
    for side in [gradients, moments.first, moments.second, moments.steps] {
        assert_eq!(parameters.len(), side.len());
    }
    let (p, g) = (pointers(parameters), pointers(gradients));
    let (first, second) = (pointers(moments.first), pointers(moments.second));
    let steps = pointers(moments.steps);
    // SAFETY: the five arrays hold `p.len()` live tensors each and outlive the call.
    outcome(unsafe {
        bgm_adam_step(
            p.as_ptr(),
            g.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            steps.as_ptr(),
            p.len(),
            learning_rate,
            0.9,
            0.999,
            weight_decay,
            1e-8,
        )
    })
}

/// A CUDA graph: kernels of one GPU that are recorded once and then launched together.
pub struct Graph {
    raw: NonNull<c_void>,
    recorded: bool,
}

impl Graph {
    /// An empty graph.
    ///
    /// # Errors
    /// If `device` is no GPU, or libtorch has no CUDA graphs.
    pub fn new(device: Device) -> Result<Graph, TorchError> {
        let index = match device {
            Device::Cuda(index) => i8::try_from(index).ok(),
            _ => None,
        };
        let index = index
            .ok_or_else(|| TorchError::Call(format!("CUDA graphs need a GPU, not {device:?}")))?;
        let mut raw = null_mut();
        // SAFETY: `raw` is written before a null message comes back.
        outcome(unsafe { bgm_graph_new(index, &raw mut raw) })?;
        match NonNull::new(raw) {
            Some(raw) => Ok(Graph { raw, recorded: false }),
            None => Err(TorchError::Call("CUDA graphs: nothing was made".to_owned())),
        }
    }

    /// Whether there is something to replay.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Records what `work` gives the device; nothing of it is run. Tensors that it makes keep
    /// their places as long as the graph lives.
    ///
    /// # Errors
    /// What `work` gives, or if it does something that cannot be recorded.
    pub fn record(
        &mut self,
        work: &mut dyn FnMut() -> Result<(), TorchError>,
    ) -> Result<(), TorchError> {
        // SAFETY: the pointer came from `bgm_graph_new` and is freed only on drop.
        outcome(unsafe { bgm_graph_begin(self.raw.as_ptr()) })?;
        // tch reports some of libtorch's failures as panics. An open recording would swallow
        // whatever this thread does afterwards, so it is ended in any case.
        let worked = catch_unwind(AssertUnwindSafe(work));
        // SAFETY: as above; recording has begun.
        let ended = outcome(unsafe { bgm_graph_end(self.raw.as_ptr()) });
        match worked {
            Ok(worked) => worked?,
            Err(_) => {
                let problem = "CUDA graphs: the error above came up while recording";
                return Err(TorchError::Call(problem.to_owned()));
            }
        }
        ended?;
        self.recorded = true;
        Ok(())
    }

    /// Runs what was recorded, on the device's current stream.
    ///
    /// # Errors
    /// If nothing was, or the device refuses.
    pub fn replay(&self) -> Result<(), TorchError> {
        if !self.recorded {
            return Err(TorchError::Call("CUDA graphs: nothing was recorded".to_owned()));
        }
        // SAFETY: as above; the graph was recorded to its end.
        outcome(unsafe { bgm_graph_replay(self.raw.as_ptr()) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `bgm_graph_new`, and dropped once.
        unsafe { bgm_graph_free(self.raw.as_ptr()) }
    }
}
