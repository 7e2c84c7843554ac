"""Any encoder of HuggingFace `transformers` in a local folder, behind our encoder interface.

The encoder receives bases as embeddings of its own tokens, so one-hot input works and an unknown
base follows the alphabet's rule. A tokeniser with several bases in a token (k-mers, BPE) runs on
the text, and all bases of a token receive its vector. Needs the extra `hf`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from seqmodel.errors import HparamError
from seqmodel.extras import optional
from seqmodel.model.encoder import Encoder

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams

UNUSED = ("pooler", "contact_head")
# ESM scales embeddings as if the usual proportion of masked tokens were missing
ESM_MASKED_PROP = 0.15 * 0.8


class HfEncoder(Encoder):
    """The last hidden state of each position: [N, L] -> [N, L, hidden_size]."""

    letters: Tensor
    before: Tensor
    after: Tensor
    table: Tensor

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        transformers = optional("transformers", "--encoder=hf", "hf", HparamError)
        folder = _folder(hparams.hf_path)
        options = {"trust_remote_code": hparams.hf_trust_remote_code, "local_files_only": True}
        with _told(folder):
            config = transformers.AutoConfig.from_pretrained(folder, **options)
            if hparams.hf_pretrained:
                model = transformers.AutoModel.from_pretrained(folder, config=config, **options)
            else:
                model = transformers.AutoModel.from_config(
                    config, trust_remote_code=hparams.hf_trust_remote_code
                )
            tokeniser = transformers.AutoTokenizer.from_pretrained(folder, **options)
        self.model = model
        self.model.float().train()
        for name in UNUSED:
            # heads without a gradient, which would make DDP fail
            if getattr(self.model, name, None) is not None:
                setattr(self.model, name, None)
        if self.checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.n_out = config.hidden_size
        self.scales_masked = bool(getattr(config, "token_dropout", False))
        self.alphabet = alphabet
        self.words = None if _is_by_letter(tokeniser, alphabet) else tokeniser
        self._bridge(tokeniser, alphabet)

    @property
    def n_blocks(self) -> int:
        """Number of layers in its configuration."""
        return self.model.config.num_hidden_layers

    def forward(
        self,
        x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"],
        pad: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N L C"]:
        """Return the hidden state of each position."""
        if self.words is not None:
            return self._by_words(self.words, x, pad)
        n, seq_len = x.shape[:2]
        length = (
            torch.full((n, 1), seq_len, device=x.device) if pad is None else (~pad).sum(1, True)
        )
        n_before, n_after = len(self.before), len(self.after)
        one_hot = x if x.is_floating_point() else self.table[x.int()]
        missing = 1.0 - one_hot.sum(-1, keepdim=True)
        words = self.model.get_input_embeddings().weight
        # a model that scales by the masked proportion also leaves out masked tokens
        of_mask = 0.0 if self.scales_masked else words[self.mask]
        embedded = one_hot @ words[self.letters] + missing * of_mask
        after = embedded.new_zeros(n, n_after, self.n_out)
        embedded = torch.cat([words[self.before].expand(n, -1, -1), embedded, after], 1)
        at = torch.arange(embedded.shape[1], device=x.device)[None, :]
        for i, token in enumerate(self.after):
            # at the end of the row, before its padding
            here = (at == n_before + length + i)[:, :, None]
            embedded = torch.where(here, words[token], embedded)
        known = at < n_before + length + n_after
        if self.scales_masked:
            embedded = embedded * _scale(missing, pad, known)
        hidden = self.model(inputs_embeds=embedded, attention_mask=known.long()).last_hidden_state
        return hidden[:, n_before : n_before + seq_len]

    def depth(self, name: str) -> int:
        """Return a parameter's depth: 0 for embeddings, 1..n_blocks, n_blocks + 1 for the rest."""
        layer = re.search(r"\.(?:layers?|h|blocks?)\.(\d+)\.", name)
        if layer:
            return int(layer[1]) + 1
        return 0 if "embed" in name else self.n_blocks + 1

    def _by_words(self, tokeniser: Any, x: Tensor, pad: Tensor | None) -> Tensor:
        if x.is_floating_point():
            raise ValueError(
                "one-hot input needs a tokeniser with one token for each base; the tokeniser in "
                "--hf_path has tokens of several bases"
            )
        texts = _texts(x, pad, self.alphabet)
        words = tokeniser(texts, return_tensors="pt", padding=True, return_offsets_mapping=True).to(
            x.device
        )
        offsets = words.pop("offset_mapping")
        words.pop("token_type_ids", None)
        hidden = self.model(**words).last_hidden_state
        at = torch.arange(x.shape[1], device=x.device)[None, :, None]
        covers = (offsets[:, None, :, 0] <= at) & (at < offsets[:, None, :, 1])
        return covers.to(hidden) @ hidden

    def _bridge(self, tokeniser: Any, alphabet: Alphabet) -> None:
        vocabulary = tokeniser.get_vocab()
        unknown = tokeniser.unk_token_id
        ids = [_token(vocabulary, letter, unknown) for letter in alphabet.letters]
        mask = tokeniser.mask_token_id if tokeniser.mask_token_id is not None else unknown
        before, after = _specials(tokeniser, alphabet.letters[0])
        for name, value in (("letters", ids), ("before", before), ("after", after)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.long), persistent=False)
        self.mask = mask
        table = torch.from_numpy(alphabet.one_hot_table())
        self.register_buffer("table", table, persistent=False)


