//! Which of the processor's instructions the kernels use.

use std::fmt;

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

/// Instructions that this processor has. Results do not depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simd(Kind);

/// Why [`Simd::named`] gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimdError {
    #[error("unknown instruction set {0:?}: give avx512, avx2 or plain")]
    Unknown(String),
    #[error("this processor does not have {0}: give one of {1}")]
    Missing(&'static str, String),
}

/// All names, the fastest first.
const NAMES: [&str; 3] = ["avx512", "avx2", "plain"];

impl Simd {
    /// The fastest that this processor has.
    pub fn detect() -> Simd {
        NAMES.into_iter().find_map(find).unwrap_or(Simd(Kind::Plain))
    }

    /// All that this processor has, the fastest first.
    pub fn available() -> Vec<Simd> {
        NAMES.into_iter().filter_map(find).collect()
    }

    /// `avx512`, `avx2` or `plain`.
    ///
    /// # Errors
    /// For other names, and for those that this processor does not have.
    pub fn named(name: &str) -> Result<Simd, SimdError> {
        let known = NAMES.into_iter().find(|&known| known == name);
        let known = known.ok_or_else(|| SimdError::Unknown(name.to_owned()))?;
        find(known).ok_or_else(|| {
            let names: Vec<_> = Simd::available().into_iter().map(Simd::name).collect();
            SimdError::Missing(known, names.join(", "))
        })
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Plain => "plain",
        }
    }

    /// Whether fused multiply-adds are instructions: without, training is about 100 times
    /// slower.
    pub fn is_fast(self) -> bool {
        self.0 != Kind::Plain || cfg!(target_arch = "aarch64")
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The instructions of this name if the processor has them all.
fn find(name: &str) -> Option<Simd> {
    match name {
        #[cfg(target_arch = "x86_64")]
        "avx512" => (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma"))
        .then_some(Simd(Kind::Avx512)),
        #[cfg(target_arch = "x86_64")]
        "avx2" => (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
            .then_some(Simd(Kind::Avx2)),
        "plain" => Some(Simd(Kind::Plain)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_what_the_processor_has() {
        for simd in Simd::available() {
            assert_eq!(Simd::named(simd.name()), Ok(simd));
        }
        assert_eq!(Simd::available().first(), Some(&Simd::detect()));
        assert_eq!(Simd::named("plain").map(Simd::name), Ok("plain"));
        for missing in NAMES.into_iter().filter(|&name| find(name).is_none()) {
            let message = Simd::named(missing).expect_err(missing).to_string();
            assert!(message.contains(missing), "{message}");
        }
        let message = Simd::named("sse9").expect_err("no such instructions").to_string();
        assert!(message.contains("sse9") && message.contains("avx2"), "{message}");
    }
}
