#!/usr/bin/env python3
"""Loads a finished run's weights into plain PyTorch classes and measures its accuracy again.

    python examples/load_weights.py runs/<key> [--data data]

The weights go into the classes of networks.py with strict=True, under the state_dict names of
the authors' classes. The test images are read, averaged and normalized by this script's own
code, classified in evaluation mode, and the result is compared with the run's last stored
evaluation: the same number of correct predictions, exactly, and the same mean loss within
--tolerance of itself. Agreement shows that a stored accuracy is a property of the stored
weights, to be had without the Rust crate.

The toy's points come from the crate's random streams, and the weights of a diverged run were
never evaluated: there only the loading is checked, and that is said.

Exit code 0: agrees. 1: does not. 2: the run or the data cannot be used.
"""

import argparse
import gzip
import math
import pathlib
import zlib

import crosscheck
from crosscheck import Document, InputError

import numpy
import torch
from torch.nn import functional

BATCH = 500
FASHION_MNIST = {"classes": 10, "mean": 0.2860406, "std": 0.3530242}
# Data sets in IDX files: their scaling, and where they may be besides DATA/<name>.
DATASETS = {
    "fashion-mnist-subset": (FASHION_MNIST, None),
    "fashion-mnist": (FASHION_MNIST, pathlib.Path("/usr/share/datasets/fashion-mnist")),
}


