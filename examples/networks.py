"""The paper's networks as plain PyTorch modules.

Written for the cross-checks from the architectures' descriptions, independently of the Rust
crate, under the state_dict names of the authors' classes: a file of weights that loads here
with strict=True loads into those classes too. Where the authors fix a size (3 channels, 10
classes, 64 channels in the first stage, 32x32 images), it is a parameter here:

    network = build("resnet18", width=64, batch_norm=True, input_shape=(3, 32, 32), outputs=10)

Initial weights are PyTorch's own and of no account: the scripts overwrite all of them.
"""

import torch
from torch import nn
from torch.nn import functional

ARCHITECTURES = ("mlp", "resnet18", "resnet50", "vgg16", "densenet40")


class Pointwise(nn.Conv2d):
    """A 1x1 convolution as one matrix product over all pixels.

    Of the same parameters as nn.Conv2d. The oneDNN kernels that PyTorch 2.11.0 uses for the
    gradient of the weights write past their memory for channels-last tensors and a stride above
    1: without AVX-512 at 2 to 7 input channels, with AVX-512 and two threads at 8 and 12 (not
    at 16).
    """

    def forward(self, x):
        stride = self.stride[0]
        pixels = x[:, :, ::stride, ::stride].permute(0, 2, 3, 1)
        return functional.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Layers:
    """Makes convolutions and what follows them, in a network with BatchNorm or without.

    Without, a norm is the identity and every convolution carries a bias.
    """

    def __init__(self, batch_norm):
        self.batch_norm = batch_norm

    def conv(self, inputs, outputs, kernel, stride=1, bias=False):
        bias = bias or not self.batch_norm
        if kernel == 1:
            return Pointwise(inputs, outputs, 1, stride, bias=bias)
        return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)

    def norm(self, channels):
        return nn.BatchNorm2d(channels) if self.batch_norm else nn.Identity()

    def shortcut(self, inputs, outputs, stride):
        """A projection where the shape changes, else nothing."""
        if stride == 1 and inputs == outputs:
            return nn.Sequential()
        return nn.Sequential(self.conv(inputs, outputs, 1, stride), self.norm(outputs))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, layers, inputs, planes, stride):
        super().__init__()
        self.conv1 = layers.conv(inputs, planes, 3, stride)
        self.bn1 = layers.norm(planes)
        self.conv2 = layers.conv(planes, planes, 3)
        self.bn2 = layers.norm(planes)
        self.shortcut = layers.shortcut(inputs, planes, stride)

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, layers, inputs, planes, stride):
        super().__init__()
        outputs = self.expansion * planes
        self.conv1 = layers.conv(inputs, planes, 1)
        self.bn1 = layers.norm(planes)
        self.conv2 = layers.conv(planes, planes, 3, stride)
        self.bn2 = layers.norm(planes)
        self.conv3 = layers.conv(planes, outputs, 1)
        self.bn3 = layers.norm(outputs)
        self.shortcut = layers.shortcut(inputs, outputs, stride)

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return functional.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """3x3 stem of stride 1, no max pooling, four stages of strides 1, 2, 2, 2."""

    def __init__(self, block, counts, width, batch_norm, channels, outputs):
        super().__init__()
        layers = Layers(batch_norm)
        self.conv1 = layers.conv(channels, width, 3)
        self.bn1 = layers.norm(width)
        inputs = width
        for stage, count in enumerate(counts):
            planes = width * 2**stage
            blocks = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(layers, inputs, planes, stride))
                inputs = planes * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(global_average(x))


