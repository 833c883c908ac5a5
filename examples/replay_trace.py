#!/usr/bin/env python3
"""Replays the first steps of a run in plain PyTorch: is `bgm`'s training what it says?

    bgm trace SPEC_OR_KEY --steps 50 --out trace.safetensors
    python examples/replay_trace.py trace.safetensors

The trace holds a run's initial weights, the very batches and labels that its network saw,
the learning rates, the loss of each step, and the weights after the last. This script loads
the initial weights into PyTorch classes of its own (networks.py, strict=True), trains on
the same batches with torch.optim and PyTorch's own loss, on one CPU thread (or on a GPU:
--device) with deterministic algorithms, and compares. Agreement shows that the crate's
architectures, loss, BatchNorm and optimizers mean what PyTorch means by them; it says nothing
of how the batches and the learning rates came about.

Three things must agree:
- the loss of every step, within --tolerance of itself (of 0.001 where it is smaller);
- the way that the weights went: the difference of the two final weights, within
  --final-tolerance of the distance from the initial weights. Losses alone would not do: in a
  network with BatchNorm they hardly change with the scale of the weights, so a wrong weight
  decay leaves them as they are;
- BatchNorm's running statistics, each tensor within --final-tolerance of its norm, and its
  count of batches. No training loss depends on them.

A bias right before BatchNorm cancels out: its gradient is rounding noise, which Adam blows
up to full steps. Such biases, and the running means that they shift, are left out of the
comparison.

Where libtorch made the trace, both agree to the last bit on the same device, and --exact asks
for that: channels-last memory, the optimizer's fused step (--kernels same) and the crate's
switches (`set_numerics`) call the kernels that the crate calls. Elsewhere sums are rounded otherwise, and training with BatchNorm and ReLU
multiplies a difference by about ten a step. So a difference of 1e-7 that grows from step to
step is rounding: trace on the machine that replays. A mistake shows at once. --kernels
default is PyTorch as it comes, whose BatchNorm adds up in double precision (in channels-last
memory in single): for networks without BatchNorm, or the first two or three steps of those
with it.

Exit code 0: agrees. 1: does not, and the first step or the tensor is named. 2: the trace
cannot be used.
"""

import argparse
import json
import math
import pathlib

import crosscheck
from crosscheck import Document, InputError

import numpy
import torch
from torch import nn
from torch.nn import functional

FORMAT = 1
# Name of each architecture's last layer.
HEADS = {
    "mlp": "fc3",
    "resnet18": "linear",
    "resnet50": "linear",
    "vgg16": "classifier",
    "densenet40": "fc",
}
# BatchNorm's count of batches.
COUNTER = "num_batches_tracked"
# Below this a loss is compared absolutely: of a fitted example little is left but rounding.
LOSS_FLOOR = 1e-3


