"""Hard cases of the verbs: full disks, two processes, headers that lack something, memory."""

import json
import resource
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pysam
import pytest
import torch
from variant_cases import GENOME, HEAD, letter, other, snvs, write_fasta, write_vcf

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.dataset.seq.alphabet import alphabet_from_name
from seqmodel.infer import attribute_files
from seqmodel.infer.attribute_files import Outs, plot

pytestmark = pytest.mark.slow

TEXTS = [GENOME["chr1"][i : i + 64] for i in range(0, 800, 20)]


def argv(*words):
    return [sys.executable, "-m", "seqmodel", *map(str, words), "--accelerator=cpu"]


def on_a_full_disk(words, n_bytes):
    """A limit on the size of files stands for the disk: the system call fails in the same way."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return subprocess.run(argv(*words), capture_output=True, text=True, preexec_fn=limit)


def table_of(path, texts):
    path.write_text("\n".join(["sequence", *texts]) + "\n")
    return path


@pytest.fixture
def words(trained, tmp_path):
    """A command of each verb, without its outputs; and what to call these."""
    vcf = write_vcf(tmp_path / "in.vcf", snvs(60))
    long = "".join(np.random.default_rng(0).choice(list("ABCDEFGHIJKLMNOP"), 60_000))
    lines = vcf.read_text().splitlines(keepends=True)
    lines[-30] = lines[-30].replace("DP=3", f"DP=3;X={long}")  # in a part in the middle
    lines[0] += '##INFO=<ID=X,Number=1,Type=String,Description="x">\n'
    vcf.write_text("".join(lines))
    fasta = write_fasta(tmp_path / "g.fa")
    model = f"--checkpoints={trained.best('multilabel')}"
    table = table_of(tmp_path / "t.csv", TEXTS)
    return {
        "variants": ["variants", model, f"--fasta={fasta}", f"--variants={vcf}", "--chunk_rows=10"],
        "attribute": ["attribute", model, f"--table={table}", "--chunk_rows=5", "--target=one",
                      "--method=gradient", "--effects=False"],
    }  # fmt: skip


def outs_of(verb, tmp_path, name):
    if verb == "attribute":
        return [f"--out={tmp_path / name}"]
    return ["--out", *(tmp_path / f"{name}.{x}" for x in ("tsv", "vcf.gz"))]


def files_of(tmp_path, name):
    """The outputs and their bytes, by what follows the name."""
    found = {x.name.removeprefix(name): x for x in tmp_path.glob(f"{name}.*")}
    return {k: x.read_bytes() for k, x in found.items() if x.is_file()}


@pytest.mark.parametrize("verb", ["variants", "attribute"])
def test_a_disk_that_is_full_in_the_middle_is_one_line_and_the_command_goes_on(
    words, verb, tmp_path
):
    named = [*words[verb], "--n_threads=1"]
    done = on_a_full_disk([*named, *outs_of(verb, tmp_path, "full")], 20_000)
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("RunError: cannot write")
    assert "run the same command again" in line or "File too large" in line
    assert "Traceback" not in done.stderr
    assert not files_of(tmp_path, "full")  # no output is there in part
    for name in ("full", "whole"):
        subprocess.run(argv(*named, *outs_of(verb, tmp_path, name)), check=True)
    found, wanted = files_of(tmp_path, "full"), files_of(tmp_path, "whole")
    assert len(wanted) >= 2
    assert found == wanted


def test_two_processes_score_variants_into_one_file(words, tmp_path):
    named = [*words["variants"], "--n_threads=1"]
    run = argv(*named, *outs_of("variants", tmp_path, "two"))
    children = [subprocess.Popen(run, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [x.wait() for x in children] == [0, 0]
    subprocess.run(argv(*named, *outs_of("variants", tmp_path, "one")), check=True)
    assert files_of(tmp_path, "two") == files_of(tmp_path, "one")


def test_a_folder_that_was_exported_is_known_by_its_config_too(trained, tmp_path, capsys):
    seqmodel.export(seqmodel.load(trained.best("classify")), tmp_path / "net")
    table = table_of(tmp_path / "t.csv", TEXTS)
    weights = tmp_path / "net/model.safetensors"
    command = ["predict", f"--checkpoints={weights}", f"--table={table}", "--accelerator=cpu",
               f"--out={tmp_path / 'o.tsv'}"]  # fmt: skip
    assert main(command) == 0
    assert main(command) == 0  # done already
    config = tmp_path / "net/config.json"
    content = json.loads(config.read_text())
    content["targets"]["names"] = content["targets"]["names"][::-1]
    config.write_text(json.dumps(content))
    capsys.readouterr()
    assert main(command) == 2
    assert "config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("head", "contigs", "message"),
    [
        (HEAD, False, "chr1"),
        ("##fileformat=VCFv4.2\n", True, "DP"),
    ],
)
def test_bcf_of_a_header_without_definitions_is_refused_before_the_work(
    trained, tmp_path, capsys, monkeypatch, head, contigs, message
):
    fasta = write_fasta(tmp_path / "g.fa")
    base = letter("chr1", 200)
    vcf = write_vcf(tmp_path / "in.vcf", [("chr1", 200, base, other(base))], head, contigs)

    def scored(*args):
        raise AssertionError("it scores")

    monkeypatch.setattr("seqmodel.infer.effects.Effects.__call__", scored)
    named = [f"--checkpoints={trained.best('multilabel')}", f"--fasta={fasta}"]
    named += [f"--variants={vcf}", f"--out={tmp_path / 'o.bcf'}", "--accelerator=cpu"]
    code = main(["variants", *named])
    line = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert "BCF needs a header that defines all contigs" in line
    assert message in line


def test_bcf_with_all_definitions_is_written(words, tmp_path):
    assert main([*words["variants"], f"--out={tmp_path / 'o.bcf'}", "--accelerator=cpu"]) == 0
    with pysam.VariantFile(str(tmp_path / "o.bcf")) as file:
        assert sum(1 for _ in file) == 60


def test_logos_of_a_few_sequences_do_not_read_the_others(tmp_path):
    outs = Outs(str(tmp_path / "o"), ["one"])
    n, length = 20_000, 200
    array = np.zeros((n, 4, length), dtype=np.float32)
    array[:, 1] = 1.0
    for path in (outs.path(".ohe.npz"), outs.of("one", ".hypothetical.npz")):
        np.savez(path, arr_0=array)
    line = f"t\t0\t{length}\tt\t0\t+\t1.0\n"
    (tmp_path / "o.bed").write_text(line * n)
    tracemalloc.start()
    try:
        plot(outs, alphabet_from_name("dna"), 2, "ism")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes / 4
    assert len(list(tmp_path.glob("o.*.svg"))) == 2
    first = attribute_files._first(outs.path(".ohe.npz"), 3)
    np.testing.assert_array_equal(first, array[:3])


@pytest.mark.parametrize("method", ["ism", "gradient", "integrated_gradients"])
def test_attribute_halves_a_batch_that_does_not_fit(trained, method):
    def found(size, forward=None):
        model = seqmodel.load(trained.best("regress"), device="cpu")
        if forward is not None:
            before = model.network.of_each
            monkey = lambda x, outputs: forward(before, x, outputs)  # noqa: E731
            model.network.of_each = monkey
        how = {"method": method, "target": "value", "batch_size": size}
        return model.attribute(TEXTS[:7], **how).hypothetical

    sizes = []

    def small(before, x, outputs):
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return before(x, outputs)

    wanted = found(8)
    with pytest.warns(UserWarning, match="does not fit into memory"):
        halved = found(8, small)
    assert max(sizes) > 3
    np.testing.assert_allclose(halved, wanted, rtol=1e-3, atol=1e-5)
