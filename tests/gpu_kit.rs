//! A visit to a machine with a GPU, rehearsed on the CPU: the kit as `make gpu-kit` puts it
//! together, elsewhere, with libtorch found by LD_LIBRARY_PATH alone.
#![cfg(feature = "torch")]

mod common;

use bad_global_minima::store::Store;
use common::{Workplace, copy_folder, repository, text};
use std::process::Command;

#[test]
#[ignore = "takes minutes: cargo test --release --features torch,download --test gpu_kit -- --ignored"]
fn a_visit_brings_home_what_verification_needs() {
    let place = Workplace::new();
    let (kit, out) = (place.path("kit"), place.path("visit"));
    let build = Command::new(repository().join("scripts/gpu-kit.sh"))
        .env("GPU_KIT", &kit)
        .env("GPU_KIT_BGM", env!("CARGO_BIN_EXE_bgm"))
        .output()
        .unwrap();
    assert!(build.status.success(), "{}", text(&build.stderr));
    // A copy of libtorch, as another installation would have it.
    let torch = place.path("site-packages/torch");
    std::fs::create_dir_all(torch.parent().unwrap()).unwrap();
    let libtorch = std::env::var("LIBTORCH").map_or(repository().join(".libtorch"), Into::into);
    std::os::unix::fs::symlink(libtorch.canonicalize().unwrap(), &torch).unwrap();
    let visit = Command::new(kit.join("gpu-visit.sh"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["--device", "cpu", "--tiny", "--seconds", "900", "--seeds", "1000..1001"])
        .args(["--tables", "paper_tables/pilots", "--rows", "default", "--jobs", "1"])
        .arg("--torch")
        .arg(&torch)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let said = text(&visit.stdout);
    assert!(visit.status.success(), "{said}{}", text(&visit.stderr));
    for stage in ["doctor", "throughput", "bits", "replay", "seeds", "cpu"] {
        assert!(said.contains(&format!("{stage}      passed")), "{stage}: {said}");
    }
    let files = std::fs::read_dir(&out).unwrap().flatten();
    let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().len()).collect();
    assert!(sizes.len() <= 8 && sizes.iter().all(|size| *size < 16 << 20), "{sizes:?}");
    // Of the headline pretraining and four runs; of the pilots pretraining and two, with other
    // numerics; of a seed that no reference has.
    let home = Store::unpack(&out.join("records.tar.gz")).unwrap();
    let keys = home.store.keys().unwrap();
    let specs = keys.iter().map(|key| home.store.read(key).unwrap().spec);
    let (pilots, headline): (Vec<_>, Vec<_>) = specs.partition(|spec| spec.numerics.is_portable());
    assert_eq!((headline.len(), pilots.len()), (5, 3));
    assert!(pilots.iter().chain(&headline).all(|spec| spec.seed == 1000));
    // A stage that fails is named and stops no other.
    let broken = place.path("broken");
    copy_folder(&kit, &broken);
    std::fs::write(broken.join("specs/bits.json"), "{}").unwrap();
    let visit = Command::new(broken.join("gpu-visit.sh"))
        .args(["--device", "cpu", "--tiny", "--seconds", "300", "--only", "bits,replay"])
        .arg("--torch")
        .arg(&torch)
        .arg("--out")
        .arg(place.path("second"))
        .output()
        .unwrap();
    let said = text(&visit.stdout);
    assert_eq!(visit.status.code(), Some(1), "{said}");
    assert!(said.contains("bits      FAILED") && said.contains("replay      passed"), "{said}");
}
