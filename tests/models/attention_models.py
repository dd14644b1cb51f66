"""Attention, state spaces and experts, written by hand in the manner of papers' own code."""

import math
from functools import partial

import torch
from model_row import ModelRow, images, tokens
from torch import nn
from torch.nn import functional as F


class RmsNorm(nn.Module):
    """Llama's."""

    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)).type_as(
            x
        ) * self.weight


class RotaryBlock(nn.Module):
    """Grouped queries, complex rotary embeddings of Llama's first code, SwiGLU."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(16), RmsNorm(16)
        self.wq, self.wk, self.wv = (
            nn.Linear(16, 16, False),
            nn.Linear(16, 8, False),
            nn.Linear(16, 8, False),
        )
        self.wo = nn.Linear(16, 16, False)
        self.w1, self.w2, self.w3 = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 32)

    @staticmethod
    def _rotate(x, turns):
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns[:, None]).flatten(-2).type_as(x)

    def forward(self, x, turns):
        b, n, _ = x.shape
        y = self.norm1(x)
        q, k, v = (w(y).view(b, n, -1, 4) for w in (self.wq, self.wk, self.wv))
        q, k = self._rotate(q, turns), self._rotate(k, turns)
        k, v = k.repeat_interleave(2, 2), v.repeat_interleave(2, 2)
        y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=True)
        x = x + self.wo(y.transpose(1, 2).reshape(b, n, -1))
        y = self.norm2(x)
        return x + self.w2(F.silu(self.w1(y)) * self.w3(y))


class Llama(nn.Module):
    """Two such blocks; the rotations are a complex attribute that is no buffer."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.blocks = nn.ModuleList(RotaryBlock() for _ in range(2))
        angles = torch.outer(torch.arange(64), 1.0 / 100 ** (torch.arange(0, 4, 2) / 4))
        self.turns = torch.polar(torch.ones_like(angles), angles)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words):
        x = self.words(words)
        for block in self.blocks:
            x = block(x, self.turns[: words.shape[1]])
        return self.head(x)


class CachedStep(nn.Module):
    """One step of decoding: keys and values so far come in as lists and go out longer."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.ModuleList(nn.Linear(12, 36) for _ in range(2))

    def forward(self, x, cache):
        kept = []
        for layer, (keys, values) in zip(self.qkv, cache, strict=True):
            q, k, v = layer(x).chunk(3, -1)
            keys, values = torch.cat([keys, k], 1), torch.cat([values, v], 1)
            kept.append((keys, values))
            x = x + (q @ keys.transpose(1, 2) / math.sqrt(12)).softmax(-1) @ values
        return x, kept


class MaskedEncoder(nn.Module):
    """nn.TransformerEncoder with sentences of several lengths."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=False)
        self.words, self.encoder = nn.Embedding(50, 16), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 3)

    def forward(self, words):
        hidden = self.encoder(self.words(words), src_key_padding_mask=words == 0)
        return self.head(hidden[:, 0])


def padded_words():
    """The second sentence ends early."""
    words = torch.randint(1, 50, (2, 8))
    words[1, 5:] = 0
    return (words,)


class Seq2Seq(nn.Module):
    """nn.Transformer as the tutorial on translation has it: sines, masks, time first.

    knows_mask: says that the mask is causal; else nn.Transformer compares its values to find out.
    """

    def __init__(self, knows_mask):
        super().__init__()
        self.knows_mask = True if knows_mask else None
        self.source, self.target = nn.Embedding(50, 16), nn.Embedding(40, 16)
        position = torch.arange(32).unsqueeze(1) * torch.exp(torch.arange(0, 16, 2) * -0.5)
        table = torch.zeros(32, 1, 16)
        table[:, 0, 0::2], table[:, 0, 1::2] = position.sin(), position.cos()
        self.register_buffer("table", table)
        self.net, self.out = nn.Transformer(16, 2, 1, 1, 32), nn.Linear(16, 40)

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.size(0))
        x = self.source(source) * 4 + self.table[: source.size(0)]
        y = self.target(target) * 4 + self.table[: target.size(0)]
        return self.out(self.net(x, y, tgt_mask=mask, tgt_is_causal=self.knows_mask))


