"""Small networks that seqmodel did not train, written in torch alone, by layout of the input."""

import torch
from torch import nn

L = 40


class Net(nn.Module):
    """One-hot [N, A, L] -> [N, 2]."""

    def __init__(self, n_letters=4):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv1d(n_letters, 6, 5, padding=2), nn.ReLU())
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.norm(self.trunk(x)).amax(-1))


class Net5(Net):
    """The same with a channel for N."""

    def __init__(self):
        super().__init__(5)


class Rows(Net):
    """One-hot [N, L, A] -> [N, 2]."""

    def forward(self, x):
        return super().forward(x.mT)


class Ids(nn.Module):
    """Ids [N, L] of eight numbers -> [N, 2]."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(8, 4)
        self.net = Net()

    def forward(self, x):
        return self.net(self.embed(x).mT)


class Profile(nn.Module):
    """One-hot [N, A, L] -> [N, (L - 8) / 4, 2]: four letters a bin, without four at each end."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 2, 9)
        self.pool = nn.AvgPool1d(4)

    def forward(self, x):
        return self.pool(self.conv(x)).mT


class ProfileOfRows(Profile):
    """One-hot [N, L, A] -> the same."""

    def forward(self, x):
        return super().forward(x.mT)


class LettersOut(nn.Module):
    """One-hot [N, A, L] -> a logit of each letter, [N, L, A]."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 5, padding=2)

    def forward(self, x):
        return self.conv(x).mT


def made(cls):
    """A network with weights and running means that are not those of the initialisation."""
    torch.manual_seed(3)
    net = cls()
    for x in (*net.parameters(), *net.buffers()):
        if x.is_floating_point():
            x.data = torch.rand_like(x) - (0.0 if "Norm" in type(net).__name__ else 0.3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_var = torch.rand(6) + 0.5
    return net.eval()
