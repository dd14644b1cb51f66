"""Tables, recommenders, graphs, control and physics, written by hand."""

import math

import torch
from model_row import ModelRow, images
from torch import nn
from torch.nn import functional as F


class TabularNet(nn.Module):
    """fastai's: an embedding per category, batch norm over the numbers."""

    def __init__(self):
        super().__init__()
        self.embeds = nn.ModuleList(nn.Embedding(n, 3) for n in (4, 6, 9))
        self.norm = nn.BatchNorm1d(5)
        self.net = nn.Sequential(
            nn.Linear(14, 16), nn.ReLU(True), nn.BatchNorm1d(16), nn.Linear(16, 2)
        )

    def forward(self, categories, numbers):
        x = torch.cat([e(categories[:, i]) for i, e in enumerate(self.embeds)], 1)
        return self.net(torch.cat([x, self.norm(numbers)], 1))


class FtTransformer(nn.Module):
    """A token per feature, a class token, one encoder layer."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(6, 8))
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        x = x.unsqueeze(-1) * self.weight + self.bias
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        return self.head(F.relu(self.layer(x)[:, 0])).squeeze(-1)


class Dlrm(nn.Module):
    """Bags of features, dot products of all pairs (the upper triangle), two MLPs."""

    def __init__(self):
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(20, 6, mode=mode) for mode in ("sum", "mean"))
        self.bottom = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())

    def forward(self, dense, bags):
        x = self.bottom(dense)
        rows = torch.stack([x, *(bag(ids) for bag, ids in zip(self.bags, bags, strict=True))], 1)
        products = torch.bmm(rows, rows.transpose(1, 2))
        i, j = torch.triu_indices(3, 3, offset=1)
        return self.top(torch.cat([x, products[:, i, j]], 1))


class OffsetBag(nn.Module):
    """EmbeddingBag with offsets and weights per sample: two inputs of different length."""

    def __init__(self):
        super().__init__()
        self.bag, self.out = (
            nn.EmbeddingBag(30, 5, mode="sum", include_last_offset=True),
            nn.Linear(5, 2),
        )

    def forward(self, ids, offsets, weights):
        return self.out(self.bag(ids, offsets, per_sample_weights=weights))


class TwoTower(nn.Module):
    """Users and items in a dict, a list of nested results."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(10, 6), nn.Embedding(12, 6)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        u, i = self.user(batch["user"]), self.item(batch["items"]["seen"]).mean(1)
        score = (u * i).sum(-1) + self.bias
        return {"score": score, "top": [(u @ self.item.weight.t()).topk(3), {"item": i}]}


class Gcn(nn.Module):
    """Two layers of Kipf's net over an edge list: degrees by scatter_add, sums by index_add."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 3)

    @staticmethod
    def _spread(x, edges):
        source, target = edges
        degree = torch.ones(x.shape[0]).scatter_add(0, target, torch.ones(target.shape[0]))
        weight = degree.rsqrt()[source] * degree.rsqrt()[target]
        return x / degree[:, None] + torch.zeros_like(x).index_add(
            0, target, x[source] * weight[:, None]
        )

    def forward(self, x, edges):
        x = F.relu(self._spread(self.first(x), edges))
        return F.log_softmax(self._spread(self.second(x), edges), -1)


class Gat(nn.Module):
    """Attention over edges: softmax per node by scatter_reduce."""

    def __init__(self):
        super().__init__()
        self.linear, self.score = nn.Linear(5, 8, bias=False), nn.Parameter(torch.randn(16))

    def forward(self, x, edges):
        h = self.linear(x)
        source, target = edges[0], edges[1]
        e = F.leaky_relu(torch.cat([h[source], h[target]], 1) @ self.score, 0.2)
        top = torch.full((x.shape[0],), -1e9).scatter_reduce(0, target, e, "amax")
        e = (e - top[target]).exp()
        total = torch.zeros(x.shape[0]).index_add_(0, target, e) + 1e-16
        return torch.zeros_like(h).index_add_(0, target, h[source] * (e / total[target])[:, None])


class PointNet(nn.Module):
    """The nearest neighbours of points by distance, edges' features, a maximum (DGCNN)."""

    def __init__(self):
        super().__init__()
        self.edge, self.head = nn.Conv2d(6, 8, 1), nn.Linear(8, 4)

    def forward(self, points):
        far = torch.cdist(points.transpose(1, 2), points.transpose(1, 2))
        nearest = far.topk(4, largest=False).indices
        flat = nearest.flatten(1).unsqueeze(1).expand(-1, 3, -1)
        neighbours = points.gather(2, flat).view(*points.shape, 4)
        centre = points.unsqueeze(-1).expand_as(neighbours)
        x = F.leaky_relu(self.edge(torch.cat([neighbours - centre, centre], 1)), 0.2)
        return self.head(x.amax((2, 3)))