class Experts(nn.Module):
    """Top-2 routing with a loop over experts and index_add, as in Mixtral's code."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 4, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8)) for _ in range(4)
        )

    def forward(self, x):
        flat = x.view(-1, 8)
        weights, chosen = self.gate(flat).softmax(-1).topk(2, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        masks = F.one_hot(chosen, 4).permute(2, 1, 0)
        for expert, mask in zip(self.experts, masks, strict=True):
            rank, row = torch.where(mask)
            out.index_add_(0, row, expert(flat[row]) * weights[row, rank, None])
        return out.view_as(x)


class DenseExperts(nn.Module):
    """Soft routing: every expert runs, einsum adds them up."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.w1, self.w2 = (
            nn.Parameter(torch.randn(4, 8, 12) / 3),
            nn.Parameter(torch.randn(4, 12, 8) / 3),
        )

    def forward(self, x):
        logits = self.gate(x)
        cut = logits.topk(2, -1).values[..., -1:]
        gates = logits.masked_fill(logits < cut, float("-inf")).softmax(-1)
        hidden = F.gelu(torch.einsum("bnd,edh->bneh", x, self.w1))
        return torch.einsum("bneh,ehd,bne->bnd", hidden, self.w2, gates)


class Mamba(nn.Module):
    """A selective scan in a loop over time, with its causal depthwise convolution."""

    def __init__(self):
        super().__init__()
        self.inner, self.conv = nn.Linear(8, 32), nn.Conv1d(16, 16, 4, padding=3, groups=16)
        self.select, self.step = nn.Linear(16, 9), nn.Linear(1, 16)
        self.log_a = nn.Parameter(torch.log(torch.arange(1.0, 5).repeat(16, 1)))
        self.skip, self.out = nn.Parameter(torch.ones(16)), nn.Linear(16, 8)

    def forward(self, x):
        length = x.shape[1]
        u, gate = self.inner(x).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., :length]).transpose(1, 2)
        delta, b, c = self.select(u).split([1, 4, 4], -1)
        delta = F.softplus(self.step(delta))
        decay = torch.exp(delta.unsqueeze(-1) * -self.log_a.exp())
        drive = delta.unsqueeze(-1) * b.unsqueeze(2) * u.unsqueeze(-1)
        state, seen = torch.zeros_like(decay[:, 0]), []
        for t in range(length):
            state = decay[:, t] * state + drive[:, t]
            seen.append((state * c[:, t, None]).sum(-1))
        return self.out((torch.stack(seen, 1) + u * self.skip) * F.silu(gate))


class S4d(nn.Module):
    """A diagonal state space as one long convolution by FFT; complex parameters."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.complex(-torch.rand(4, 8), torch.arange(8.0).repeat(4, 1)))
        self.c = nn.Parameter(torch.randn(4, 8, dtype=torch.cfloat))
        self.log_step = nn.Parameter(torch.full((4, 1), -2.0))

    def forward(self, x):
        length = x.shape[-1]
        step = self.log_step.exp() * self.a
        powers = torch.exp(step.unsqueeze(-1) * torch.arange(length))
        kernel = 2 * torch.einsum("hn,hnl->hl", self.c * (step.exp() - 1) / self.a, powers).real
        spectrum = torch.fft.rfft(kernel, n=2 * length) * torch.fft.rfft(x, n=2 * length)
        return torch.fft.irfft(spectrum, n=2 * length)[..., :length]


class Perceiver(nn.Module):
    """A few latents read a long input through cross-attention, twice with the same weights."""

    def __init__(self):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(4, 16))
        self.read = nn.MultiheadAttention(16, 2, kdim=6, vdim=6, batch_first=True)
        self.think = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        z = self.latents.expand(x.shape[0], -1, -1)
        for _ in range(2):
            z = z + self.read(z, x, x)[0]
            y, weights = self.think(self.norm(z), self.norm(z), self.norm(z))
            z = z + y
        return z.mean(1), weights


class Clip(nn.Module):
    """Two towers, normalised, times a learned temperature; end of text by argmax."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.words = nn.Embedding(50, 12)
        self.text, self.picture = nn.GRU(12, 12, batch_first=True), nn.Linear(12, 12)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pictures, words):
        p = self.picture(self.patch(pictures).flatten(2).mean(-1))
        states = self.text(self.words(words))[0]
        t = states[torch.arange(states.shape[0]), words.argmax(-1)]
        p, t = F.normalize(p, dim=-1), F.normalize(t, dim=-1)
        logits = self.scale.exp() * p @ t.t()
        return logits, logits.t()