class Trace:
    """A trace file, every part of it checked before it is used."""

    def __init__(self, path):
        self.path = path
        self.file = crosscheck.open_tensors(path)
        text = (self.file.metadata() or {}).get("bgm")
        if text is None:
            raise InputError(f"{path}: no metadata entry 'bgm': not made by `bgm trace`?")
        self.about = Document(f"{path}: metadata entry 'bgm'", text)
        found = self.about.count("format")
        if found != FORMAT:
            raise self.about.error("format", f"is {found}, this script reads {FORMAT}")
        self.key = self.about.text("key")
        self.names = set(self.file.keys())
        # The trace rounds rates to single precision: 0.001 is meant, not 0.0010000000475.
        self.rates = [float(str(numpy.float32(r))) for r in self._numbers("learning_rates")]
        if not all(0.0 <= rate < math.inf for rate in self.rates):
            raise self.error("learning_rates", "has one that is no number from 0")
        self.losses = self._numbers("losses")
        if len(self.rates) != len(self.losses):
            problem = f"has {len(self.losses)} steps, 'learning_rates' has {len(self.rates)}"
            raise self.error("losses", problem)
        self.toy = self.about.choice("spec.data", ("images", "toy")) == "toy"
        self.tf32 = self.about.choice("spec.precision", ("strict", "tf32")) == "tf32"
        self.initial = self._state("initial/")
        self.final = self._state("final/")
        self._check_names()
        head = HEADS[self.about.choice("spec.network.arch", tuple(HEADS))]
        self.outputs = 1 if self.toy else self._outputs(f"{head}.weight")
        self.input_shape = tuple(self._inputs(0).shape[1:])

    def error(self, name, problem):
        return InputError(f"{self.path}: tensor '{name}' {problem}")

    def _tensor(self, name, kind, dimensions):
        if name not in self.names:
            raise self.error(name, "is missing")
        tensor = self.file.get_tensor(name)
        if tensor.dtype != kind or tensor.dim() != dimensions or tensor.numel() == 0:
            raise self.error(
                name,
                f"is {tensor.dtype} of shape {list(tensor.shape)}, expected {kind} with "
                f"{dimensions} dimensions, not empty",
            )
        return tensor

    def _numbers(self, name):
        return self._tensor(name, torch.float32, 1).tolist()

    def _state(self, prefix):
        names = [name for name in self.names if name.startswith(prefix)]
        return {name[len(prefix):]: self.file.get_tensor(name) for name in names}

    def _check_names(self):
        known = {"learning_rates", "losses"}
        for step in range(len(self.losses)):
            known |= {f"batch/{step}/inputs", f"batch/{step}/labels"}
        for name in sorted(self.names - known):
            if not name.startswith(("initial/", "final/")):
                raise self.error(name, f"does not belong to a trace of {len(self.losses)} steps")

    def _outputs(self, head):
        weight = self.initial.get(head)
        if weight is None or weight.dim() != 2:
            raise self.error(f"initial/{head}", "is missing or not a matrix")
        return weight.shape[0]

    def _inputs(self, step):
        return self._tensor(f"batch/{step}/inputs", torch.float32, 4)

    def batch(self, step):
        """Inputs and labels of one step."""
        inputs = self._inputs(step)
        if tuple(inputs.shape[1:]) != self.input_shape:
            expected = ["batch", *self.input_shape]
            raise self.error(
                f"batch/{step}/inputs", f"has shape {list(inputs.shape)}, expected {expected}"
            )
        name = f"batch/{step}/labels"
        labels = self._tensor(name, torch.int64, 1)
        if len(labels) != len(inputs):
            raise self.error(name, f"has {len(labels)} labels for {len(inputs)} inputs")
        classes = max(self.outputs, 2)
        if labels.min() < 0 or labels.max() >= classes:
            raise self.error(name, f"has a label outside 0 to {classes - 1}")
        return inputs, labels

    def optimizer(self, network, fused):
        """The optimizer that the spec names; each step sets its learning rate."""
        path = "spec.train.optimizer"
        kind = self.about.choice(path, ("sgd", "adam"))
        options = {"lr": 0.0, "fused": fused}
        options["weight_decay"] = self.about.number(f"{path}.{kind}.weight_decay")
        try:
            if kind == "adam":
                return torch.optim.Adam(network.parameters(), **options)
            momentum = self.about.number(f"{path}.sgd.momentum")
            return torch.optim.SGD(network.parameters(), momentum=momentum, **options)
        except ValueError as problem:
            raise self.about.error(path, problem) from None

    def loss(self, logits, labels):
        """Mean cross-entropy; for the toy's one logit, binary cross-entropy summed."""
        if not self.toy:
            return functional.cross_entropy(logits, labels)
        targets = labels.to(torch.float32).view(-1, 1)
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")


def set_numerics(tf32):
    """The switches of the crate's src/torch/shim.cpp, which a GPU's bits depend on."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32


def channels_last(images):
    """The images in channels-last memory, with its strides where there is one channel, too:
    `contiguous` leaves those as they are, and PyTorch goes by the strides."""
    count, channels, height, width = images.shape
    flat = images.permute(0, 2, 3, 1).reshape(-1)
    return flat.view(count, height, width, channels).permute(0, 3, 1, 2)


def replay(trace, same_kernels, device):
    """Trains on the trace's batches: the network at the end and the loss of each step."""
    layout = torch.channels_last if same_kernels else torch.contiguous_format
    arranged = channels_last if same_kernels else torch.Tensor.contiguous
    network = crosscheck.build(trace.about, "spec.network", trace.input_shape, trace.outputs)
    # The final weights first, so that a trace whose end does not fit is refused at once.
    crosscheck.load(network, trace.final, f"{trace.path}: final/")
    crosscheck.load(network, trace.initial, f"{trace.path}: initial/")
    network.to(device, memory_format=layout)
    optimizer = trace.optimizer(network, fused=same_kernels)
    network.train()
    losses = []
    for step, rate in enumerate(trace.rates):
        inputs, labels = (tensor.to(device) for tensor in trace.batch(step))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        try:
            loss = trace.loss(network(arranged(inputs)), labels)
            loss.backward()
        except (RuntimeError, ValueError) as problem:
            name = f"batch/{step}/inputs"
            raise trace.error(name, f"is refused by PyTorch: {problem}") from None
        optimizer.step()
        losses.append(loss.item())
    return network.to("cpu"), losses


