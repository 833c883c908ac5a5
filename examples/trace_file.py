"""What `bgm trace` writes, every part of it checked before it is used (replay_trace.py)."""

import math

import crosscheck
from crosscheck import Document, InputError

import numpy
import torch
from torch.nn import functional

FORMAT = 2
# Name of each architecture's last layer.
HEADS = {
    "mlp": "fc3",
    "resnet18": "linear",
    "resnet50": "linear",
    "vgg16": "classifier",
    "densenet40": "fc",
}


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
        # Steps before which the trace has the state; then the end.
        self.starts = [0, *sorted(self._starts())]
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

    def _starts(self):
        steps = {name.split("/")[1] for name in self.names if name.startswith("before/")}
        known = {str(step) for step in range(1, len(self.losses))}
        for step in sorted(steps - known):
            raise self.error(f"before/{step}", f"does not belong to a trace of {len(self.losses)} steps")
        return {int(step) for step in steps}

    def segments(self):
        """Pairs (first step, the step after the last) between the states."""
        return list(zip(self.starts, [*self.starts[1:], len(self.losses)]))

    def state(self, step):
        """Where a name begins, and the state: before a step, or after the last."""
        if step == len(self.losses):
            return "final/", self.final
        if step == 0:
            return "initial/", self.initial
        prefix = f"before/{step}/weights/"
        return prefix, self._state(prefix)

    def _check_names(self):
        known = {"learning_rates", "losses"}
        places = ["initial/", "final/"]
        for step in range(len(self.losses)):
            known |= {f"batch/{step}/inputs", f"batch/{step}/labels"}
        places += [f"before/{step}/" for step in self.starts[1:]]
        for name in sorted(self.names - known):
            if not name.startswith(tuple(places)):
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

    def optimizer(self, network, fused, step):
        """The optimizer that the spec names, as it is before a step of `starts`; each step sets
        its learning rate."""
        optimizer = self._fresh_optimizer(network, fused)
        if step == 0:
            return optimizer
        names = {"first": "momentum_buffer"}
        if isinstance(optimizer, torch.optim.Adam):
            names = {"first": "exp_avg", "second": "exp_avg_sq"}
        elif optimizer.param_groups[0]["momentum"] == 0.0:
            names = {}
        for parameter_name, parameter in network.named_parameters():
            buffers = optimizer.state[parameter]
            for kind, buffer in names.items():
                name = f"before/{step}/optimizer/{kind}/{parameter_name}"
                values = self._tensor(name, torch.float32, parameter.dim())
                if values.shape != parameter.shape:
                    raise self.error(name, f"has shape {list(values.shape)}, expected {list(parameter.shape)}")
                buffers[buffer] = torch.empty_like(parameter.detach()).copy_(values)
            if isinstance(optimizer, torch.optim.Adam):
                done = self._tensor(f"before/{step}/optimizer/steps", torch.int64, 0)
                buffers["step"] = done.to(parameter.device if fused else "cpu", torch.float32)
        return optimizer

    def _fresh_optimizer(self, network, fused):
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