class Siamese(nn.Module):
    """One net on both inputs, then the distance and a verdict."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, left, right):
        a, b = self.net(left), self.net(right)
        return F.pairwise_distance(a, b), F.cosine_similarity(a, b) > 0


class LinearAttention(nn.Module):
    """Performer's random features held in a buffer; einsum and cumsum, causal."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(12, 36)
        self.register_buffer("features", torch.randn(12, 10))

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = F.elu(q @ self.features) + 1, F.elu(k @ self.features) + 1
        state = torch.einsum("bnf,bnd->bnfd", k, v).cumsum(1)
        norm = torch.einsum("bnf,bnf->bn", q, k.cumsum(1)).unsqueeze(-1)
        return torch.einsum("bnf,bnfd->bnd", q, state) / norm


class Relative(nn.Module):
    """T5's buckets of distances, ALiBi's slopes, a sliding window: masks made inside."""

    def __init__(self):
        super().__init__()
        self.qkv, self.bias = nn.Linear(12, 36), nn.Embedding(8, 3)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, 3, 4).permute(2, 0, 3, 1, 4)
        far = torch.arange(n)[None] - torch.arange(n)[:, None]
        bucket = torch.where(far.abs() < 4, far.abs(), (4 + far.abs().float().log2()).long()).clamp(
            max=7
        )
        slopes = 2.0 ** -torch.arange(1, 4).view(3, 1, 1)
        scores = (
            q @ k.transpose(-1, -2) / 2 + self.bias(bucket).permute(2, 0, 1) + slopes * -far.abs()
        )
        scores = scores.masked_fill(far.abs() > 5, torch.finfo(scores.dtype).min)
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, 12)


class Retentive(nn.Module):
    """RWKV's time mixing: the row before, by padding with a negative width."""

    def __init__(self):
        super().__init__()
        self.mix, self.decay = nn.Parameter(torch.rand(3, 8)), nn.Parameter(-torch.rand(8))
        self.key, self.value, self.gate = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        before = F.pad(x, (0, 0, 1, -1))
        k, v, r = (
            layer(x * m + before * (1 - m))
            for layer, m in zip((self.key, self.value, self.gate), self.mix, strict=True)
        )
        top = bottom = torch.zeros_like(k[:, 0])
        out = []
        for t in range(x.shape[1]):
            weight = torch.exp(k[:, t])
            top, bottom = (
                torch.exp(self.decay) * top + weight * v[:, t],
                torch.exp(self.decay) * bottom + weight,
            )
            out.append(torch.sigmoid(r[:, t]) * top / bottom)
        return torch.stack(out, 1)


def pair():
    """A sentence and its translation so far, time first."""
    return (torch.randint(0, 50, (7, 2)), torch.randint(0, 40, (5, 2)))


def cached_step(length):
    """One token, and what two layers keep of `length` others."""
    return lambda: (
        torch.randn(1, 1, 12),
        [(torch.randn(1, length, 12), torch.randn(1, length, 12)) for _ in range(2)],
    )


ROWS = [
    ModelRow("Llama, complex rotary, tied", Llama, tokens(1, 6), tokens(2, 9)),
    ModelRow("decoding with a key-value cache", CachedStep, cached_step(5), cached_step(6)),
    ModelRow("nn.TransformerEncoder with padding", MaskedEncoder, padded_words, tokens(3, 6)),
    ModelRow(
        "nn.Transformer that looks at its mask", partial(Seq2Seq, False), pair, refused="data-dep"
    ),
    ModelRow("nn.Transformer, tgt_is_causal", partial(Seq2Seq, True), pair),
    ModelRow("experts, top-2 by index_add", Experts, images(1, 5, 8)),
    ModelRow("experts, soft routing", DenseExperts, images(2, 5, 8), images(3, 7, 8)),
    ModelRow("Mamba's scan", Mamba, images(1, 6, 8), images(2, 4, 8)),
    ModelRow("S4D by FFT", S4d, images(2, 4, 16), images(3, 4, 24)),
    ModelRow("Perceiver", Perceiver, images(1, 20, 6), images(2, 30, 6)),
    ModelRow(
        "CLIP's two towers",
        Clip,
        lambda: (torch.randn(3, 3, 16, 16), torch.randint(0, 50, (3, 7))),
        lambda: (torch.randn(4, 3, 16, 16), torch.randint(0, 50, (4, 7))),
    ),
    ModelRow(
        "Siamese net",
        Siamese,
        lambda: (torch.randn(3, 10), torch.randn(3, 10)),
        lambda: (torch.randn(1, 10), torch.randn(1, 10)),
    ),
    ModelRow("linear attention", LinearAttention, images(2, 6, 12), images(1, 9, 12)),
    ModelRow("relative positions and windows", Relative, images(1, 9, 12), images(2, 12, 12)),
    ModelRow("RWKV's time mixing", Retentive, images(1, 5, 8), images(3, 5, 8)),
]
