//! Planted regressions: deliberate mistakes in the training semantics, for the tests
//! that show which level of verification catches which. Only a build with the feature
//! `planted-faults` contains them; elsewhere every function here is a constant `false`
//! and the compiler removes the branch. In such a build the environment variable
//! `BGM_PLANTED_FAULT` names the one mistake to make.

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// The names that `BGM_PLANTED_FAULT` accepts.
        pub const NAMES: &[&str] = &[$(stringify!($name)),+];
        $(
            $(#[doc = $doc])+
            #[inline(always)]
            pub fn $name() -> bool {
                active(stringify!($name))
            }
        )+
    };
}

#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
fn active(_name: &str) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
fn active(name: &str) -> bool {
    use std::sync::OnceLock;
    static FAULT: OnceLock<Option<String>> = OnceLock::new();
    FAULT.get_or_init(|| std::env::var("BGM_PLANTED_FAULT").ok()).as_deref() == Some(name)
}

faults! {
    /// Weight decay is ignored.
    weight_decay_off,
    /// Weight decay is half of what is declared.
    weight_decay_halved,
    /// Weight decay is applied twice.
    weight_decay_doubled,
    /// Momentum is ignored.
    momentum_off,
    /// Momentum is 0.8 where 0.9 is declared.
    momentum_too_low,
    /// Every learning rate is a tenth higher.
    rate_up_by_10_percent,
    /// Every learning rate is three tenths higher.
    rate_up_by_30_percent,
    /// The crop never reaches its last offset.
    crop_off_by_one,
    /// Every augmented image is flipped.
    flip_always,
    /// Six augmented images in ten are flipped where half are declared.
    flip_too_often,
    /// Images are augmented when they are evaluated, too.
    augment_at_evaluation,
    /// BatchNorm evaluates with the statistics of the batch.
    batch_norm_always_training,
    /// The running statistics of BatchNorm follow the batches twice as fast.
    batch_norm_momentum_doubled,
    /// Every example has its neighbour's label.
    labels_shifted,
    /// One example in fifty has its neighbour's label.
    one_label_in_fifty,
    /// Algorithm 1 draws the zeroed values with replacement.
    zero_out_replacement,
    /// The learning rate drops one epoch late.
    schedule_one_epoch_late,
    /// Half of the test images are training images.
    train_test_overlap,
    /// Every seed is seed 0.
    seed_reused,
}