class Nerf(nn.Module):
    """Positions through sines, densities to colours along rays by cumprod."""

    def __init__(self):
        super().__init__()
        self.first, self.skip = nn.Linear(27, 16), nn.Linear(43, 16)
        self.density, self.colour = nn.Linear(16, 1), nn.Linear(16, 3)

    def forward(self, origins, directions):
        depths = torch.linspace(2, 6, 8)
        x = origins[:, None] + directions[:, None] * depths[:, None]
        waves = [x] + [f(x * 2.0**k * math.pi) for k in range(4) for f in (torch.sin, torch.cos)]
        encoded = torch.cat(waves, -1)
        h = F.relu(self.first(encoded))
        h = F.relu(self.skip(torch.cat([h, encoded], -1)))
        alpha = 1 - torch.exp(-F.softplus(self.density(h).squeeze(-1)) * 0.5)
        clear = torch.cumprod(torch.cat([torch.ones(len(x), 1), 1 - alpha + 1e-10], 1), 1)[:, :-1]
        weights = alpha * clear
        return (weights[..., None] * torch.sigmoid(self.colour(h))).sum(1), (weights * depths).sum(
            1
        )


class Siren(nn.Module):
    """Sines all the way, in float64."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, 12, dtype=torch.float64) for n in (2, 12, 12))
        self.out = nn.Linear(12, 1, dtype=torch.float64)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.out(x)


class Policy(nn.Module):
    """An actor with a squashed Gaussian that draws its action, and a critic."""

    def __init__(self):
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(6, 12), nn.Linear(12, 2), nn.Linear(12, 2)
        self.value = nn.Linear(12, 1)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        normal = torch.distributions.Normal(
            self.mean(h), self.spread(h).clamp(-5, 2).exp(), validate_args=False
        )
        draw = normal.rsample()
        action = torch.tanh(draw)
        log_prob = normal.log_prob(draw).sum(-1) - torch.log(1 - action.pow(2) + 1e-6).sum(-1)
        return action, log_prob, self.value(h)


class DuelingQ(nn.Module):
    """Advantages and value; forbidden actions masked; the best one as an integer."""

    def __init__(self):
        super().__init__()
        self.body, self.value, self.gain = nn.Linear(4, 16), nn.Linear(16, 1), nn.Linear(16, 5)

    def forward(self, state, allowed):
        h = F.relu(self.body(state))
        gain = self.gain(h)
        q = self.value(h) + gain - gain.mean(1, keepdim=True)
        q = q.masked_fill(~allowed, float("-inf"))
        return q, q.argmax(1), allowed.any(1)


class Hamiltonian(nn.Module):
    """Needs the gradient of a net inside forward."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.net(x).sum(), x)
        position, momentum = slope.chunk(2, -1)
        return torch.cat([momentum, -position], -1)


class HamiltonianByFunction(nn.Module):
    """The same through torch.func: a Jacobian of each sample, by vmap."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x):
        slope = torch.func.vmap(torch.func.grad(lambda row: self.net(row).squeeze()))(x)
        position, momentum = slope.chunk(2, -1)
        return torch.cat([momentum, -position], -1)


class NeuralOde(nn.Module):
    """Runge and Kutta's four steps in a loop, with a time step of zero dimensions."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3))

    def forward(self, x, step):
        def slope(t, y):
            return self.net(torch.cat([y, t.expand(len(y), 1)], 1))

        t = torch.zeros(())
        for _ in range(3):
            k1 = slope(t, x)
            k2 = slope(t + step / 2, x + step / 2 * k1)
            k3 = slope(t + step / 2, x + step / 2 * k2)
            k4 = slope(t + step, x + step * k3)
            x, t = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + step
        return x


class Fourier(nn.Module):
    """A Fourier neural operator: complex weights on the lowest modes, written into zeros."""

    def __init__(self):
        super().__init__()
        self.lift, self.out = nn.Linear(2, 6), nn.Linear(6, 1)
        self.weight = nn.Parameter(torch.randn(6, 6, 4, 3, dtype=torch.cfloat) / 6)
        self.skip = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        x = self.lift(x).permute(0, 3, 1, 2)
        spectrum = torch.fft.rfft2(x)
        kept = torch.zeros_like(spectrum)
        kept[:, :, :4, :3] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :4, :3], self.weight)
        x = F.gelu(torch.fft.irfft2(kept, s=x.shape[-2:]) + self.skip(x))
        return self.out(x.permute(0, 2, 3, 1))


