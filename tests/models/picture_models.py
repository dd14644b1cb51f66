"""Nets over pictures written by hand: generators, autoencoders, diffusion, detection, mixers."""

import torch
from model_row import ModelRow, images
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """As in PyTorch's first tutorial, with num_flat_features."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, self.num_flat_features(x))
        return F.log_softmax(self.fc3(F.relu(self.fc2(F.relu(self.fc1(x))))), dim=1)

    def num_flat_features(self, x):
        """Product of all sizes but the batch."""
        count = 1
        for size in x.size()[1:]:
            count *= size
        return count


class UNet(nn.Module):
    """Milesial's: double convolutions, transposed convolutions, padding to the skip's size."""

    def __init__(self):
        super().__init__()
        self.inc, self.down1, self.down2 = self._twice(3, 4), self._twice(4, 8), self._twice(8, 16)
        self.up1, self.up2 = nn.ConvTranspose2d(16, 8, 2, 2), nn.ConvTranspose2d(8, 4, 2, 2)
        self.conv1, self.conv2 = self._twice(16, 8), self._twice(8, 4)
        self.out = nn.Conv2d(4, 2, 1)

    @staticmethod
    def _twice(n_in, n_out):
        def one(a, b):
            return nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)

        return nn.Sequential(*one(n_in, n_out), *one(n_out, n_out))

    @staticmethod
    def _join(skip, x):
        dy, dx = skip.size()[2] - x.size()[2], skip.size()[3] - x.size()[3]
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return torch.cat([skip, x], dim=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x = self.conv1(self._join(x2, self.up1(x3)))
        return self.out(self.conv2(self._join(x1, self.up2(x))))


class DcganGenerator(nn.Module):
    """Noise to a picture; spectral norm as the newer ones have it."""

    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.main = nn.Sequential(
            norm(nn.ConvTranspose2d(16, 16, 4, 1, 0, bias=False)),
            nn.BatchNorm2d(16),
            nn.ReLU(True),
            norm(nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False)),
            nn.BatchNorm2d(8),
            nn.ReLU(True),
            nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise):
        return self.main(noise)


class StyledConv(nn.Module):
    """StyleGAN2: weights per sample, run as one grouped convolution."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 6, 4, 3, 3))
        self.style = nn.Linear(5, 4)

    def forward(self, x, style):
        batch, channels, height, width = x.shape
        weight = self.weight * self.style(style).view(batch, 1, channels, 1, 1)
        scale = torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8)
        weight = (weight * scale.view(batch, 6, 1, 1, 1)).view(batch * 6, channels, 3, 3)
        y = F.conv2d(x.view(1, batch * channels, height, width), weight, padding=1, groups=batch)
        return y.view(batch, 6, height, width)


class Vae(nn.Module):
    """Draws in eval mode too, as most people's do."""

    def __init__(self):
        super().__init__()
        self.encoder, self.mu, self.log_var = nn.Linear(20, 16), nn.Linear(16, 4), nn.Linear(16, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 20), nn.Sigmoid())

    def forward(self, x):
        h = F.relu(self.encoder(x))
        mu, log_var = self.mu(h), self.log_var(h)
        std = torch.exp(0.5 * log_var)
        z = mu + torch.randn_like(std) * std
        return self.decoder(z), mu, log_var


