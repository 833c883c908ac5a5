#!/usr/bin/env python3
"""The work of `bgm` as an experienced user writes it in PyTorch, for `make bench-vs-pytorch`.

Same networks (examples/networks.py), data, batches, augmentation, schedule, evaluations and
number of epochs; PyTorch's defaults elsewhere: its initial weights, its random numbers,
torch.optim.SGD as it comes, as many threads as it takes. The data set is small, so it lies in
memory, normalized once; a batch is gathered and augmented as a whole by the DataLoader.

    pytorch_baseline.py step       --work WORK --layout contiguous --threads 1
    pytorch_baseline.py epoch      --work WORK --layout contiguous [--threads N] [--workers N]
    pytorch_baseline.py probe      --work WORK --layout contiguous
    pytorch_baseline.py corruption --work WORK
    pytorch_baseline.py headline   --work WORK --layout contiguous [--workers N] [--processes N]
    pytorch_baseline.py flop       --work WORK
    pytorch_baseline.py throughput --work WORK --rows default,channels_last --device cuda:0 \
                                   --precision strict,tf32 --network NAME --batch 128

WORK is a JSON file that the benchmark writes: the specs of the runs and where the data is.
Every task prints one line of JSON; times are in seconds.
"""

import argparse
import concurrent.futures
import functools
import gzip
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples"))
sys.dont_write_bytecode = True

# "On one core" holds for NumPy too, whatever its build: before it is imported.
if "corruption" in sys.argv[1:2]:
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import networks

EVALUATION_BATCH = 500
MATRIX_PRODUCT = networks.Pointwise
MEMORY = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


# ------------------------------------------------------------------------------ the data