def read_idx(path, dimensions):
    """The bytes of an IDX file, gzip-compressed, as an array of its shape."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as problem:
        raise InputError(f"{path}: {getattr(problem, 'strerror', None) or problem}") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise InputError(f"{path}: is no IDX file of bytes with {dimensions} dimensions")
    sizes = numpy.frombuffer(content, ">u4", dimensions, 4).astype(int).tolist()
    if math.prod(sizes) != len(content) - header:
        raise InputError(f"{path}: promises {sizes} values, holds {len(content) - header}")
    return numpy.frombuffer(content, numpy.uint8, offset=header).reshape(sizes)


def read_split(folder, prefix, classes):
    """Images [count, height, width] and labels [count] of the training or the test set."""
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 3)
    path = folder / f"{prefix}-labels-idx1-ubyte.gz"
    labels = read_idx(path, 1)
    if len(labels) != len(images):
        raise InputError(f"{path}: holds {len(labels)} labels for {len(images)} images")
    if labels.max(initial=0) >= classes:
        raise InputError(f"{path}: holds a label above {classes - 1}")
    return images, labels


def pooled(images, side):
    """Averages squares of side x side pixels, rounded half up; what fills none is dropped."""
    count, height, width = (size // by for size, by in zip(images.shape, (1, side, side)))
    whole = images[:, : height * side, : width * side].astype(numpy.uint32)
    sums = whole.reshape(count, height, side, width, side).sum(axis=(2, 4))
    return ((sums + side * side // 2) // (side * side)).astype(numpy.uint8)


class Images:
    """The images that a run was evaluated on, as network inputs."""

    def __init__(self, spec, data):
        path = "data.images"
        name = spec.text(f"{path}.dataset")
        if name not in DATASETS:
            known = ", ".join(DATASETS)
            raise spec.error(f"{path}.dataset", f"is '{name}', this script reads only {known}")
        facts, elsewhere = DATASETS[name]
        self.name, self.classes = name, facts["classes"]
        places = [place for place in (data / name, elsewhere) if place is not None]
        folder = next((place for place in places if place.is_dir()), None)
        if folder is None:
            raise InputError(f"{data / name}: no such folder; name the data folder by --data")
        train, first = spec.count(f"{path}.train"), 0
        if spec.choice(f"{path}.evaluate_on", ("test", "validation")) == "test":
            images, labels = read_split(folder, "t10k", self.classes)
        else:
            # The training images right after those that are trained on.
            images, labels = read_split(folder, "train", self.classes)
            first = train or len(labels)
        count = spec.count(f"{path}.test") or len(labels) - first
        if count <= 0 or first + count > len(labels):
            problem = f"asks for {count} images from number {first} of {len(labels)} on"
            raise spec.error(f"{path}.test", problem)
        pool = spec.count(f"{path}.pool", least=1)
        if pool > min(images.shape[1:]):
            raise spec.error(f"{path}.pool", f"is {pool} for images of {images.shape[1:]}")
        chosen = slice(first, first + count)
        self.pixels = pooled(images[chosen], pool)
        self.labels = torch.from_numpy(labels[chosen].astype(numpy.int64))
        # Single precision throughout, as a table of the 256 values.
        values = numpy.arange(256, dtype=numpy.float32) / numpy.float32(255.0)
        self.table = (values - numpy.float32(facts["mean"])) / numpy.float32(facts["std"])
        self.shape = (1, *self.pixels.shape[1:])

    def batches(self):
        """Inputs [batch, 1, height, width] and labels [batch]."""
        for first in range(0, len(self.labels), BATCH):
            part = slice(first, first + BATCH)
            inputs = self.table[self.pixels[part]][:, None]
            yield torch.from_numpy(inputs), self.labels[part]


def measure(network, images):
    """Correct predictions, mean loss, and the smallest lead of a first choice."""
    network.eval()
    correct, loss, lead = 0, 0.0, math.inf
    with torch.no_grad():
        for inputs, labels in images.batches():
            logits = network(inputs)
            correct += int((logits.argmax(1) == labels).sum())
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            best = logits.topk(2, 1).values
            lead = min(lead, float((best[:, 0] - best[:, 1]).min()))
    return correct, loss / len(images.labels), lead


def stored_evaluation(metrics, count):
    """The last evaluation: correct predictions among `count`, and mean loss."""
    epochs, epoch = metrics.count("epochs"), metrics.count("evaluations.last.epoch")
    if epoch != epochs:
        problem = f"is {epoch}, the weights are those after epoch {epochs}"
        raise metrics.error("evaluations.last.epoch", problem)
    field = "evaluations.last.test_accuracy"
    accuracy = metrics.number(field)
    correct = accuracy * count / 100.0
    if abs(correct - round(correct)) > 1e-6 or not 0.0 <= accuracy <= 100.0:
        raise metrics.error(field, f"is {accuracy}, not a share of {count} images in percent")
    return round(correct), metrics.number("evaluations.last.test_loss")


class Report:
    """What was loaded, and how the stored and the measured evaluation compare."""

    def __init__(self, folder, spec, network):
        self.agrees = True
        self.tensors = len(network.state_dict())
        self.fields = {
            "run": str(folder),
            "network": spec.value["network"],
            "agrees": True,
            "checked": "loading",
        }

    def only_loaded(self, why):
        self.fields["why"] = why
        return self

    def compare(self, images, stored, measured, tolerance):
        (correct, loss), (correct_here, loss_here, lead) = stored, measured
        difference = abs(loss - loss_here) / max(abs(loss), 1e-12)
        self.agrees = correct == correct_here and difference <= tolerance
        self.fields.update(
            agrees=self.agrees,
            checked="accuracy",
            dataset=images.name,
            images=len(images.labels),
            stored_correct=correct,
            measured_correct=correct_here,
            stored_loss=loss,
            measured_loss=loss_here,
            loss_difference=difference,
            tolerance=tolerance,
            smallest_lead=lead,
        )
        return self

    def json(self):
        return self.fields

    def text(self):
        facts = self.fields
        first = f"{facts['run']}: {self.tensors} tensors loaded with strict=True"
        if facts["checked"] == "loading":
            return f"{first}\nONLY LOADED: {facts['why']}"
        count = facts["images"]

        def line(name, correct, loss):
            return f"{name:9s}{correct:6d} of {count} correct ({100 * correct / count:.4f}%), " \
                f"loss {loss:.8f}"

        lines = [
            f"{first}; {facts['dataset']}",
            line("stored", facts["stored_correct"], facts["stored_loss"]),
            line("measured", facts["measured_correct"], facts["measured_loss"]),
            f"loss differs by {facts['loss_difference']:.2e} of itself "
            f"(tolerance {facts['tolerance']:.0e})",
        ]
        if facts["stored_correct"] != facts["measured_correct"]:
            lines.append(
                "the smallest lead of a predicted class over the next is "
                f"{facts['smallest_lead']:.1e}: below 1e-5, rounding may decide"
            )
        return "\n".join(lines + ["AGREES" if self.agrees else "DIFFERS"])


def check(arguments):
    folder = arguments.run_folder
    spec = Document.read(folder / "spec.json")
    metrics = Document.read(folder / "metrics.json")
    path = folder / "weights.safetensors"
    file = crosscheck.open_tensors(path)
    toy = spec.choice("data", ("images", "toy")) == "toy"
    images = None if toy else Images(spec, arguments.data)
    shape, outputs = ((2, 1, 1), 1) if toy else (images.shape, images.classes)
    network = crosscheck.build(spec, "network", shape, outputs)
    crosscheck.load(network, {name: file.get_tensor(name) for name in file.keys()}, path)
    report = Report(folder, spec, network)
    if toy:
        return report.only_loaded("the toy's points are made by the Rust crate")
    if metrics.choice("status", ("finished", "not_memorized", "diverged")) == "diverged":
        return report.only_loaded("the run diverged, its last weights were never evaluated")
    stored = stored_evaluation(metrics, len(images.labels))
    return report.compare(images, stored, measure(network, images), arguments.tolerance)


def main():
    summary, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_folder", type=pathlib.Path, help="runs/<key>")
    parser.add_argument(
        "--data", type=pathlib.Path, default=pathlib.Path("data"),
        help="folder of data sets (default: %(default)s)",
    )
    parser.add_argument(
        "--tolerance", type=crosscheck.tolerance, default=1e-4, metavar="SHARE",
        help="of the loss (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    crosscheck.run(parser, check)


if __name__ == "__main__":
    main()
