"""The Python of docs/python.md runs as it is written, but for the length of the training."""

import re
from pathlib import Path

import seqmodel

ROOT = Path(__file__).parents[2]


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    (tmp_path / "data").symlink_to(ROOT / "data")
    text = (ROOT / "docs/python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
    short = "max_epochs=1, limit_train_batches=2, limit_test_batches=4, limit_val_batches=2"
    code = "".join(blocks).replace("max_epochs=1", f'{short}, progress="none", cache_dir="cache"')
    names: dict = {}
    exec(code, names)
    printed = capsys.readouterr().out
    assert f"{names['run'].metrics['test_auroc']}" in printed
    assert names["p"].shape == (1, 2)
    assert names["model"].targets.names == ("intergenic", "coding")
    assert list(names["model"].trained_on.contigs) == ["chr02", "chr03", "chr05"]
    assert Path("runs.csv").read_text().count("\n") == 2
    called = re.findall(r"seqmodel\.([a-z]\w+)\(|`seqmodel\.(\w+)`", text)
    assert {x or y for x, y in called} <= {*dir(seqmodel), "errors"}
