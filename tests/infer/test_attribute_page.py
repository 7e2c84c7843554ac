"""docs/attribute.md names what exists: options, methods, files."""

import re
from pathlib import Path

from seqmodel.hparam.attribute import BASELINES, METHODS, AttributeHparams, MotifsHparams
from seqmodel.infer.attribute_files import Outs
from seqmodel.infer.formats import FORMATS

PAGE = (Path(__file__).parents[2] / "docs/attribute.md").read_text()


def test_what_the_page_names_exists():
    declared = {*AttributeHparams.default_hparams().declared}
    declared |= {*MotifsHparams.default_hparams().declared}
    others = {"attention_window"}  # of the training
    assert set(re.findall(r"--(\w+)", PAGE)) <= declared | others
    rows = re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)
    assert rows == list(METHODS)
    assert all(f"`{x}`" in PAGE or f"={x}`" in PAGE for x in BASELINES)
    outs = Outs("explained", ("coding",), bigwig=True, effects=True).all()
    assert all(f"`{x}`" in PAGE for x in outs)
    assert all(any(x.endswith(suffix) for suffix in FORMATS) for x in outs)
    assert "explained.coding.hypothetical.npz" in Outs("explained", ("coding", "other")).all()