class VqVae(nn.Module):
    """The nearest code of a codebook, straight through."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(3, 4, 4, 2, 1), nn.ConvTranspose2d(4, 3, 4, 2, 1)
        self.codes = nn.Embedding(16, 4)

    def forward(self, x):
        z = self.encoder(x).permute(0, 2, 3, 1).contiguous()
        flat = z.view(-1, 4)
        far = flat.pow(2).sum(1, True) - 2 * flat @ self.codes.weight.t()
        index = (far + self.codes.weight.pow(2).sum(1)).argmin(1)
        quantised = self.codes(index).view(z.shape)
        quantised = z + (quantised - z).detach()
        return self.decoder(quantised.permute(0, 3, 1, 2)), index.view(z.shape[:-1])


class DiffusionBlock(nn.Module):
    """Time as sines, scale and shift in a residual block, attention over pixels."""

    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16))
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm1, self.norm2 = nn.GroupNorm(4, 8), nn.GroupNorm(1, 8)
        self.qkv, self.out = nn.Conv2d(8, 24, 1), nn.Conv2d(8, 3, 1)

    def forward(self, x, t):
        rates = torch.exp(-torch.arange(4) * 2.3)
        angles = t[:, None].float() * rates[None]
        time = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        scale, shift = time[:, :, None, None].chunk(2, dim=1)
        h = self.first(x)
        h = h + self.second(F.silu(self.norm1(h) * (1 + scale) + shift))
        b, c, height, width = h.shape
        q, k, v = self.qkv(self.norm2(h)).reshape(b, 3, 2, c // 2, height * width).unbind(1)
        weights = torch.einsum("bhcn,bhcm->bhnm", q * c**-0.5, k).softmax(-1)
        h = h + torch.einsum("bhnm,bhcm->bhcn", weights, v).reshape(b, c, height, width)
        return self.out(h)


class SubPixel(nn.Module):
    """ESPCN: pixel shuffle, and a bicubic picture beside it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 12, 3, padding=1)
        )

    def forward(self, x):
        sharp = F.pixel_shuffle(self.conv(x), 2)
        return (sharp + F.interpolate(x, scale_factor=2, mode="bicubic")).clamp(0, 1)


class Warp(nn.Module):
    """A spatial transformer: a grid predicted from the picture."""

    def __init__(self):
        super().__init__()
        self.locate = nn.Sequential(
            nn.Conv2d(1, 4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(100, 6)
        )

    def forward(self, x):
        theta = torch.tensor([1.0, 0, 0, 0, 1, 0]) + 0.1 * self.locate(x)
        grid = F.affine_grid(theta.view(-1, 2, 3), x.size(), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)


class Yolo(nn.Module):
    """A detection head that decodes boxes on a grid, as Ultralytics does; no NMS inside."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.heads = nn.ModuleList([nn.Conv2d(8, 3 * 7, 1), nn.Conv2d(8, 3 * 7, 1)])
        self.register_buffer("anchors", torch.rand(2, 3, 2) * 10)

    def forward(self, x):
        first = self.backbone(x)
        found = []
        for i, feature in enumerate((first, F.max_pool2d(first, 2))):
            b, _, ny, nx = self.heads[i](feature).shape
            y = self.heads[i](feature).view(b, 3, 7, ny, nx).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
            grid = torch.stack([columns, rows], -1).view(1, 1, ny, nx, 2)
            stride = x.shape[-1] / nx
            place = (y[..., :2] * 2 - 0.5 + grid) * stride
            size = (y[..., 2:4] * 2) ** 2 * self.anchors[i].view(1, 3, 1, 1, 2)
            found.append(torch.cat([place, size, y[..., 4:]], -1).view(b, -1, 7))
        return torch.cat(found, 1)


class CenterNet(nn.Module):
    """Peaks of a heat map by max-pooling, the best ten, their boxes gathered."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, 2, 1)
        self.heat, self.size = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        h = F.relu(self.body(x))
        heat = self.heat(h).sigmoid()
        heat = heat * (F.max_pool2d(heat, 3, 1, 1) == heat)
        scores, index = heat.flatten(1).topk(10)
        cells = heat.shape[2] * heat.shape[3]
        kind, cell = index // cells, index % cells
        size = self.size(h).flatten(2).transpose(1, 2)
        boxes = size.gather(1, cell.unsqueeze(-1).expand(-1, -1, 2))
        return {"scores": scores, "labels": kind, "boxes": boxes, "is_sure": scores > 0.5}


class Pose(nn.Module):
    """Heat maps of keypoints to coordinates by soft-argmax."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x):
        heat = self.conv(x)
        weights = heat.flatten(2).softmax(-1).view_as(heat)
        ys, xs = torch.linspace(-1, 1, x.shape[2]), torch.linspace(-1, 1, x.shape[3])
        return torch.stack([(weights.sum(2) * xs).sum(-1), (weights.sum(3) * ys).sum(-1)], -1)


class Suppressed(nn.Module):
    """Non-maximum suppression in plain torch: boolean masks, a loop as long as there are boxes."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = self.head(x)
        boxes, scores = y[:, :4], y[:, 4]
        order, kept = scores.argsort(descending=True), []
        while order.numel() > 0:
            kept.append(order[0])
            order = order[1:][(boxes[order[1:]] - boxes[order[0]]).abs().sum(1) > 1]
        return boxes[torch.stack(kept)]


class Cbam(nn.Module):
    """Squeeze and excitation, then attention over space."""

    def __init__(self):
        super().__init__()
        self.excite = nn.Sequential(nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 8))
        self.space, self.stem = nn.Conv2d(2, 1, 7, padding=3), nn.Conv2d(3, 8, 3)

    def forward(self, x):
        x = self.stem(x)
        weight = torch.sigmoid(self.excite(x.mean((2, 3))) + self.excite(x.amax((2, 3))))
        x = x * weight[:, :, None, None]
        pooled = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * torch.sigmoid(self.space(pooled))


