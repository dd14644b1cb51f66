"""Recurrent nets, sequence to sequence, and nets over time series, written by hand."""

import torch
from model_row import ModelRow, images, tokens
from torch import nn
from torch.nn import functional as F


class Tagger(nn.Module):
    """A bidirectional LSTM of two layers over words."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 12, padding_idx=0)
        self.lstm = nn.LSTM(12, 10, 2, batch_first=True, bidirectional=True, dropout=0.3)
        self.tags = nn.Linear(20, 7)

    def forward(self, words):
        states, (last, _) = self.lstm(self.words(words))
        return {"tags": self.tags(states).log_softmax(-1), "last": last}


class GivenState(nn.Module):
    """A GRU whose state comes in and goes out; time is the first dimension."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(6, 8, num_layers=2)
        self.out = nn.Linear(8, 3)

    def forward(self, x, state):
        y, state = self.gru(x, state)
        return self.out(y[-1]), state


class CellLoop(nn.Module):
    """LSTM and GRU cells in a Python loop over time."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(5, 6), nn.GRUCell(6, 6)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 6)
        c, g = h.clone(), h.clone()
        seen = []
        for step in x.unbind(1):
            h, c = self.lstm(step, (h, c))
            g = self.gru(h, g)
            seen.append(g)
        return torch.stack(seen, 1)


class Elman(nn.Module):
    """nn.RNN with a relu, both directions."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 6, nonlinearity="relu", bidirectional=True, batch_first=True)

    def forward(self, x):
        y, last = self.rnn(x)
        return y.mean(1) + last.sum()


class Packed(nn.Module):
    """Sentences of several lengths, packed: the lengths become sizes."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        y, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return y


class Translator(nn.Module):
    """A GRU encoder, a greedy GRU decoder of fixed length with Bahdanau's attention."""

    STEPS = 4

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(50, 10), nn.Embedding(30, 10)
        self.encoder = nn.GRU(10, 12, batch_first=True, bidirectional=True)
        self.bridge, self.query = nn.Linear(24, 12), nn.Linear(12, 24)
        self.score = nn.Linear(24, 1)
        self.cell, self.out = nn.GRUCell(34, 12), nn.Linear(12, 30)

    def forward(self, words):
        memory, last = self.encoder(self.source(words))
        state = torch.tanh(self.bridge(torch.cat([last[0], last[1]], 1)))
        word = torch.zeros(words.shape[0], dtype=torch.long)
        said = []
        for _ in range(self.STEPS):
            scores = self.score(torch.tanh(memory + self.query(state).unsqueeze(1)))
            context = (scores.softmax(1) * memory).sum(1)
            state = self.cell(torch.cat([self.target(word), context], 1), state)
            logits = self.out(state)
            word = logits.argmax(1)
            said.append(word)
        return torch.stack(said, 1), logits


class CharCnnLstm(nn.Module):
    """Convolution, pooling and an LSTM, of which the last state counts; the CRNN of OCR."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d((4, 2))
        )
        self.lstm = nn.LSTM(32, 10, bidirectional=True)
        self.out = nn.Linear(20, 11)

    def forward(self, x):
        x = self.conv(x)
        x = x.permute(3, 0, 1, 2).flatten(2)
        return self.out(self.lstm(x)[0]).log_softmax(2)


class TemporalBlock(nn.Module):
    """Causal, dilated, weight-normed; Chomp1d of the TCN's authors."""

    def __init__(self, n_in, n_out, dilation):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first = norm(nn.Conv1d(n_in, n_out, 3, padding=2 * dilation, dilation=dilation))
        self.second = norm(nn.Conv1d(n_out, n_out, 3, padding=2 * dilation, dilation=dilation))
        self.chomp = 2 * dilation
        self.skip = nn.Conv1d(n_in, n_out, 1) if n_in != n_out else None

    def forward(self, x):
        y = F.relu(self.first(x)[:, :, : -self.chomp].contiguous())
        y = F.relu(self.second(y)[:, :, : -self.chomp].contiguous())
        return F.relu(y + (x if self.skip is None else self.skip(x)))


class NBeats(nn.Module):
    """Doubly residual stacks of forecasts and backcasts."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
            for _ in range(3)
        )
        self.back = nn.ModuleList(nn.Linear(32, 24) for _ in range(3))
        self.fore = nn.ModuleList(nn.Linear(32, 6) for _ in range(3))

    def forward(self, x):
        forecast = 0
        for block, back, fore in zip(self.blocks, self.back, self.fore, strict=True):
            hidden = block(x)
            x = x - back(hidden)
            forecast = forecast + fore(hidden)
        return forecast


class DLinear(nn.Module):
    """Trend by a moving average, the rest beside it; instance-normalised both ways (RevIN)."""

    def __init__(self):
        super().__init__()
        self.trend, self.rest = nn.Linear(24, 6), nn.Linear(24, 6)
        self.average = nn.AvgPool1d(5, stride=1)

    def forward(self, x):
        mean = x.mean(1, keepdim=True).detach()
        scale = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5).detach()
        x = ((x - mean) / scale).permute(0, 2, 1)
        padded = torch.cat([x[..., :1].repeat(1, 1, 2), x, x[..., -1:].repeat(1, 1, 2)], -1)
        trend = self.average(padded)
        y = self.trend(trend) + self.rest(x - trend)
        return y.permute(0, 2, 1) * scale + mean


class TimesNet(nn.Module):
    """Folds a series by the strongest periods of its spectrum: the sizes depend on values."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        spectrum = torch.fft.rfft(x, dim=1).abs().mean((0, 2))
        spectrum[0] = 0
        period = x.shape[1] // int(spectrum.topk(1).indices[0])
        x = x[:, : x.shape[1] // period * period]
        folded = x.reshape(x.shape[0], -1, period, 3).permute(0, 3, 1, 2)
        return self.conv(folded).flatten(2)


ROWS = [
    ModelRow("LSTM tagger, bidirectional", Tagger, tokens(2, 7), tokens(3, 11)),
    ModelRow(
        "GRU with a given state",
        GivenState,
        lambda: (torch.randn(5, 1, 6), torch.randn(2, 1, 8)),
        lambda: (torch.randn(7, 3, 6), torch.randn(2, 3, 8)),
    ),
    ModelRow("recurrent cells in a loop", CellLoop, images(2, 5, 5), images(3, 4, 5)),
    ModelRow("nn.RNN with relu", Elman, images(1, 6, 4), images(2, 9, 4)),
    ModelRow(
        "packed sequences",
        Packed,
        lambda: (torch.randn(3, 9, 4), torch.tensor([9, 4, 6])),
        refused="packs sequences by their lengths",
    ),
    ModelRow("seq2seq with attention", Translator, tokens(2, 6), tokens(4, 8)),
    ModelRow("CRNN", CharCnnLstm, images(1, 1, 16, 24), images(2, 1, 16, 40)),
    ModelRow(
        "TCN",
        lambda: nn.Sequential(*(TemporalBlock(n, 6, 2**k) for k, n in enumerate((3, 6, 6)))),
        images(1, 3, 32),
        images(2, 3, 48),
    ),
    ModelRow("N-BEATS", NBeats, images(1, 24), images(5, 24)),
    ModelRow("DLinear with RevIN", DLinear, images(2, 24, 3), images(5, 24, 3)),
    ModelRow("TimesNet, periods by value", TimesNet, images(2, 24, 3), refused="data-dep"),
]