def _scale(missing: Tensor, pad: Tensor | None, known: Tensor) -> Tensor:
    """Return ESM's factor [N, 1, 1] from the masked tokens [N, L, 1] among the known tokens."""
    if pad is not None:
        missing = missing.masked_fill(pad[:, :, None], 0.0)
    share = missing.sum((1, 2)) / known.sum(1)
    return ((1 - ESM_MASKED_PROP) / (1 - share))[:, None, None]


def _folder(path: str | None) -> str:
    if not path or not (Path(path) / "config.json").is_file():
        raise HparamError(
            f"--hf_path={path}: no config.json in this folder; give a folder of save_pretrained "
            "(nothing is downloaded)"
        )
    return path


@contextmanager
def _told(folder: str) -> Iterator[None]:
    """Translate an exception of transformers about a folder into a one-line error."""
    try:
        yield
    except (ValueError, OSError, ImportError, KeyError, UnpicklingError) as e:
        if "trust_remote_code" in str(e):
            raise HparamError(
                f"--hf_path={folder} contains its own Python code, which is not run; read it, and "
                "then set --hf_trust_remote_code=True"
            ) from e
        reason = " ".join(str(e).split())[:300] or type(e).__name__
        raise HparamError(f"--hf_path={folder}: transformers cannot load it: {reason}") from e


def _is_by_letter(tokeniser: Any, alphabet: Alphabet) -> bool:
    letters = {x.upper() for x in alphabet.letters}
    plain = (re.sub(r"^(##|Ġ|▁)", "", word).upper() for word in tokeniser.get_vocab())
    return not any(len(word) > 1 and set(word) <= letters for word in plain)


def _token(vocabulary: dict[str, int], letter: str, unknown: int | None) -> int:
    token = vocabulary.get(letter, vocabulary.get(letter.lower(), unknown))
    if token is None:
        raise HparamError(f"the tokeniser in --hf_path has no token for {letter!r}")
    return token


def _specials(tokeniser: Any, letter: str) -> tuple[list[int], list[int]]:
    """Return the special tokens before and after a sequence."""
    special = set(tokeniser.all_special_ids) - {tokeniser.unk_token_id}
    ids = tokeniser(letter)["input_ids"]
    middle = [i for i, token in enumerate(ids) if token not in special]
    return ids[: middle[0]], ids[middle[-1] + 1 :]


def _texts(x: Tensor, pad: Tensor | None, alphabet: Alphabet) -> list[str]:
    unknown = alphabet.ambiguous[:1] or alphabet.letters[0]
    rows = x.tolist()
    lengths = [x.shape[1]] * len(rows) if pad is None else (~pad).sum(1).tolist()
    names = [*alphabet.letters, unknown, "", unknown]  # mask, pad, none
    return ["".join(names[i] for i in row[:n]) for row, n in zip(rows, lengths, strict=True)]