class Mixer(nn.Module):
    """MLP-Mixer with patches by unfold."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Linear(48, 16)
        self.tokens, self.channels = nn.Linear(16, 16), nn.Linear(16, 16)
        self.norm1, self.norm2, self.head = nn.LayerNorm(16), nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x):
        x = x.unfold(2, 4, 4).unfold(3, 4, 4)
        b, c, rows, columns, p, q = x.size()
        x = x.permute(0, 2, 3, 4, 5, 1).reshape(b, rows * columns, p * q * c)
        x = self.patch(x)
        x = x + F.gelu(self.tokens(self.norm1(x).transpose(1, 2))).transpose(1, 2)
        x = x + F.gelu(self.channels(self.norm2(x)))
        return self.head(x.mean(1))


class Volume(nn.Module):
    """A small V-Net: 3-D convolutions, instance norm, trilinear upsampling."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv3d(1, 4, 3, 2, 1), nn.InstanceNorm3d(4), nn.PReLU(4))
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="trilinear"), nn.Conv3d(4, 2, 3, 1, 1)
        )

    def forward(self, x):
        return self.up(self.down(x)).softmax(1)


class MonteCarlo(nn.Module):
    """Several passes in one forward, stacked: an ensemble of crops and mirrors."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, x):
        views = [x, x.flip(-1), x[..., 2:-2, 2:-2], torch.rot90(x, 1, (2, 3))]
        votes = torch.stack([self.net(view) for view in views])
        return votes.mean(0), votes.std(0)


ROWS = [
    ModelRow("LeNet", LeNet, images(1, 1, 28, 28), images(5, 1, 28, 28)),
    ModelRow("U-Net", UNet, images(1, 3, 18, 22), images(2, 3, 18, 22)),
    ModelRow("DCGAN generator, spectral norm", DcganGenerator, images(2, 16, 1, 1)),
    ModelRow(
        "StyleGAN2's modulated convolution",
        StyledConv,
        lambda: (torch.randn(2, 4, 6, 6), torch.randn(2, 5)),
        lambda: (torch.randn(3, 4, 6, 6), torch.randn(3, 5)),
    ),
    ModelRow("VAE", Vae, images(2, 20), images(3, 20), is_random=True),
    ModelRow("VQ-VAE", VqVae, images(1, 3, 16, 16), images(2, 3, 16, 16)),
    ModelRow(
        "diffusion block",
        DiffusionBlock,
        lambda: (torch.randn(2, 3, 8, 8), torch.tensor([3, 700])),
        lambda: (torch.randn(1, 3, 8, 12), torch.tensor([20])),
    ),
    ModelRow("sub-pixel upscaler", SubPixel, images(1, 3, 12, 10), images(2, 3, 8, 8)),
    ModelRow("spatial transformer", Warp, images(2, 1, 18, 18)),
    ModelRow("YOLO head", Yolo, images(1, 3, 32, 48), images(2, 3, 32, 48)),
    ModelRow("CenterNet", CenterNet, images(2, 3, 20, 20), images(1, 3, 20, 20)),
    ModelRow("pose by soft-argmax", Pose, images(1, 3, 12, 16), images(2, 3, 12, 16)),
    ModelRow("NMS in plain torch", Suppressed, images(6, 6), refused="data-dependent"),
    ModelRow("CBAM", Cbam, images(1, 3, 16, 16), images(3, 3, 16, 16)),
    ModelRow("MLP-Mixer by unfold", Mixer, images(1, 3, 16, 16), images(2, 3, 16, 16)),
    ModelRow("V-Net", Volume, images(1, 1, 8, 8, 8), images(2, 1, 8, 8, 8)),
    ModelRow("ensemble of views", MonteCarlo, images(2, 3, 12, 12)),
]
