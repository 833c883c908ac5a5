//! The paper's architectures, with the parameter names of the authors' PyTorch classes.

pub(super) mod densenet;
pub(super) mod mlp;
pub(super) mod resnet;
pub(super) mod vgg;