class Kalman(nn.Module):
    """A filter's step with torch.linalg: Cholesky, solve, inverse, batched."""

    def __init__(self):
        super().__init__()
        self.observe = nn.Parameter(torch.randn(2, 3))
        self.register_buffer("noise", torch.eye(2) * 0.1)

    def forward(self, mean, covariance, seen):
        innovation = self.observe @ covariance @ self.observe.t() + self.noise
        gain = torch.linalg.solve(innovation, self.observe @ covariance).transpose(-1, -2)
        mean = mean + (gain @ (seen - mean @ self.observe.t()).unsqueeze(-1)).squeeze(-1)
        covariance = (torch.eye(3) - gain @ self.observe) @ covariance
        return mean, covariance, torch.linalg.cholesky(innovation).diagonal(dim1=-2, dim2=-1).log()


class Flow(nn.Module):
    """RealNVP: masked coupling layers both ways, a log determinant, a distribution's density."""

    def __init__(self):
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 8)) for _ in range(3)
        )
        self.register_buffer("mask", torch.tensor([1.0, 0, 1, 0]))

    def forward(self, x):
        total = x.new_zeros(x.shape[0])
        for k, net in enumerate(self.nets):
            mask = self.mask if k % 2 else 1 - self.mask
            scale, shift = net(x * mask).chunk(2, -1)
            scale = torch.tanh(scale) * (1 - mask)
            x = x * scale.exp() + shift * (1 - mask)
            total = total + scale.sum(-1)
        return x, total - 0.5 * (x.pow(2) + math.log(2 * math.pi)).sum(-1)


def edge_list(n_nodes, n_edges):
    """Features of nodes, and pairs of their numbers."""
    return lambda: (torch.randn(n_nodes, 5), torch.randint(0, n_nodes, (2, n_edges)))


def covariances(batch):
    """Means, symmetric positive matrices and what was seen."""

    def draw():
        root = torch.randn(batch, 3, 3)
        return (
            torch.randn(batch, 3),
            root @ root.transpose(1, 2) + torch.eye(3),
            torch.randn(batch, 2),
        )

    return draw


ROWS = [
    ModelRow(
        "tabular net with embeddings",
        TabularNet,
        lambda: (torch.randint(0, 4, (3, 3)), torch.randn(3, 5)),
        lambda: (torch.randint(0, 4, (1, 3)), torch.randn(1, 5)),
    ),
    ModelRow("FT-Transformer", FtTransformer, images(2, 6), images(5, 6)),
    ModelRow(
        "DLRM with embedding bags",
        Dlrm,
        lambda: (torch.randn(3, 4), [torch.randint(0, 20, (3, 4)) for _ in range(2)]),
        lambda: (torch.randn(2, 4), [torch.randint(0, 20, (2, 4)) for _ in range(2)]),
    ),
    ModelRow(
        "embedding bag with offsets",
        OffsetBag,
        lambda: (torch.randint(0, 30, (9,)), torch.tensor([0, 2, 5, 9]), torch.rand(9)),
        lambda: (torch.randint(0, 30, (6,)), torch.tensor([0, 0, 6]), torch.rand(6)),
    ),
    ModelRow(
        "two towers of a recommender",
        TwoTower,
        lambda: (
            {"user": torch.randint(0, 10, (3,)), "items": {"seen": torch.randint(0, 12, (3, 4))}},
        ),
    ),
    ModelRow("graph convolution", Gcn, edge_list(7, 15), edge_list(9, 20)),
    ModelRow("graph attention", Gat, edge_list(7, 15), edge_list(5, 15)),
    ModelRow("DGCNN on points", PointNet, images(2, 3, 12), images(1, 3, 20)),
    ModelRow(
        "NeRF",
        Nerf,
        lambda: (torch.randn(4, 3), torch.randn(4, 3)),
        lambda: (torch.randn(7, 3), torch.randn(7, 3)),
    ),
    ModelRow("SIREN in float64", Siren, lambda: (torch.rand(5, 2, dtype=torch.float64),)),
    ModelRow("policy that draws its action", Policy, images(3, 6), is_random=True),
    ModelRow(
        "dueling Q with masked actions",
        DuelingQ,
        lambda: (torch.randn(3, 4), torch.rand(3, 5) > 0.3),
        lambda: (torch.randn(1, 4), torch.rand(1, 5) > 0.3),
    ),
    ModelRow("Hamiltonian net, autograd inside", Hamiltonian, images(3, 4), refused="grad"),
    ModelRow(
        "Hamiltonian net, torch.func inside",
        HamiltonianByFunction,
        images(3, 4),
        refused="grad|vmap",
    ),
    ModelRow(
        "neural ODE with a 0-dim step",
        NeuralOde,
        lambda: (torch.randn(2, 3), torch.tensor(0.1)),
        lambda: (torch.randn(4, 3), torch.tensor(0.2)),
    ),
    ModelRow("Fourier neural operator", Fourier, images(1, 8, 8, 2), images(2, 8, 8, 2)),
    ModelRow("Kalman filter by torch.linalg", Kalman, covariances(2), covariances(3)),
    ModelRow("RealNVP", Flow, images(3, 4), images(1, 4)),
]
