"""The order in which items are read: a pure function of (seed, epoch, position), with no state.

Third stage of the flow: which item is at which position of an epoch, and which positions a
rank reads. All ranks see one global order; rank r of w takes positions r, r + w, r + 2w, ... as
torch's DistributedSampler does. The global order and the global batches are therefore the same for
any number of ranks. window.py reads the items.

Padding: in training every rank must take equally many steps. Up to w - 1 positions follow the last
item and wrap around the order. In evaluation nothing is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqmodel.errors import SamplerError
from seqmodel.rng import hash64, uniform

# First words of the streams of random bits, so that no two uses draw the same ones.
ORDER_STREAM = 1
KEY_STREAM = 2
WEIGHT_STREAM = 3
BLOCK_STREAM = 4

SMALL = 1 << 16
"""Up to this many items an epoch's order is a full sort of random words; above, a cipher."""

CHUNK = 8192
"""Samples among which items of like length are gathered."""
BLOCK = 256
"""Items of like length that stay together."""

_N_ROUNDS = 6


class Samples(NamedTuple):
    """Samples of an epoch, in order: position in the epoch, item, and key of random bits."""

    index: np.ndarray  # type: ignore[assignment]  # tuple.index is not needed
    item: np.ndarray
    key: np.ndarray


def keys_of(seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
    """Return the key of the random bits of each sample of an epoch, uint64 [n]."""
    return hash64(seed, KEY_STREAM, epoch, index)


def permutation_at(position: np.ndarray, n: int, *words: int) -> np.ndarray:
    """Map each `position` by a random permutation of [0, n), chosen by `words`; int64.

    Above `SMALL`, this needs no memory: a Feistel network over a grid of a x b >= n cells
    (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"), walked until it is in [0, n).
    """
    position = np.asarray(position, dtype=np.int64)
    if n <= SMALL:
        return np.argsort(hash64(*words, np.arange(n)), kind="stable")[position]
    a = np.uint64(int(np.ceil(np.sqrt(n))))
    b = np.uint64(-(-n // int(a)))
    keys = [int(hash64(*words, i)) for i in range(_N_ROUNDS)]
    out = _feistel(position.astype(np.uint64), a, b, keys)
    while (outside := np.flatnonzero(out >= n)).size:
        out[outside] = _feistel(out[outside], a, b, keys)
    return out.astype(np.int64)


def _feistel(x: np.ndarray, a: np.uint64, b: np.uint64, keys: list[int]) -> np.ndarray:
    left, right = np.divmod(x, b)
    for i, key in enumerate(keys):
        if i % 2 == 0:
            _add(left, right, key, a)
        else:
            _add(right, left, key, b)
    left *= b
    left += right
    return left


def _add(to: np.ndarray, other: np.ndarray, key: int, modulus: np.uint64) -> None:
    """Add to `to`, modulo `modulus`, a random number that depends on `other` and the key."""
    bits = other + np.uint64(key)
    # first half of MurmurHash3's finaliser: few passes, because they are the cost of the order
    bits *= np.uint64(0xFF51AFD7ED558CCD)
    bits ^= bits >> np.uint64(33)
    bits *= np.uint64(0xC4CEB9FE1A85EC53)
    bits >>= np.uint64(32)
    bits *= modulus
    bits >>= np.uint64(32)
    to += bits
    np.minimum(to, to - modulus, out=to)  # a negative result wraps to a larger number


class Sampler:
    """Sampler that assigns samples to the batches of an epoch, for one rank.

    Args:
        n: Number of items.
        batch_size: Number of items in a batch of this rank.
        seed: Random seed of the order and the keys.
        train: Shuffle, and pad to equal counts on every rank; otherwise in order, each item once.
        rank: Index of this rank.
        world_size: Number of ranks.
        weights: Draw n samples per epoch with replacement, in proportion to these, float [n].
        lengths: Group items of similar length, [n], so that batches need little padding.

    Raises:
        SamplerError: There are fewer items than ranks, or the weights are not positive.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        train: bool = True,
        rank: int = 0,
        world_size: int = 1,
        weights: np.ndarray | None = None,
        lengths: np.ndarray | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise SamplerError(f"rank {rank} is not one of the {world_size} ranks; the first is 0")
        if n < world_size:
            raise SamplerError(
                f"{world_size} ranks but {n} items: every rank needs at least one; "
                "use more data or fewer devices"
            )
        self.n, self.batch_size, self.seed, self.train = n, batch_size, seed, train
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        most = -(-n // world_size)
        self.n_samples = most if train else -(-(n - rank) // world_size)
        self.n_batches = min(-(-most // batch_size), self.n_samples)
        self._sums = None if weights is None or not train else _sums(weights)
        self._lengths = lengths if train else None
        self._kept: dict[str, tuple[tuple, np.ndarray]] = {}

    def __len__(self) -> int:
        """Number of batches in an epoch of this rank."""
        return self.n_batches

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next order; evaluation has only one order."""
        self.epoch = epoch if self.train else 0

    def bounds(self, batch: np.ndarray) -> np.ndarray:
        """Return the start of each batch in the samples of this rank, and the end of the last.

        In evaluation, a rank may have one item less than another. It still takes equally many
        batches: the last one is never empty, except with batch size 1, where it is left out.
        """
        left = self.n_samples - (self.n_batches - np.asarray(batch))
        return np.minimum(np.asarray(batch) * self.batch_size, left)

    def samples(self, start: int, end: int) -> Samples:
        """Return samples `start` to `end` of this rank in this epoch."""
        index = np.arange(start, end, dtype=np.int64) * self.world_size + self.rank
        # positions from n on are padding, which wraps around
        position = index if len(index) and index[-1] < self.n else index % self.n
        item = self._items(position) if self.train else position
        return Samples(index, item, keys_of(self.seed, self.epoch, index))

    def _items(self, position: np.ndarray) -> np.ndarray:
        if self._sums is not None:
            bits = hash64(self.seed, WEIGHT_STREAM, self.epoch, position)
            drawn = np.searchsorted(self._sums, uniform(bits) * self._sums[-1], side="right")
            return np.minimum(drawn, self.n - 1)
        if self._lengths is None:
            return self._shuffled(position)
        chunk = position // CHUNK
        item = np.empty(len(position), dtype=np.int64)
        for i in np.unique(chunk).tolist():
            here = chunk == i
            item[here] = self._bucketed(i, self._lengths)[position[here] - i * CHUNK]
        return item

    def _shuffled(self, position: np.ndarray) -> np.ndarray:
        words = (self.seed, ORDER_STREAM, self.epoch)
        if self.n > SMALL:
            return permutation_at(position, self.n, *words)
        return self._keep("order", lambda: permutation_at(np.arange(self.n), self.n, *words))[
            position
        ]

    def _bucketed(self, chunk: int, lengths: np.ndarray) -> np.ndarray:
        """Return items of a chunk of the order, sorted by length, with its blocks shuffled again.

        Chunks and blocks do not depend on the batch size or the number of ranks.
        """

        def make() -> np.ndarray:
            item = self._shuffled(np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, self.n)))
            item = item[np.argsort(lengths[item], kind="stable")]
            whole = len(item) // BLOCK
            order = permutation_at(
                np.arange(whole), max(whole, 1), self.seed, BLOCK_STREAM, self.epoch, chunk
            )
            blocks = item[: whole * BLOCK].reshape(whole, BLOCK)[order].reshape(-1)
            return np.concatenate((blocks, item[whole * BLOCK :]))

        return self._keep("chunk", make, chunk)

    def _keep(self, name: str, make: Callable[[], np.ndarray], *more: int) -> np.ndarray:
        """Return the last array made under `name` if it is for this epoch, else a new one."""
        words = (self.epoch, *more)
        kept = self._kept.get(name)
        if kept is None or kept[0] != words:
            kept = self._kept[name] = (words, make())
        return kept[1]


def _sums(weights: np.ndarray) -> np.ndarray:
    weights = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        where = f": item {wrong[0]} has {weights[wrong[0]]}" if len(wrong) else ", all are 0"
        raise SamplerError(f"weights of samples must be numbers >= 0{where}")
    return np.cumsum(weights)


def balanced_weights(classes: np.ndarray) -> np.ndarray:
    """Return weights that sample every class equally often, float64 [n]."""
    counts = np.bincount(classes)
    return 1 / counts[classes]