def relative(stored, replayed):
    """Difference of two losses; infinite unless both are numbers or both are the same."""
    if stored == replayed or (math.isnan(stored) and math.isnan(replayed)):
        return 0.0
    difference = abs(stored - replayed) / max(abs(stored), abs(replayed), LOSS_FLOOR)
    return difference if math.isfinite(difference) else math.inf


def norm(tensors):
    """Euclidean norm of some tensors together, in double precision."""
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def cancelled(network):
    """Names of the biases that BatchNorm cancels, and of the running means they shift."""
    names = set()
    modules = list(network.named_modules())
    for (first, conv), (second, norm_layer) in zip(modules, modules[1:]):
        if isinstance(norm_layer, nn.BatchNorm2d) and getattr(conv, "bias", None) is not None:
            if isinstance(conv, nn.Conv2d):
                names |= {f"{first}.bias", f"{second}.running_mean"}
    return names


class Report:
    """How the stored and the replayed run compare."""

    def __init__(self, trace, network, losses, arguments):
        self.trace = trace
        self.loss_tolerance = arguments.tolerance
        self.final_tolerance = arguments.final_tolerance
        pairs = zip(trace.rates, trace.losses, losses)
        self.steps = [
            {
                "step": step,
                "learning_rate": rate,
                "stored_loss": stored,
                "replayed_loss": replayed,
                "relative_difference": relative(stored, replayed),
            }
            for step, (rate, stored, replayed) in enumerate(pairs)
        ]
        outside = [
            row["step"] for row in self.steps
            if not row["relative_difference"] <= self.loss_tolerance
        ]
        self.first_outside = outside[0] if outside else None
        self._compare_final(network)
        # The first step whose loss has other bits; final tensors that have, in the network's order.
        other = [row["step"] for row in self.steps if row["stored_loss"] != row["replayed_loss"]]
        self.first_other = other[0] if other else None
        self.other_tensors = [
            name for name, tensor in network.state_dict().items()
            if not torch.equal(trace.final[name], tensor)
        ]
        self.identical = self.first_other is None and not self.other_tensors
        self.missed = arguments.exact and not self.identical
        self.agrees = not (self.missed or self.final_problems or self.first_outside is not None)

    def _compare_final(self, network):
        trace, replayed = self.trace, network.state_dict()
        left_out = cancelled(network)
        parameters = {name for name, _ in network.named_parameters()}
        self.final_problems = []
        # Of each tensor: difference over norm. Of the parameters together: over the way gone.
        self.worst = {"parameter": (0.0, None), "statistic": (0.0, None)}
        for name, stored in sorted(trace.final.items()):
            if name.endswith(COUNTER):
                if int(stored) != int(replayed[name]):
                    self.final_problems.append(
                        f"final/{name} is {int(stored)}, replayed {int(replayed[name])}"
                    )
            elif name not in left_out:
                difference = norm([stored - replayed[name]])
                size = norm([stored])
                share = difference / size if difference > 0.0 and size > 0.0 else difference
                share = math.inf if math.isnan(share) else share
                kind = "parameter" if name in parameters else "statistic"
                if share > self.worst[kind][0]:
                    self.worst[kind] = (share, name)
        moving = sorted(parameters - left_out)
        apart = norm([trace.final[name] - replayed[name] for name in moving])
        gone = norm([trace.final[name] - trace.initial[name] for name in moving])
        self.update_difference = apart / gone if gone > 0.0 else (math.inf if apart else 0.0)
        if not self.update_difference <= self.final_tolerance:
            self.final_problems.append(
                f"the final weights are {self.update_difference:.2e} of the way from the "
                f"initial ones apart (most in final/{self.worst['parameter'][1]})"
            )
        share, name = self.worst["statistic"]
        if not share <= self.final_tolerance:
            self.final_problems.append(f"final/{name} differs by {share:.2e} of its norm")

    def json(self):
        about = self.trace.about
        return {
            "trace": str(self.trace.path),
            "key": self.trace.key,
            "network": about.value["spec"]["network"],
            "agrees": self.agrees,
            "bit_identical": self.identical,
            "first_step_with_other_bits": self.first_other,
            "final_tensors_with_other_bits": self.other_tensors,
            "tolerance": self.loss_tolerance,
            "final_tolerance": self.final_tolerance,
            "first_step_outside": self.first_outside,
            "largest_loss_difference": self.largest(),
            "largest_parameter_difference": self.worst["parameter"][0],
            "largest_statistic_difference": self.worst["statistic"][0],
            "update_difference": self.update_difference,
            "final_problems": self.final_problems,
            "steps": self.steps,
        }

    def largest(self):
        return max(row["relative_difference"] for row in self.steps)

    def _other_bits(self):
        """Where the last bits part."""
        names = self.other_tensors
        parts = []
        if self.first_other is not None:
            parts.append(f"the loss of step {self.first_other} is the first with other bits")
        if names:
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            parts.append(f"{len(names)} of {len(self.trace.final)} final tensors have other bits ({shown})")
        return "; ".join(parts)

    def text(self):
        about = self.trace.about
        lines = [
            f"run {self.trace.key[:12]}: {json.dumps(about.value['spec']['network'])}, "
            f"optimizer {json.dumps(about.value['spec']['train']['optimizer'])}",
            f"{'step':>5}  {'rate':>10}  {'stored loss':>14}  {'replayed loss':>14}  difference",
        ]
        for row in self.steps:
            mark = "" if row["relative_difference"] <= self.loss_tolerance else "  <- outside"
            lines.append(
                f"{row['step']:5d}  {row['learning_rate']:10.3e}  {row['stored_loss']:14.8f}  "
                f"{row['replayed_loss']:14.8f}  {row['relative_difference']:10.2e}{mark}"
            )
        share, name = self.worst["parameter"]
        lines += [
            "",
            f"largest loss difference       {self.largest():.2e}  "
            f"(tolerance {self.loss_tolerance:.0e})",
            f"final weights, of their way   {self.update_difference:.2e}  "
            f"(tolerance {self.final_tolerance:.0e})",
            f"largest of a final parameter  {share:.2e}"
            + (f"  ({name})" if name else ""),
        ]
        share, name = self.worst["statistic"]
        if name:
            lines.append(f"largest of a running statistic {share:.2e}  ({name})")
        if self.first_outside is not None:
            lines.append(f"DIFFERS: loss of step {self.first_outside} is the first outside")
        lines += [f"DIFFERS: {problem}" for problem in self.final_problems]
        if self.missed:
            lines += [f"DIFFERS: {self._other_bits()}, and --exact asks for the same bits"]
        if self.agrees:
            how = "to the last bit" if self.identical else "within the tolerances"
            lines.append(f"AGREES: {len(self.steps)} steps, {how}")
        return "\n".join(lines)


def check(arguments):
    trace = Trace(arguments.trace)
    if arguments.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device {arguments.device}: PyTorch sees no GPU here")
    set_numerics(trace.tf32)
    network, losses = replay(trace, arguments.kernels == "same", arguments.device)
    return Report(trace, network, losses, arguments)


def main():
    summary, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trace", type=pathlib.Path, help="what `bgm trace` wrote")
    parser.add_argument(
        "--tolerance", type=crosscheck.tolerance, default=1e-4, metavar="SHARE",
        help="of each loss (default: %(default)s)",
    )
    parser.add_argument(
        "--final-tolerance", type=crosscheck.tolerance, default=1e-3, metavar="SHARE",
        help="of the way that the weights went, and of running statistics (default: %(default)s)",
    )
    parser.add_argument(
        "--kernels", choices=("same", "default"), default="same",
        help="the kernels that the crate calls, or PyTorch as it comes (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="cpu", help="cpu or cuda:0, ... (default: %(default)s)"
    )
    parser.add_argument(
        "--exact", action="store_true", help="ask for agreement to the last bit as well"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    crosscheck.run(parser, check)


if __name__ == "__main__":
    main()
