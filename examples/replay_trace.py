#!/usr/bin/env python3
"""Replays the first steps of a run in plain PyTorch: is `bgm`'s training what it says?

    bgm trace SPEC_OR_KEY --steps 50 --states-every 1 --out trace.safetensors
    python examples/replay_trace.py trace.safetensors

The trace holds a run's initial weights, the very batches and labels that its network saw,
the learning rates, the loss of each step, and the weights after the last; with --states-every,
weights and the optimizer's buffers in between. This script loads the initial weights into
PyTorch classes of its own (networks.py, strict=True), trains on the same batches with
torch.optim and PyTorch's own loss, on one CPU thread (or on a GPU: --device) with deterministic
algorithms, and compares. It starts again from each state in the trace, and compares what it
has come to with the next one. Agreement shows that the crate's architectures, loss, BatchNorm
and optimizers mean what PyTorch means by them; it says nothing of how the batches and the
learning rates came about.

Three things must agree, from each state to the next:
- the loss of every step, within --tolerance of itself (of 0.1 where it is smaller);
- the way that the weights went: the difference of the two weights at its end, within
  --final-tolerance of the distance from those at its beginning the tenth of times where it
  is smallest (a mistake shows every time), and never above three tenths (a ReLU at zero
  may switch by rounding, and does so most often in narrow networks).
  Losses alone would not do: in a network with BatchNorm they hardly change with the scale of
  the weights, so a wrong weight decay leaves them as they are;
- BatchNorm's running statistics, each tensor within --final-tolerance of its norm, and its
  count of batches. No training loss depends on them.

A bias right before BatchNorm cancels out: its gradient is rounding noise, which Adam blows
up to full steps. Such biases, and the running means that they shift, are left out of the
comparison.

Where libtorch made the trace, both agree to the last bit on the same device, and --exact asks
for that: channels-last memory, the optimizer's fused step (--kernels same) and the crate's
switches (`set_numerics`) call the kernels that the crate calls. Elsewhere, and with the crate's
own engine everywhere, sums are rounded otherwise, and training with BatchNorm and ReLU
multiplies a difference by about ten a step: such a trace is replayed from state to state
(--states-every 1). A mistake shows at once. --kernels default is PyTorch as it comes, whose
BatchNorm adds up in double precision (in channels-last memory in single).

Exit code 0: agrees. 1: does not, and the first step or the tensor is named. 2: the trace
cannot be used.
"""

import argparse
import json
import math
import pathlib

import crosscheck
from crosscheck import InputError
from trace_file import Trace

import torch
from torch import nn

# BatchNorm's count of batches.
COUNTER = "num_batches_tracked"
# Below this a loss is compared absolutely: of a fitted example little is left but rounding (for the
# toy, PyTorch takes the difference of a logit and a number close to it).
LOSS_FLOOR = 0.1
# Share of a step's way by which one step of many may miss: a ReLU whose input is rounding noise
# lets a gradient through in one implementation and not in the other.
ODD_STEP = 0.3


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


def replay(trace, first, end, same_kernels, device):
    """Trains on the trace's batches from step `first` up to `end`, from its state: the network
    then, and the loss of each step."""
    layout = torch.channels_last if same_kernels else torch.contiguous_format
    arranged = channels_last if same_kernels else torch.Tensor.contiguous
    network = crosscheck.build(trace.about, "spec.network", trace.input_shape, trace.outputs)
    # The last weights first, so that a trace whose end does not fit is refused at once.
    for step in (end, first):
        prefix, state = trace.state(step)
        crosscheck.load(network, state, f"{trace.path}: {prefix}")
    network.to(device, memory_format=layout)
    optimizer = trace.optimizer(network, same_kernels, first)
    network.train()
    losses = []
    for step in range(first, end):
        inputs, labels = (tensor.to(device) for tensor in trace.batch(step))
        for group in optimizer.param_groups:
            group["lr"] = trace.rates[step]
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