# Output channels in units of the width; "M" is a 2x2 max pooling.
VGG16_PLAN = (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M")


class VGG(nn.Module):
    """Convolutions with bias, BatchNorm and ReLU.

    A pooling that would leave nothing of a small image is left out; its index stays, so that
    the names do not move.
    """

    def __init__(self, width, batch_norm, input_shape, outputs):
        super().__init__()
        layers = Layers(batch_norm)
        channels, height, image_width = input_shape
        side = min(height, image_width)
        features = []
        for entry in VGG16_PLAN:
            if entry != "M":
                features.append(layers.conv(channels, entry * width, 3, bias=True))
                channels = entry * width
                features += [layers.norm(channels), nn.ReLU()]
            elif side >= 2:
                features.append(nn.MaxPool2d(2, 2))
                side //= 2
            else:
                features.append(nn.Identity())
        features.append(nn.AvgPool2d(1, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(channels, outputs)

    def forward(self, x):
        return self.classifier(global_average(self.features(x)))


class DenseLayer(nn.Module):
    """Bottleneck in the order norm, ReLU, convolution; its output joins its input."""

    def __init__(self, layers, inputs, growth):
        super().__init__()
        self.bn1 = layers.norm(inputs)
        self.conv1 = layers.conv(inputs, 4 * growth, 1)
        self.bn2 = layers.norm(4 * growth)
        self.conv2 = layers.conv(4 * growth, growth, 3)

    def forward(self, x):
        out = self.conv1(functional.relu(self.bn1(x)))
        out = self.conv2(functional.relu(self.bn2(out)))
        return torch.cat([x, out], 1)


class DenseBlock(nn.Module):
    def __init__(self, layers, inputs, growth, count):
        super().__init__()
        self.layer = nn.Sequential(
            *[DenseLayer(layers, inputs + index * growth, growth) for index in range(count)]
        )

    def forward(self, x):
        return self.layer(x)


class Transition(nn.Module):
    """Compression by a 1x1 convolution, then 2x2 average pooling."""

    def __init__(self, layers, inputs, outputs):
        super().__init__()
        self.bn1 = layers.norm(inputs)
        self.conv1 = layers.conv(inputs, outputs, 1)

    def forward(self, x):
        return functional.avg_pool2d(self.conv1(functional.relu(self.bn1(x))), 2)


class DenseNet(nn.Module):
    """DenseNet-BC of depth 40: three blocks of six bottlenecks, compression 1/2."""

    COUNT = 6

    def __init__(self, growth, batch_norm, channels, outputs):
        super().__init__()
        layers = Layers(batch_norm)
        inputs = 2 * growth
        self.conv1 = layers.conv(channels, inputs, 3)
        for block in (1, 2, 3):
            setattr(self, f"block{block}", DenseBlock(layers, inputs, growth, self.COUNT))
            inputs += self.COUNT * growth
            if block < 3:
                setattr(self, f"trans{block}", Transition(layers, inputs, inputs // 2))
                inputs //= 2
        self.bn1 = layers.norm(inputs)
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x):
        x = self.trans1(self.block1(self.conv1(x)))
        x = self.block3(self.trans2(self.block2(x)))
        return self.fc(global_average(functional.relu(self.bn1(x))))


class MLP(nn.Module):
    """Two hidden layers with ReLU: the toy's network."""

    def __init__(self, width, input_shape, outputs):
        super().__init__()
        channels, height, image_width = input_shape
        self.fc1 = nn.Linear(channels * height * image_width, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, outputs)

    def forward(self, x):
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(functional.relu(self.fc2(x)))


def global_average(x):
    """[batch, channels, height, width] to [batch, channels]."""
    return torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1)


def build(arch, width, batch_norm, input_shape, outputs):
    """The network `arch` for inputs of shape (channels, height, width)."""
    if arch == "mlp":
        return MLP(width, input_shape, outputs)
    if arch == "resnet18":
        return ResNet(BasicBlock, (2, 2, 2, 2), width, batch_norm, input_shape[0], outputs)
    if arch == "resnet50":
        return ResNet(Bottleneck, (3, 4, 6, 3), width, batch_norm, input_shape[0], outputs)
    if arch == "vgg16":
        return VGG(width, batch_norm, input_shape, outputs)
    if arch == "densenet40":
        return DenseNet(width, batch_norm, input_shape[0], outputs)
    raise ValueError(f"unknown architecture '{arch}'")


def parameter_count(network):
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters())
