use bad_global_minima::{data::*, spec::*, train::*, torch, corrupt::*, augment::*};
use std::time::Instant;
fn main() {
    torch::initialize(torch::Precision::Strict).unwrap();
    let cat = Catalog::new("data");
    let info = cat.info("fashion-mnist").unwrap();
    if !std::path::Path::new("data/fashion-mnist-subset/manifest.toml").exists() {
        let (tr, te) = cat.read(info).unwrap();
        let a = subset::balanced(&tr, 10, 2000, (0, 0)).unwrap();
        let b = subset::balanced(&te, 10, 2000, (0, 1)).unwrap();
        subset::write(std::path::Path::new("data/fashion-mnist-subset"), &a, &b, "x").unwrap();
    }
    let args: Vec<String> = std::env::args().collect();
    let get = |k: &str, d: f64| args.iter().position(|a| a == k).map_or(d, |i| args[i + 1].parse().unwrap());
    let seed = get("seed", 0.) as u64;
    if args.iter().any(|a| a == "toy") {
        let toy = |train, start| RunSpec { seed, data: DataSpec::Toy(ToySpec { points_per_class: 50, center: 0.2, std: 0.15, shift: get("shift", 0.5) }),
            network: NetworkSpec { arch: Arch::Mlp, width: 100, batch_norm: false }, start, train };
        let base = |lr, epochs| TrainSpec { corruption: None, augmentation: None, noise_copies: None, batch_size: 10, optimizer: Optimizer::Sgd { momentum: get("mom",0.), weight_decay: 0. }, learning_rate: lr,
            schedule: Schedule::Constant, stop: Stop::Epochs(epochs), evaluate_every: 2000, snapshots: vec![] };
        let mut p = base(get("lr", 0.003), 0);
        p.corruption = Some(CorruptionSpec { replication: 1, zero_out: 0., unit: ZeroOutUnit::Values, random_labels: 1. });
        p.stop = Stop::Memorized { max_epochs: get("max", 100000.) as u32, check_from: 95. };
        p.schedule = Schedule::Plateau { patience: get("patience", 10000.) as u32, factor: 0.3 };
        let t = Instant::now();
        let spec = toy(p, Start::Random { scale: 1. });
        let r = train(&spec, &Inputs { catalog: &cat, device: tch::Device::Cpu, parent: None, resume: None, key: "" }, &mut Unobserved).unwrap();
        for e in &r.metrics.evaluations { println!("{} lr {:.5} loss {:.4} acc {} test {}", e.epoch, e.learning_rate, e.train_loss, e.train_accuracy, e.test_accuracy); }
        println!("{:?} {} epochs {:?}", r.metrics.status, r.metrics.epochs, t.elapsed());
        return;
    }
    let images = DataSpec::Images(ImageDataSpec { dataset: "fashion-mnist-subset".into(), train: get("n", 500.) as u32, test: get("test", 2000.) as u32, evaluate_on: EvaluateOn::Test, pool: 2 });
    let bs = get("bs", 25.) as u32;
    let net = NetworkSpec { arch: Arch::Resnet18, width: get("w", 8.) as u32, batch_norm: true };
    let epochs = get("epochs", 60.) as u32;
    let mk = |train, start| RunSpec { seed, data: images.clone(), network: net.clone(), start, train };
    let base = TrainSpec { corruption: None, augmentation: None, noise_copies: None, batch_size: bs, optimizer: Optimizer::Sgd { momentum: 0., weight_decay: 0. }, learning_rate: get("lr", 0.02),
            schedule: Schedule::MultiStep { milestones: vec![epochs * 3 / 7, epochs * 5 / 7], gamma: 0.1 }, stop: Stop::Epochs(epochs), evaluate_every: get("every", 20.) as u32, snapshots: vec![] };
    let mut p = base.clone();
    p.batch_size = get("pbs", bs as f64) as u32;
    p.corruption = Some(CorruptionSpec { replication: get("R", 5.) as u32, zero_out: get("N",0.1), unit: ZeroOutUnit::Values, random_labels: 1. });
    p.stop = Stop::Memorized { max_epochs: 150, check_from: 99. };
    p.learning_rate = get("plr", 0.05);
    p.schedule = Schedule::Constant;
    let run = |spec: &RunSpec, parent: Option<&_>, label: &str| {
        let t = Instant::now();
        let r = train(spec, &Inputs { catalog: &cat, device: tch::Device::Cpu, parent, resume: None, key: "" }, &mut Unobserved).unwrap();
        let e = r.metrics.last().unwrap();
        println!("{label}: {:?} {} epochs train {:.2} test {:.2} loss {:.4} dist {:.2} {:.1}s", r.metrics.status, r.metrics.epochs, e.train_accuracy, e.test_accuracy, e.train_loss, e.distance, t.elapsed().as_secs_f64());
        bad_global_minima::models::weights::state(&r.network)
    };
    let sota = { let mut s = base.clone(); s.augmentation = Some(AugmentSpec { crop_padding: get("pad", 2.) as u32, flip: 0.5 }); s.optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: get("wd", 5e-4) }; s.learning_rate = get("slr", get("lr", 0.02)); s };
    run(&mk(base.clone(), Start::Random { scale: 1. }), None, "vanilla random");
    run(&mk(sota.clone(), Start::Random { scale: 1. }), None, "sota random");
    let ps = mk(p, Start::Random { scale: 1. });
    let w = run(&ps, None, "pretrain");
    run(&mk(base.clone(), Start::Run(Box::new(ps.clone()))), Some(&w), "vanilla adv");
    run(&mk(sota.clone(), Start::Run(Box::new(ps.clone()))), Some(&w), "sota adv");
}
