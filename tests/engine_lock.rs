//! One hash a network: what the definition gives, written down in `tests/engine.lock`.

mod bits;
mod naive;

use bits::{LOCK, hash, lines, locked};
use naive::{Naive, cases};

#[test]
fn the_lock_is_what_the_definition_gives() {
    let mut found = String::new();
    for line in lines() {
        let hash =
            hash(&line, |graph, state| Box::new(Naive::<f32>::new(graph, state, &line.rule)));
        println!("{}: {hash}, locked: {:?}", line.name, locked(&line.name));
        found += &format!("{}: {hash}\n", line.name);
    }
    if std::env::var_os("BGM_ACCEPT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine.lock");
        return std::fs::write(path, found).expect("the lock can be written");
    }
    assert!(
        found == LOCK,
        "docs/numerics.md and tests/engine.lock differ. If the definition has changed, give its \
         numerics another name; if only the data of these cases has (the streams of rng), the \
         name stays. Then write the lock anew: \
         BGM_ACCEPT=1 cargo test --release --test engine_lock"
    );
}