def read_idx(path):
    """The values of a gzip-compressed IDX file."""
    content = gzip.decompress(pathlib.Path(path).read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def pooled(images, side):
    """Averages squares of side x side pixels, rounded half up."""
    if side == 1:
        return images
    count, height, width = images.shape
    squares = images.reshape(count, height // side, side, width // side, side)
    area = side * side
    return ((squares.sum((2, 4), dtype=np.uint32) + area // 2) // area).astype(np.uint8)


def load(work, data):
    """Training and test images [count, height, width] with their labels."""
    folder = pathlib.Path(work["data"]) / data["dataset"]
    train = read_idx(folder / "train-images-idx3-ubyte.gz"), read_idx(folder / "train-labels-idx1-ubyte.gz")
    test = read_idx(folder / "t10k-images-idx3-ubyte.gz"), read_idx(folder / "t10k-labels-idx1-ubyte.gz")

    def first(images, labels, count):
        count = count or len(images)
        return pooled(images[:count], data["pool"]), labels[:count].astype(np.int64)

    return first(*train, data["train"]), first(*test, data["test"])


def zeroed_places(random, shape, count):
    """In each row `count` of the places, chosen at random: those of the smallest keys.

    The fastest of eight variants in NumPy 2.4: keys of 32 bits rather than doubles, partition
    and a comparison rather than argpartition, one copy of all images at a time rather than all
    at once. Two equal keys at the bound, which happens in one of 275 sets of 20,000 images,
    would zero one place more.
    """
    keys = random.integers(0, 2**32, shape, dtype=np.uint32)
    return keys <= np.partition(keys, count - 1, axis=1)[:, count - 1 : count]


def corrupted(images, replication, zero_out, classes, random, places=zeroed_places):
    """Algorithm 1: `replication` copies of each image with floor(zero_out * pixels) of their
    pixels set to zero, and random labels."""
    count, pixels = len(images), images[0].size
    zeroed = int(zero_out * pixels + 1e-9)
    flat = images.reshape(count, pixels)
    copies = np.empty((replication, count, pixels), np.uint8)
    for copy in copies:
        if zeroed:
            np.multiply(flat, ~places(random, flat.shape, zeroed), out=copy)
        else:
            copy[:] = flat
    labels = random.integers(0, classes, replication * count)
    return copies.reshape(-1, *images.shape[1:]), labels


def places_by_argpartition(random, shape, count):
    """The same as one writes it at first."""
    places = np.zeros(shape, bool)
    chosen = np.argpartition(random.random(shape), count, axis=1)[:, :count]
    np.put_along_axis(places, chosen, True, axis=1)
    return places


class Images(Dataset):
    """Images in memory, normalized; with `augmentation`, cropped and flipped at random."""

    def __init__(self, work, images, labels, layout, augmentation=None):
        padding = augmentation["crop_padding"] if augmentation else 0
        raw = functional.pad(torch.from_numpy(np.ascontiguousarray(images)), [padding] * 4)
        self.images = (raw.float().div_(255).sub_(work["mean"]).div_(work["std"])).unsqueeze(1)
        self.labels = torch.from_numpy(np.ascontiguousarray(labels))
        self.side = images.shape[1:]
        self.padding = padding
        self.flip = augmentation["flip"] if augmentation else 0.0
        self.format = MEMORY[layout]

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, indices):
        """A whole batch at once: inputs [batch, 1, height, width] and labels [batch]."""
        indices = torch.as_tensor(indices)
        if self.padding:
            (height, width), count = self.side, len(indices)
            tops = torch.randint(2 * self.padding + 1, (count, 1))
            lefts = torch.randint(2 * self.padding + 1, (count, 1))
            along = torch.arange(width).expand(count, width)
            along = torch.where(torch.rand(count, 1) < self.flip, along.flip(1), along)
            rows = (tops + torch.arange(height))[:, :, None]
            columns = (lefts + along)[:, None, :]
            inputs = self.images[indices[:, None, None], 0, rows, columns].unsqueeze(1)
        else:
            inputs = self.images[indices]
        return inputs.contiguous(memory_format=self.format), self.labels[indices]


def as_it_is(batch):
    return batch


def loader(dataset, batch_size, workers, shuffle):
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=as_it_is,
    )


# -------------------------------------------------------------------------- the training


def build(work, spec, layout, dataset):
    return network_of(spec["network"], (1, *dataset.side), work["classes"], layout)


def network_of(network, shape, classes, layout, device="cpu"):
    """The network as one writes it: 1x1 convolutions are nn.Conv2d too, except where that
    breaks the heap (see networks.Pointwise): below 16 channels, channels-last, on a CPU."""
    arch, width = network["arch"], network["width"]
    breaks = layout == "channels_last" and width < 16 and device == "cpu"
    networks.Pointwise = MATRIX_PRODUCT if breaks else nn.Conv2d
    model = networks.build(arch, width, network.get("batch_norm", True), shape, classes)
    return model.to(device, memory_format=MEMORY[layout])


def optimizer_of(model, train):
    sgd = train["optimizer"]["sgd"]
    return torch.optim.SGD(
        model.parameters(),
        lr=train["learning_rate"],
        momentum=sgd["momentum"],
        weight_decay=sgd["weight_decay"],
    )


def scheduler_of(optimizer, schedule):
    """Steps once an epoch; constant where the schedule is."""
    plan = schedule["multi_step"] if isinstance(schedule, dict) else {"milestones": [], "gamma": 1.0}
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, plan["milestones"], plan["gamma"])


def step(model, optimizer, inputs, labels):
    optimizer.zero_grad()
    logits = model(inputs)
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
    return logits, loss


def train_epoch(model, optimizer, batches):
    """Running accuracy in percent; read once, at the end."""
    model.train()
    correct = torch.zeros((), dtype=torch.int64)
    total = torch.zeros(())
    count = 0
    for inputs, labels in batches:
        logits, loss = step(model, optimizer, inputs, labels)
        correct += (logits.detach().argmax(1) == labels).sum()
        total += loss.detach() * len(labels)
        count += len(labels)
    if not torch.isfinite(total):
        sys.exit("error: the loss is not finite")
    return 100.0 * correct.item() / count


@torch.inference_mode()
def accuracy(model, dataset):
    """In percent, in evaluation mode, in large batches."""
    model.eval()
    correct = 0
    for first in range(0, len(dataset), EVALUATION_BATCH):
        indices = range(first, min(first + EVALUATION_BATCH, len(dataset)))
        inputs, labels = dataset.__getitems__(indices)
        logits = model(inputs)
        functional.cross_entropy(logits, labels)
        correct += (logits.argmax(1) == labels).sum().item()
    return 100.0 * correct / len(dataset)


def datasets(work, spec, layout):
    """As it is trained on, the same without augmentation, and the test images."""
    train = spec["train"]
    (images, labels), test = load(work, spec["data"]["images"])
    corruption = train["corruption"]
    if corruption:
        random = np.random.default_rng(spec["seed"])
        images, labels = corrupted(
            images, corruption["replication"], corruption["zero_out"], work["classes"], random
        )
    plain = Images(work, images, labels, layout)
    augmentation = train["augmentation"]
    augmented = Images(work, images, labels, layout, augmentation) if augmentation else plain
    return augmented, plain, Images(work, *test, layout)


def run(work, entry, layout, workers, parents):
    """Trains one run for as many epochs as `entry` says; gives its final weights."""
    spec = entry["spec"]
    torch.manual_seed(spec["seed"])
    train = spec["train"]
    augmented, plain, test = datasets(work, spec, layout)
    model = build(work, spec, layout, plain)
    if entry["parent"]:
        model.load_state_dict(parents[entry["parent"]])
    optimizer = optimizer_of(model, train)
    scheduler = scheduler_of(optimizer, train["schedule"])
    batches = loader(augmented, train["batch_size"], workers, shuffle=True)
    memorize = train["stop"].get("memorized")
    evaluations = [(accuracy(model, plain), accuracy(model, test))]
    for epoch in range(1, entry["epochs"] + 1):
        running = train_epoch(model, optimizer, batches)
        scheduler.step()
        if memorize and running >= memorize["check_from"]:
            accuracy(model, plain)  # the exact check; the number of epochs is given
        if epoch % train["evaluate_every"] == 0 or epoch == entry["epochs"]:
            evaluations.append((accuracy(model, plain), accuracy(model, test)))
    return model.state_dict(), evaluations[-1]


# ----------------------------------------------------------------------------- the tasks


def timed(body):
    start = time.perf_counter()
    kept = body()  # freeing it does not count
    seconds = time.perf_counter() - start
    del kept
    return seconds


def task_step(work, options):
    spec = work["spec"]
    augmented, _, _ = datasets(work, spec, options.layout)
    model = build(work, spec, options.layout, augmented)
    model.train()
    optimizer = optimizer_of(model, spec["train"])
    inputs, labels = augmented.__getitems__(range(spec["train"]["batch_size"]))
    seconds = [timed(lambda: step(model, optimizer, inputs, labels)) for _ in range(options.count + 10)]
    return {"seconds": seconds[10:], "threads": torch.get_num_threads()}


def epochs(work, layout, workers, count):
    """Seconds of `count` epochs after one to warm up."""
    spec = work["spec"]
    augmented, _, _ = datasets(work, spec, layout)
    model = build(work, spec, layout, augmented)
    optimizer = optimizer_of(model, spec["train"])
    batches = loader(augmented, spec["train"]["batch_size"], workers, shuffle=True)
    return [timed(lambda: train_epoch(model, optimizer, batches)) for _ in range(count + 1)][1:]


def task_epoch(work, options):
    seconds = epochs(work, options.layout, options.workers, options.count)
    return {"seconds": seconds, "threads": torch.get_num_threads(), "workers": options.workers}


def task_probe(work, options):
    """Tries numbers of threads and of workers."""
    default = torch.get_num_threads()
    tried = []
    for threads in sorted({1, default}):
        torch.set_num_threads(threads)
        for workers in (0, 2):
            seconds = statistics.median(epochs(work, options.layout, workers, options.count))
            tried.append({"threads": threads, "workers": workers, "seconds": seconds})
    return {"tried": tried, "default_threads": default}


def task_corruption(work, options):
    """At R = 10 on all images, at their full size. Reading the files does not count."""
    folder = pathlib.Path(work["data"]) / work["corruption"]["dataset"]
    images = read_idx(folder / "train-images-idx3-ubyte.gz")
    random = np.random.default_rng(0)
    settings = work["corruption"]

    def body(places):
        replication, zero_out = settings["replication"], settings["zero_out"]
        copies, _ = corrupted(images, replication, zero_out, work["classes"], random, places)
        return copies

    copies = body(zeroed_places)
    least = int(settings["zero_out"] * images[0].size + 1e-9)
    if (copies == 0).sum((1, 2)).min() < least:
        sys.exit("error: a copy has fewer zeros than Algorithm 1 makes")
    report = {"images": len(images), "numpy": np.__version__}
    for name, places in ("seconds", zeroed_places), ("argpartition_seconds", places_by_argpartition):
        report[name] = [timed(lambda: body(places)) for _ in range(options.count)]
    return report


def train_all(work, entries, options):
    """One run after the other; gives the last accuracies by key."""
    parents, last = {}, {}
    for entry in entries:
        parents[entry["key"]], last[entry["key"]] = run(
            work, entry, options.layout, options.workers, parents
        )
    return last


def train_seed(work, seed, options):
    torch.set_num_threads(1)
    return train_all(work, [e for e in work["runs"] if e["spec"]["seed"] == seed], options)


def task_headline(work, options):
    """The whole grid: one run after the other, or a single-threaded process for every seed,
    `processes` at a time. Importing torch does not count."""
    start = time.perf_counter()
    if options.processes == 1:
        last = train_all(work, work["runs"], options)
    else:
        last = {}
        seeds = sorted({entry["spec"]["seed"] for entry in work["runs"]})
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(options.processes, context) as pool:
            for part in pool.map(functools.partial(train_seed, work, options=options), seeds):
                last.update(part)
    seconds = time.perf_counter() - start
    threads = torch.get_num_threads() if options.processes == 1 else 1
    return {"seconds": [seconds], "threads": threads, "accuracies": last}


def task_flop(work, options):
    """Floating-point operations of a training step per image, as PyTorch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    counts = {}
    for network in work["networks"]:
        shape = tuple(network["input"])
        model = networks.build(network["arch"], network["width"], True, shape, work["classes"])
        inputs = torch.zeros((2, *shape))
        with FlopCounterMode(display=False) as counter:
            functional.cross_entropy(model(inputs), torch.zeros(2, dtype=torch.int64)).backward()
        counts[network["name"]] = counter.get_total_flops() / 2
    return {"flop_per_image": counts}


# How PyTorch is set for a row of task_throughput: memory layout, cuDNN's search for the fastest
# algorithm, deterministic algorithms alone.
ROWS = {
    "default": ("contiguous", False, False),
    "benchmark": ("contiguous", True, False),
    "channels_last": ("channels_last", True, False),
    "deterministic": ("contiguous", False, True),
    "deterministic_channels_last": ("channels_last", False, True),
}


def seconds_of_step(network, classes, options, precision, row):
    """Seconds of a training step on made-up images, not waited for one by one."""
    layout, benchmark, deterministic = ROWS[row]
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    shape = tuple(network["input"])
    model = network_of(network, shape, classes, layout, options.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    inputs = torch.randn(options.batch, *shape).to(options.device, memory_format=MEMORY[layout])
    labels = torch.arange(options.batch, device=options.device) % classes

    def block(count):
        for _ in range(count):
            _, loss = step(model, optimizer, inputs, labels)
        if not np.isfinite(loss.item()):
            sys.exit("error: the loss is not finite")

    block(8)
    return statistics.median(timed(lambda: block(options.count)) for _ in range(3)) / options.count


def task_throughput(work, options):
    """Seconds of a step of one network in every precision and row that are asked for; what
    cannot be done is null."""
    [network] = [n for n in work["networks"] if n["name"] == options.network]
    seconds = {}
    for precision in options.precision.split(","):
        for row in options.rows.split(","):
            try:
                value = seconds_of_step(network, work["classes"], options, precision, row)
            except RuntimeError as problem:
                print(f"PyTorch, {precision}, {row}: {problem}", file=sys.stderr)
                value = None
            seconds[f"{precision}, {row}"] = value
    return {"seconds": seconds}


TASKS = {
    "step": task_step,
    "epoch": task_epoch,
    "probe": task_probe,
    "corruption": task_corruption,
    "headline": task_headline,
    "flop": task_flop,
    "throughput": task_throughput,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--layout", choices=("contiguous", "channels_last"), default="contiguous")
    parser.add_argument("--threads", type=int, help="PyTorch's default if not given")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="headline only")
    parser.add_argument("--count", type=int, default=20, help="repetitions that are timed")
    parser.add_argument("--device", default="cpu", help="throughput only, as what follows")
    parser.add_argument("--precision", default="strict", help="of strict and tf32, with commas")
    parser.add_argument("--rows", default="default", help=f"of {', '.join(ROWS)}, with commas")
    parser.add_argument("--network")
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    work = json.loads(options.work.read_text())
    report = TASKS[options.task](work, options)
    print(json.dumps({"task": options.task, "torch": torch.__version__, **report}))


if __name__ == "__main__":
    main()
