"""What replay_trace.py and load_weights.py share: reading files and saying what is wrong
with them, never by a traceback; building the network that a run's spec describes; loading
weights into it with strict=True."""

import json
import math
import sys

try:
    import numpy
    import safetensors
    import torch
    import networks
except (ImportError, OSError, ValueError) as problem:  # all three seen of a torch in parts
    sys.stderr.write(
        f"error: these checks cannot start: {str(problem).strip().splitlines()[0]}\n"
        "They need an environment of their own, with all of PyTorch:\n"
        "  pip install -r examples/requirements-crosscheck.txt\n"
    )
    sys.exit(2)

AGREES, DIFFERS, UNUSABLE = 0, 1, 2


class InputError(Exception):
    """A file that cannot be used. The text names the file and the field."""


def run(parser, check):
    """Parses the command line, calls `check(arguments)` for a report, prints it, exits.

    A report has `agrees`, `text()` and `json()`.
    """
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        report = check(arguments)
    except InputError as problem:
        if arguments.json:
            print(json.dumps({"error": str(problem)}))
        sys.stderr.write(f"error: {problem}\n")
        sys.exit(UNUSABLE)
    if arguments.json:
        print(json.dumps(plain(report.json()), allow_nan=False))
    else:
        print(report.text())
    sys.exit(AGREES if report.agrees else DIFFERS)


def plain(value):
    """`value` with what JSON has no number for (infinite, not a number) as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value


def tolerance(text):
    """A command line number that is 0 or above."""
    value = float(text)
    if not 0.0 <= value < math.inf:
        raise ValueError
    return value


class Document:
    """A JSON value in a file, whose fields are asked for by dotted path and by type; in a
    list, `last` is the last entry."""

    def __init__(self, place, text):
        self.place = str(place)
        try:
            self.value = json.loads(text)
        except ValueError as problem:
            raise InputError(f"{place}: is no JSON: {problem}") from None

    @staticmethod
    def read(path):
        try:
            return Document(path, path.read_bytes())
        except OSError as problem:
            raise InputError(f"{path}: {problem.strerror}") from None

    def error(self, path, problem):
        return InputError(f"{self.place}: {path}: {problem}")

    def _get(self, path, kinds, wanted):
        value = self.value
        for name in path.split("."):
            if isinstance(value, list) and name == "last":
                value = value[-1] if value else None
            else:
                value = value.get(name) if isinstance(value, dict) else None
            if value is None:
                raise self.error(path, f"is missing, expected {wanted}")
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self.error(path, f"is {json.dumps(value)[:60]}, expected {wanted}")
        return value

    def number(self, path):
        return float(self._get(path, (int, float), "a number"))

    def count(self, path, least=0):
        value = self._get(path, int, f"a whole number from {least}")
        if value < least:
            raise self.error(path, f"is {value}, expected a whole number from {least}")
        return value

    def flag(self, path):
        return self._get(path, bool, "true or false")

    def text(self, path):
        return self._get(path, str, "a text")

    def choice(self, path, names):
        """The one of `names` that is written at `path`: a text, or an object of one field."""
        wanted = "one of " + ", ".join(names)
        value = self._get(path, (str, dict), wanted)
        name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
        if not isinstance(name, str) or name not in names:
            raise self.error(path, f"is {json.dumps(value)[:60]}, expected {wanted}")
        return name


def open_tensors(path):
    """A safetensors file, whose tensors are read when they are asked for."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return safetensors.safe_open(str(path), framework="pt", device="cpu")
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror or problem}") from None
    except safetensors.SafetensorError as problem:
        raise InputError(f"{path}: is no safetensors file: {problem}") from None


def build(spec, path, input_shape, outputs):
    """The network that `spec` describes at `path`, for inputs (channels, height, width). It
    has shapes and no memory until weights are loaded."""
    arch = spec.choice(f"{path}.arch", networks.ARCHITECTURES)
    width = spec.count(f"{path}.width", least=1)
    batch_norm = spec.flag(f"{path}.batch_norm")
    try:
        with torch.device("meta"):
            return networks.build(arch, width, batch_norm, input_shape, outputs)
    except RuntimeError as problem:
        raise spec.error(path, f"is refused by PyTorch: {problem}") from None


def load(network, state, place):
    """Loads a copy of `state`, read from `place`, with strict=True; types must fit too."""
    copies = {name: tensor.clone() for name, tensor in state.items()}
    for name, tensor in network.state_dict().items():
        if name in copies and copies[name].dtype != tensor.dtype:
            found = copies[name].dtype
            raise InputError(f"{place}: tensor '{name}' is {found}, expected {tensor.dtype}")
    try:
        network.load_state_dict(copies, strict=True, assign=True)
    except RuntimeError as problem:
        lines = [line.strip() for line in str(problem).splitlines()[1:]]
        raise InputError(f"{place}: does not fit the network: {' '.join(lines)}") from None