class Segment:
    """How stored and replayed state compare at the end of the steps between two states."""

    def __init__(self, trace, first, end, network):
        (_, before), (prefix, after) = trace.state(first), trace.state(end)
        replayed = network.state_dict()
        left_out = cancelled(network)
        parameters = {name for name, _ in network.named_parameters()}
        self.first, self.end = first, end
        self.counters = []
        # Of each tensor: difference over norm. Of the parameters together: over the way gone.
        self.worst = {"parameter": (0.0, None), "statistic": (0.0, None)}
        for name, stored in sorted(after.items()):
            if name.endswith(COUNTER):
                if int(stored) != int(replayed[name]):
                    self.counters.append(
                        f"{prefix}{name} is {int(stored)}, replayed {int(replayed[name])}"
                    )
            elif name not in left_out:
                difference = norm([stored - replayed[name]])
                size = norm([stored])
                share = difference / size if difference > 0.0 and size > 0.0 else difference
                share = math.inf if math.isnan(share) else share
                kind = "parameter" if name in parameters else "statistic"
                if share > self.worst[kind][0]:
                    self.worst[kind] = (share, f"{prefix}{name}")
        moving = sorted(parameters - left_out)
        apart = norm([after[name] - replayed[name] for name in moving])
        gone = norm([after[name] - before[name] for name in moving])
        self.update = apart / gone if gone > 0.0 else (math.inf if apart else 0.0)
        self.other_tensors = [
            f"{prefix}{name}" for name, tensor in replayed.items()
            if not torch.equal(after[name], tensor)
        ]

    def problems(self, tolerance):
        found = list(self.counters)
        if not self.update <= ODD_STEP:
            found.append(
                f"the weights after steps {self.first} to {self.end - 1} are {self.update:.2e} "
                f"of their way apart (most in {self.worst['parameter'][1]})"
            )
        share, name = self.worst["statistic"]
        if not share <= tolerance:
            found.append(f"{name} differs by {share:.2e} of its norm")
        return found


class Report:
    """How the stored and the replayed run compare."""

    def __init__(self, trace, segments, losses, arguments):
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
        self.segments = len(segments)
        self.problems = [p for one in segments for p in one.problems(self.final_tolerance)]
        self.worst = {
            kind: max((one.worst[kind] for one in segments), key=lambda pair: pair[0])
            for kind in ("parameter", "statistic")
        }
        updates = [one.update for one in segments]
        self.usual_update = sorted(updates)[len(updates) // 10]
        self.largest_update = max(updates)
        if not self.usual_update <= self.final_tolerance:
            self.problems.append(
                f"the weights are {self.usual_update:.2e} of their way apart"
                + (", or more nine times in ten" if len(segments) > 1 else "")
                + f" (most in {self.worst['parameter'][1]})"
            )
        # The first step whose loss has other bits; tensors that have, in the network's order.
        other = [row["step"] for row in self.steps if row["stored_loss"] != row["replayed_loss"]]
        self.first_other = other[0] if other else None
        self.other_tensors = [name for one in segments for name in one.other_tensors]
        self.identical = self.first_other is None and not self.other_tensors
        self.missed = arguments.exact and not self.identical
        self.agrees = not (self.missed or self.problems or self.first_outside is not None)

    def json(self):
        about = self.trace.about
        return {
            "trace": str(self.trace.path),
            "key": self.trace.key,
            "network": about.value["spec"]["network"],
            "agrees": self.agrees,
            "bit_identical": self.identical,
            "first_step_with_other_bits": self.first_other,
            "tensors_with_other_bits": self.other_tensors,
            "tolerance": self.loss_tolerance,
            "final_tolerance": self.final_tolerance,
            "first_step_outside": self.first_outside,
            "largest_loss_difference": self.largest(),
            "largest_parameter_difference": self.worst["parameter"][0],
            "largest_statistic_difference": self.worst["statistic"][0],
            "usual_update_difference": self.usual_update,
            "largest_update_difference": self.largest_update,
            "segments": self.segments,
            "problems": self.problems,
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
            parts.append(f"{len(names)} tensors have other bits ({shown})")
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
            f"weights, of their way         {self.usual_update:.2e}  "
            f"(tolerance {self.final_tolerance:.0e}; "
            f"the lowest tenth of {self.segments}, the largest {self.largest_update:.2e})",
            f"largest of a parameter        {share:.2e}"
            + (f"  ({name})" if name else ""),
        ]
        share, name = self.worst["statistic"]
        if name:
            lines.append(f"largest of a running statistic {share:.2e}  ({name})")
        if self.first_outside is not None:
            lines.append(f"DIFFERS: loss of step {self.first_outside} is the first outside")
        lines += [f"DIFFERS: {problem}" for problem in self.problems]
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
    segments, losses = [], []
    for first, end in trace.segments():
        network, of_steps = replay(trace, first, end, arguments.kernels == "same", arguments.device)
        segments.append(Segment(trace, first, end, network))
        losses += of_steps
    return Report(trace, segments, losses, arguments)


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
