//! Two references beside each other: the same question answered by another implementation, or on
//! other seeds.

use super::estimate::{Estimate, Term, Variance};
use super::reference::{BlessedVerdict, Reference, ReferenceValue};

/// How the means of one metric of one cell differ: the second reference's less the first's.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanDifference {
    /// `experiment [cell] metric`.
    pub name: String,
    pub means: [f64; 2],
    /// Welch's estimate: whether or not the two share their seeds, their runs part from each
    /// other early on.
    pub estimate: Estimate,
}

/// The differences of all means that both references have, of the experiments named in `only`
/// (of all, if it is empty), in the first one's order. A cell with fewer than two seeds on a
/// side has none.
pub fn differences(a: &Reference, b: &Reference, only: &[String]) -> Vec<MeanDifference> {
    let term = |value: &ReferenceValue, weight| Term {
        weight,
        samples: value.seeds.iter().copied().zip(value.values.iter().copied()).collect(),
    };
    let difference = |left: &ReferenceValue| {
        let right = b.value(&left.experiment, &left.cell, &left.metric)?;
        let terms = [term(right, 1.0), term(left, -1.0)];
        Some(MeanDifference {
            name: left.name(),
            means: [left.mean()?, right.mean()?],
            estimate: Estimate::of(&terms, Variance::Welch, None, None)?,
        })
    };
    let wanted = |value: &&ReferenceValue| only.is_empty() || only.contains(&value.experiment);
    a.values.iter().filter(wanted).filter_map(difference).collect()
}

/// The blessed verdicts of the claims that both references judge, on the experiments named in
/// `only` (on all, if it is empty).
pub fn verdicts<'a>(
    a: &'a Reference,
    b: &'a Reference,
    only: &[String],
) -> Vec<(&'a str, [&'a BlessedVerdict; 2])> {
    let wanted = |verdict: &BlessedVerdict| only.is_empty() || only.contains(&verdict.experiment);
    let left = a.verdicts.iter().filter(|(_, verdict)| wanted(verdict));
    left.filter_map(|(id, left)| Some((id.as_str(), [left, b.verdicts.get(id)?]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Platform;
    use crate::spec::Numerics;
    use std::collections::BTreeMap;

    fn reference(values: &[(&str, &[f64])]) -> Reference {
        let value = |(experiment, values): &(&str, &[f64])| ReferenceValue {
            experiment: (*experiment).to_owned(),
            cell: "init=random".to_owned(),
            metric: "test_accuracy".to_owned(),
            seeds: (0..values.len() as u64).collect(),
            values: values.to_vec(),
            excluded: Vec::new(),
            resolution: 0.0,
            max_spread: 1e9,
        };
        Reference {
            profile: "quick".to_owned(),
            reason: String::new(),
            date: String::new(),
            commit: String::new(),
            semantics: 3,
            platform: Platform { numerics: Numerics::portable(), device: String::new() },
            protocol: None,
            verdicts: BTreeMap::new(),
            values: values.iter().map(value).collect(),
        }
    }

    #[test]
    fn means_are_compared_by_welch_where_both_have_them() {
        let a = reference(&[("one", &[70.0, 72.0, 74.0]), ("two", &[1.0, 2.0]), ("alone", &[3.0])]);
        let b = reference(&[("one", &[75.0, 73.0]), ("two", &[5.0])]);
        let found = differences(&a, &b, &[]);
        assert_eq!(found.len(), 1, "one seed has no spread: {found:?}");
        assert_eq!(found[0].name, "one [init=random] test_accuracy");
        assert_eq!(found[0].means, [72.0, 74.0]);
        // Variances 4 and 2: 4/3 + 2/2, and (7/3)^2 / ((4/3)^2 / 2 + 1) degrees of freedom.
        let Estimate { effect, standard_error, degrees, n } = found[0].estimate;
        assert_eq!((effect, n), (2.0, 2));
        assert!((standard_error - (7.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((degrees - 49.0 / 17.0).abs() < 1e-12, "{degrees}");
        assert_eq!(differences(&a, &b, &["two".to_owned()]), []);
    }
}
