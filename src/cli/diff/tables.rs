//! Raw values per seed out of a report's tables: what two commits' own programs wrote is
//! compared by name, so that it does not matter whether they agree on keys.

use super::Numbers;
use crate::cli::CliError;
use std::path::Path;

/// The values of all tables in a folder, by experiment, cell and metric.
pub fn numbers(folder: &Path) -> Result<Numbers, CliError> {
    let failed = |e: std::io::Error| CliError::Environment(format!("{}: {e}", folder.display()));
    let mut numbers = Numbers::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "csv") {
            read(&std::fs::read_to_string(&path).map_err(failed)?, &mut numbers);
        }
    }
    Ok(numbers)
}

/// Rows that are no part of such a table are passed over.
fn read(text: &str, numbers: &mut Numbers) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let Ok(head) = reader.headers().cloned() else { return };
    let place = |name: &str| head.iter().position(|column| column == name);
    let (Some(metric), Some(values)) = (place("metric"), place("values")) else { return };
    for row in reader.records().flatten() {
        // Between the experiment and the metric stand the levels of the axes.
        let levels: Vec<String> =
            (1..metric).map(|axis| format!("{}={}", &head[axis], &row[axis])).collect();
        let name = format!("{} [{}] {}", &row[0], levels.join(" "), &row[metric]);
        let pairs = row[values].split(';').filter_map(|pair| {
            let (seed, value) = pair.split_once(':')?;
            Some((seed.parse().ok()?, value.parse().ok()?))
        });
        numbers.insert(name, pairs.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_whatever_else_a_row_holds() {
        let text = "experiment,init,metric,published_source,values\n\
                    t1,random,test_accuracy,\"a, \"\"b\"\"\n c\",0:80.5;2:-1e-3\n\
                    t1,adversarial,test_accuracy,,\n";
        let mut numbers = Numbers::new();
        read(text, &mut numbers);
        let values = &numbers["t1 [init=random] test_accuracy"];
        assert_eq!(values.iter().collect::<Vec<_>>(), [(&0, &80.5), (&2, &-1e-3)]);
        assert!(numbers["t1 [init=adversarial] test_accuracy"].is_empty());
    }
}
