"""Speech and sound: convolutions over waves, spectra, Conformer; written by hand."""

import math

import torch
from model_row import ModelRow, images
from torch import nn
from torch.nn import functional as F


class GatedBlock(nn.Module):
    """WaveNet's gated, dilated convolution with a residual and a skip."""

    def __init__(self, channels, dilation):
        super().__init__()
        self.pad = dilation
        self.conv = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.residual, self.skip = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, 12, 1)

    def forward(self, x):
        filtered, gate = self.conv(F.pad(x, (self.pad, 0))).chunk(2, 1)
        y = torch.tanh(filtered) * torch.sigmoid(gate)
        return x + self.residual(y), self.skip(y)


class WaveNet(nn.Module):
    """Mu-law samples to logits of the next ones."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(32, 8, 1)
        self.blocks = nn.ModuleList(GatedBlock(8, 2**k) for k in range(4))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(12, 16, 1), nn.ReLU(), nn.Conv1d(16, 32, 1))

    def forward(self, wave):
        levels = torch.sign(wave) * torch.log1p(31 * wave.abs()) / math.log(32)
        codes = ((levels.clamp(-1, 1) + 1) / 2 * 31 + 0.5).to(torch.int64)
        x = self.first(F.one_hot(codes, 32).transpose(1, 2).to(wave.dtype))
        total = 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return self.last(total)


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution with GLU, half feed-forward."""

    def __init__(self, dim):
        super().__init__()
        self.first, self.second = self._feed_forward(dim), self._feed_forward(dim)
        self.norm, self.last = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.conv = nn.Sequential(
            nn.Conv1d(dim, 2 * dim, 1),
            nn.GLU(1),
            nn.Conv1d(dim, dim, 5, padding=2, groups=dim),
            nn.BatchNorm1d(dim),
            nn.SiLU(),
            nn.Conv1d(dim, dim, 1),
        )

    @staticmethod
    def _feed_forward(dim):
        return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 32), nn.SiLU(), nn.Linear(32, dim))

    def forward(self, x, mask):
        x = x + 0.5 * self.first(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, key_padding_mask=mask, need_weights=False)[0]
        x = x + self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.last(x + 0.5 * self.second(x))


class Conformer(nn.Module):
    """A log-mel spectrogram, subsampled by 4, through two blocks; the mask comes from lengths."""

    def __init__(self):
        super().__init__()
        self.subsample = nn.Sequential(
            nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU()
        )
        self.project = nn.Linear(16, 16)
        self.blocks = nn.ModuleList(ConformerBlock(16) for _ in range(2))
        self.out = nn.Linear(16, 9)

    def forward(self, features, lengths):
        x = self.subsample(features.unsqueeze(1))
        x = self.project(x.permute(0, 2, 1, 3).flatten(2))
        lengths = (lengths + 3) // 4
        mask = torch.arange(x.shape[1])[None] >= lengths[:, None]
        for block in self.blocks:
            x = block(x, mask)
        return self.out(x).log_softmax(-1), lengths


class Spectral(nn.Module):
    """A wave to a log-mel spectrogram to classes: STFT inside the model."""

    def __init__(self):
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.register_buffer("mel", torch.rand(17, 8))
        self.conv = nn.Conv1d(8, 5, 3)

    def forward(self, wave):
        spectrum = torch.stft(wave, 32, 16, window=self.window, return_complex=True)
        mel = (spectrum.abs() ** 2).transpose(1, 2) @ self.mel
        return self.conv(mel.clamp_min(1e-6).log().transpose(1, 2)).mean(-1)


class Enhancer(nn.Module):
    """Masks a complex spectrum and returns to a wave: STFT and its inverse."""

    def __init__(self):
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.mask = nn.Sequential(nn.Linear(17, 24), nn.ReLU(), nn.Linear(24, 17), nn.Sigmoid())

    def forward(self, wave):
        spectrum = torch.stft(wave, 32, 8, window=self.window, return_complex=True)
        mask = self.mask(spectrum.abs().transpose(1, 2)).transpose(1, 2)
        return torch.istft(spectrum * mask, 32, 8, window=self.window, length=wave.shape[1])


class Vocoder(nn.Module):
    """HiFi-GAN's generator: weight-normed transposed convolutions and residual blocks."""

    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first = norm(nn.Conv1d(8, 16, 7, padding=3))
        self.up = nn.ModuleList(
            norm(nn.ConvTranspose1d(16 // 2**k, 8 // 2**k, 8, 4, padding=2)) for k in range(2)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                norm(nn.Conv1d(8 // 2**k, 8 // 2**k, 3, dilation=d, padding=d)) for d in (1, 3)
            )
            for k in range(2)
        )
        self.last = norm(nn.Conv1d(4, 1, 7, padding=3))

    def forward(self, mel):
        x = self.first(mel)
        for up, convs in zip(self.up, self.blocks, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            x = sum(x + conv(F.leaky_relu(x, 0.1)) for conv in convs) / len(convs)
        return torch.tanh(self.last(F.leaky_relu(x)))


class Separator(nn.Module):
    """Conv-TasNet: a learned basis, a mask per speaker, group norm over all of time."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Conv1d(1, 16, 16, 8), nn.ConvTranspose1d(16, 1, 16, 8)
        self.norm = nn.GroupNorm(1, 16)
        self.net = nn.Sequential(
            nn.Conv1d(16, 16, 3, padding=2, dilation=2, groups=16), nn.PReLU(), nn.Conv1d(16, 32, 1)
        )

    def forward(self, wave):
        basis = self.encoder(wave.unsqueeze(1)).relu()
        masks = self.net(self.norm(basis)).view(wave.shape[0], 2, 16, -1).sigmoid()
        voices = masks * basis.unsqueeze(1)
        return self.decoder(voices.flatten(0, 1)).view(wave.shape[0], 2, -1)


class SincNet(nn.Module):
    """Band-pass filters computed from two learned frequencies each."""

    def __init__(self):
        super().__init__()
        self.low = nn.Parameter(torch.linspace(0.02, 0.3, 6)[:, None])
        self.band = nn.Parameter(torch.full((6, 1), 0.05))
        self.register_buffer("time", torch.arange(-8, 9).float())
        self.out = nn.Conv1d(6, 4, 5, stride=3)

    def forward(self, wave):
        low, high = self.low.abs(), (self.low.abs() + self.band.abs()).clamp(max=0.5)
        filters = 2 * (
            high * torch.sinc(2 * high * self.time) - low * torch.sinc(2 * low * self.time)
        )
        filters = filters * torch.hamming_window(17, periodic=False)
        return self.out(F.conv1d(wave.unsqueeze(1), filters.unsqueeze(1)).abs()).amax(-1)


ROWS = [
    ModelRow(
        "WaveNet", WaveNet, lambda: (torch.rand(1, 40) * 2 - 1,), lambda: (torch.rand(2, 64),)
    ),
    ModelRow(
        "Conformer",
        Conformer,
        lambda: (torch.randn(2, 24, 16), torch.tensor([24, 13])),
        lambda: (torch.randn(3, 40, 16), torch.tensor([40, 22, 31])),
    ),
    ModelRow("log-mel classifier, STFT", Spectral, images(1, 160), images(3, 320)),
    ModelRow("speech enhancer, inverse STFT", Enhancer, images(1, 160), images(2, 160)),
    ModelRow("HiFi-GAN vocoder", Vocoder, images(1, 8, 6), images(2, 8, 9)),
    ModelRow("Conv-TasNet", Separator, images(1, 160), images(2, 240)),
    ModelRow("SincNet", SincNet, images(2, 120), images(3, 200)),
]
