"""What a file alone says of a run on it, against readings that were written down by hand."""

import gzip
import random
import shlex
from collections import Counter

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqmodel.dataset.guess.beds import choose_contigs
from seqmodel.errors import SeqmodelError
from seqmodel.hparam.resolve import resolve

MODEL = ("encoder", "n_layers", "pool", "max_epochs", "patience")
PROPS = {"valid_prop": 0.2, "test_prop": 0.2}


def sequences(n, letters="ACGT", length=12, seed=0):
    chosen = random.Random(seed)
    return ["".join(chosen.choices(letters, k=length)) for _ in range(n)]


SEQS = sequences(12)
AAS = sequences(12, "ACDEFGHIKLMNPQRSTVWY")
YES_NO = ["yes", "no", "no"] * 4
REAL = [f"{0.25 * i - 1:.2f}" for i in range(12)]


def table(head, *columns, separator=","):
    rows = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([*([head] if head else []), *rows]) + "\n"


def reading(task="classify", **more):
    kinds = {"classify": "class", "regress": "real", "multilabel": "multilabel"}
    names = {"class_names": ["no", "yes"]} if task == "classify" else {}
    own = {"task": task, "dataset": "table", "sequence_column": "sequence", "alphabet": "dna"}
    own |= {"label_columns": ["label"], "label_kind": kinds[task], **names, **PROPS}
    return {n: v for n, v in (own | more).items() if v is not None}


def split(*words):
    return (list(words) * 12)[:12]


def fasta(headers):
    records = zip(headers, SEQS, strict=True)
    return "".join(f">{header}\n{x[:6]}\n{x[6:]}\n" for header, x in records)


PARTS = split("train", "test", "valid")
ONE = table("sequence,label", SEQS, YES_NO)
READINGS = {
    "plain": (ONE, reading()),
    "tabs": (ONE.replace(",", "\t"), reading()),
    "semicolons": (ONE.replace(",", ";"), reading()),
    "CRLF": (ONE.replace("\n", "\r\n"), reading()),
    "a byte order mark": ("\ufeff" + ONE, reading()),
    "no end of the last line": (ONE.rstrip("\n"), reading()),
    "blank lines": (ONE.replace("\n", "\n\n"), reading()),
    "blanks around": (ONE.replace(",", " , "), reading()),
    "quoted": (
        table('"sequence","label"', [f'"{x}"' for x in SEQS], [f'"{x}, {x}"' for x in YES_NO]),
        reading(class_names=["no, no", "yes, yes"]),
    ),
    "lower case": (ONE.replace(SEQS[0], SEQS[0].lower()), reading()),
    "upper case names": (
        ONE.replace("sequence,label", "Sequence,LABEL"),
        reading(sequence_column="Sequence", label_columns=["LABEL"]),
    ),
    "unknown bases": (ONE.replace(SEQS[0], "NNNN" + SEQS[0][4:]), reading()),
    "IUPAC codes": (ONE.replace(SEQS[0], "R" + SEQS[0][1:]), reading()),
    "RNA": (table("sequence,label", sequences(12, "ACGU"), YES_NO), reading(alphabet="rna")),
    "proteins": (table("sequence,label", AAS, YES_NO), reading(alphabet="protein")),
    "a peptide of A, C, G and T by its name": (
        table("peptide,label", SEQS, YES_NO),
        reading(sequence_column="peptide", alphabet="protein"),
    ),
    "DNA by its name": (table("dna,y", SEQS, YES_NO), reading(
        sequence_column="dna", label_columns=["y"]
    )),
    "other names": (
        table("probe,bound", SEQS, YES_NO),
        reading(sequence_column="probe", label_columns=["bound"]),
    ),
    "no line of names": (
        table("", SEQS, YES_NO),
        reading(sequence_column="1", label_columns=["2"]),
    ),
    "no line of names, the class first, then a name": (
        table("", YES_NO, [f"HUMAN-{i}" for i in range(12)], [f"   {x}" for x in SEQS]),
        reading(sequence_column="3", label_columns=["1"]),
    ),
    "an index without a name": (
        table(",sequence,label", range(12), SEQS, YES_NO),
        reading(),
    ),
    "ids that look like sequences": (
        table("id,sequence,label", sequences(12, length=9, seed=1), SEQS, YES_NO),
        reading(),
    ),
    "ids of letters and no names that say sequence": (
        table("gene,insert,label", sequences(12, "MYCTP", 9, 1), SEQS, YES_NO),
        reading(sequence_column="insert"),
    ),
    "0 and 1": (
        table("sequence,label", SEQS, split(0, 1)),
        reading(class_names=None),
    ),
    "three numbered classes": (
        table("sequence,label", SEQS, split(2, 0, 1)),
        reading(class_names=None),
    ),
    "-1 and 1": (
        table("sequence,y", SEQS, split(1, -1)),
        reading(label_columns=["y"], class_names=["-1", "1"]),
    ),
    "numbers of classes from 1 on": (
        table("sequence,label", SEQS, split(3, 1, 2)),
        reading(class_names=["1", "2", "3"]),
    ),
    "ten numbers in a column that is named class": (
        table("sequence,class", sequences(40), [*range(10)] * 4),
        reading(label_columns=["class"], class_names=None),
    ),
    "True and False": (
        table("sequence,label", SEQS, split("True", "False")),
        reading(class_names=["False", "True"]),
    ),
    "the negative class comes first": (
        table("sequence,label", SEQS, split("enhancer", "non-enhancer")),
        reading(class_names=["non-enhancer", "enhancer"]),
    ),
    "classes in the order of the alphabet": (
        table("sequence,label", SEQS, split("N", "EI", "IE")),
        reading(class_names=["EI", "IE", "N"]),
    ),
    "numbers": (
        table("sequence,target", SEQS, REAL),
        reading("regress", label_columns=["target"]),
    ),
    "numbers, some missing": (
        table("sequence,target", SEQS, ["", "NA", *REAL[2:]]),
        reading("regress", label_columns=["target"]),
    ),
    "counts": (
        table("sequence,count", SEQS, [i * i for i in range(12)]),
        reading("regress", label_columns=["count"]),
    ),
    "0 and 1, some missing": (
        table("sequence,label", SEQS, split(0, 1, "")),
        reading("multilabel"),
    ),
    "several labels": (
        table("sequence,label_a,label_b", SEQS, split(0, 1), split(0, 0, 1)),
        reading("multilabel", label_columns=["label_a", "label_b"]),
    ),
    "several columns of 0 and 1": (
        table("sequence,ctcf,pu1", SEQS, split(0, 1), split(0, 0, 1)),
        reading("multilabel", label_columns=["ctcf", "pu1"]),
    ),
    "several numbers": (
        table("sequence,y1,y2", SEQS, REAL, REAL[::-1]),
        reading("regress", label_columns=["y1", "y2"]),
    ),
    "a split": (
        table("sequence,label,split", SEQS, YES_NO, split("train", "dev", "test")),
        reading(split_column="split", valid_prop=None, test_prop=None),
    ),
    "a split without valid": (
        table("sequence,target,set", SEQS, REAL, split("train", "test")),
        reading("regress", label_columns=["target"], split_column="set", test_prop=None),
    ),
    "a split with flags of valid rows": (
        table("sequence,target,set,validation", SEQS, REAL, split("train", "test"),
              ["True" if i % 6 == 0 else "" for i in range(len(SEQS))]),
        reading("regress", label_columns=["target"], split_column="set",
                valid_column="validation", valid_prop=None, test_prop=None),
    ),
    "a column that is named split and is none": (
        table("sequence,label,split", SEQS, YES_NO, split(*range(5))),
        reading(),
    ),
    "a split of another name": (
        table("sequence,label,part", SEQS, YES_NO, split("Train", "Validation", "Test")),
        reading(split_column="part", valid_prop=None, test_prop=None),
    ),
    "many rows": (
        table("sequence,label", sequences(1200), ["yes", "no"] * 600),
        reading(valid_prop=0.1, test_prop=0.1),
    ),
    "classes that come late": (
        table("sequence,label", sequences(3000), ["a"] * 1500 + ["b"] * 1499 + ["c"]),
        reading(class_names=["a", "b", "c"], valid_prop=0.1, test_prop=0.1),
    ),
    "FASTA, a word": (
        fasta([f"r{i} {y}" for i, y in enumerate(YES_NO)]),
        reading(label_columns=["field2"]),
    ),
    "FASTA, bars, a split": (
        fasta([f"r|{y}|{p}" for y, p in zip(YES_NO, PARTS, strict=True)]),
        reading(
            label_columns=["field2"], split_column="field3", valid_prop=None, test_prop=None
        ),
    ),
    "FASTA, keys": (
        fasta([f"r TARGET={y} SET=train" for y in REAL]),
        reading("regress", label_columns=["target"], split_column="set"),
    ),
}  # fmt: skip


def guessed(path, *more):
    run = resolve([f"--table={path}", *more])
    return {n: v for n, v in run.guessed.values.items() if n not in MODEL}


@pytest.mark.parametrize("name", READINGS)
def test_readings(tmp_path, name):
    text, expected = READINGS[name]
    path = tmp_path / "data.txt"
    path.write_bytes(text.encode())
    assert guessed(path) == {**expected, "train_files": [str(path)]}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("set", {"split_column": "set", "test_prop": None}),
        ("other", {"split_column": None, "test_prop": 0.2}),
    ],
)
def test_a_given_column_of_flags_takes_the_place_of_valid_prop(tmp_path, columns, expected):
    path = tmp_path / "data.csv"
    rows = split("train", "test") if columns == "set" else range(12)
    path.write_text(table(f"sequence,label,{columns},held", SEQS, YES_NO, rows, [1, 0, 0] * 4))
    values = vars(resolve([f"--table={path}", "--valid_column=held"]).values)
    wanted = {"valid_column": "held", "valid_prop": None, **expected}
    assert {name: values[name] or None for name in wanted} == wanted


REFUSED = {
    "empty": ("", "has no row"),
    "names alone": ("sequence,label\n", "has no row"),
    "no sequences": (table("a,label", REAL, YES_NO), "no column of sequences; it has 'a', 'label'"),
    "gaps": (
        table("sequence,label", [x[:4] + "-" + x[4:] for x in SEQS], YES_NO),
        r"column 'sequence' has the characters .*-.*in no known alphabet",
    ),
    "no labels": (table("id,sequence", range(12), SEQS), "no column has labels"),
    "one class": (table("sequence,label", SEQS, ["a"] * 12), "'label' has only 'a'"),
    "text that is no class": (
        table("sequence,label", sequences(1100), [f"t{i}" for i in range(1100)]),
        "over 1,000 different texts",
    ),
    "T and U": (
        table("sequence,label", ["ACGTU" * 4] * 12, YES_NO),
        "in no known alphabet",
    ),
    "a genome": (">chr1\n" + "ACGT" * 300_000, "so it is a genome, without labels; to pre-train"),
    "FASTA without labels": (">a\nACGT\n>b\nACGA\n", "the headers have no labels such as"),
    "FASTA with other fields": (">a x\nACGT\n>b x y\nACGA\n", "line 3: the header has the field"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    text, message = REFUSED[name]
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(SeqmodelError, match=message):
        resolve([f"--table={path}"])


QUESTIONS = {
    "two sequences": (
        table("dna,rna_seq,label", SEQS, sequences(12, "ACGU"), YES_NO),
        ["--sequence_column=dna", "--sequence_column=rna_seq"],
    ),
    "two sequences without names": (
        table("left,right,label", SEQS, sequences(12, seed=1), YES_NO),
        ["--sequence_column=left", "--sequence_column=right"],
    ),
    "class and label": (
        table("sequence,class,label", SEQS, YES_NO, REAL),
        ["--label_columns=class", "--label_columns=label"],
    ),
    "two columns that may be labels": (
        table("sequence,gc,activity", SEQS, REAL, REAL[::-1]),
        ["--label_columns=gc", "--label_columns=activity"],
    ),
    "classes or quantities": (
        table("sequence,label", sequences(40), [*range(10)] * 4),
        ["--task=classify --label_kind=class", "--task=regress --label_kind=real"],
    ),
    "two alphabets": (
        table("sequence,label", ["ACGTAKRM" * 2] * 12, YES_NO),
        ["--alphabet=dna", "--alphabet=protein"],
    ),
    "two splits": (
        table("sequence,label,set,split", SEQS, YES_NO, *[split("train", "test")] * 2),
        ["--split_column=set", "--split_column=split"],
    ),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_readings_are_shown_and_either_will_do(tmp_path, name):
    text, flags = QUESTIONS[name]
    path = tmp_path / "my data.csv"
    path.write_text(text)
    with pytest.raises(SeqmodelError) as found:
        resolve([f"--table={path}", "--lr=0.01"])
    _, *lines = str(found.value).splitlines()
    for line, flag in zip(lines, flags, strict=True):
        assert flag in line
        program, verb, file, *words = shlex.split(line, comments=True)
        assert (program, verb, file) == ("seqmodel", "train", str(path))
        assert resolve([f"--table={file}", *words]).values.lr == 0.01


TEXTS = st.sampled_from([text for text, _ in READINGS.values()])
GIVEN = st.lists(
    st.sampled_from(
        [
            "--valid_prop=0.3",
            "--encoder=dilated_conv",
            "--max_epochs=2",
            "--split_by=homology",
            "--seed=3",
            "--batch_size=8",
        ]
    ),
    unique=True,
)


@settings(max_examples=25, deadline=None)
@example(text=READINGS["FASTA, bars, a split"][0], more=["--valid_prop=0.3"])
@given(text=TEXTS, more=GIVEN)
def test_what_was_guessed_is_the_same_run_and_guesses_nothing_more(tmp_path_factory, text, more):
    path = tmp_path_factory.mktemp("guess") / "a b$c.csv"
    path.write_text(text)
    run = resolve([f"--table={path}", *more])
    words = shlex.split(str(run.guessed).split("the whole command:\n")[1].replace("\\\n", ""))
    assert words[:2] == ["seqmodel", "run"]
    assert all(word in words for word in more)
    again = resolve(words[2:])
    assert vars(again.values) == vars(run.values)
    assert again.canonical() == run.canonical()
    assert again.to_args() == run.to_args()
    assert again.guessed is None
    once_more = resolve([f"--table={path}", *words[2:]])
    assert once_more.guessed.values == {}
    assert vars(once_more.values) == vars(run.values)


def test_parquet_and_gzip_are_read_as_the_same(tmp_path):
    columns = {"sequence": SEQS, "label": [int(x == "yes") for x in YES_NO]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(table("sequence,label", *columns.values()).encode()))
    for path in (tmp_path / "a.parquet", packed):
        assert guessed(path) == {**reading(class_names=None), "train_files": [str(path)]}


@pytest.mark.parametrize("dev", ["dev", "valid", "val", "validation"])
def test_a_folder_with_a_file_for_each_split(tmp_path, dev):
    for name, ys in (("train", YES_NO), (dev, split("no")), ("test", split("no", "maybe"))):
        (tmp_path / f"{name}.csv").write_text(table("sequence,label", SEQS, ys))
    files = {f"{s}_files": [str(tmp_path / f"{n}.csv")] for s, n in
             (("train", "train"), ("valid", dev), ("test", "test"))}  # fmt: skip
    names = ["maybe", "no", "yes"]
    assert guessed(tmp_path) == {
        **reading(valid_prop=None, test_prop=None, class_names=names), **files
    }  # fmt: skip
    (tmp_path / f"{dev}.csv").unlink()
    found = guessed(tmp_path)
    assert (found["valid_prop"], "test_prop" in found) == (0.2, False)
    (tmp_path / "test.tsv").write_text("")
    with pytest.raises(SeqmodelError, match=r"test\.csv and test\.tsv are both for the test"):
        guessed(tmp_path)


def test_what_is_given_is_not_guessed_over(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(table("sequence,label,other", SEQS, split(0, 1, 2), YES_NO))
    assert guessed(path, "--label_columns=other")["class_names"] == ["no", "yes"]
    assert guessed(path, "--task=regress")["label_kind"] == "real"
    assert "class_names" not in guessed(path, "--class_names", "0", "1", "2")
    assert guessed(path, "--valid_prop=0.3") == {
        **reading(class_names=None, valid_prop=None, test_prop=None), "train_files": [str(path)]
    }  # fmt: skip
    (tmp_path / "c.toml").write_text('task = "regress"\nmax_epochs = 2\n')
    run = resolve([f"--table={path}", f"--config={tmp_path / 'c.toml'}"])
    assert (run.values.task, run.values.max_epochs) == ("regress", 2)
    assert f"--config={tmp_path / 'c.toml'}" in run.guessed.words


CONTIGS = [f"chr{i}" for i in range(1, 11)]


def bed(*columns, lengths=(60,), head=""):
    """Two intervals on each of ten contigs, and further columns."""
    rows = []
    for i in range(20):
        start, length = 100 * (i % 2), lengths[i % len(lengths)]
        cells = [CONTIGS[i // 2], start, start + length, *(c[i] for c in columns)]
        rows.append("\t".join(map(str, cells)))
    return "\n".join([*([head] if head else []), *rows]) + "\n"


NAMES = [f"peak{i}" for i in range(20)]
FACTORS = ["Reb1", "Abf1"] * 10
BITS = [[0, 1] * 10, [0, 0, 1, 1] * 5]
FOUR = {"label_columns": ["4"], "label_kind": "class", "class_names": ["Abf1", "Reb1"]}
CLASSES = {"task": "classify", **FOUR}
BED_READINGS = {
    "a class in column 4": (bed(FACTORS), CLASSES),
    "a name, a score, a strand, then a class": (
        bed(NAMES, [0] * 20, ["+", "-"] * 10, FACTORS),
        CLASSES | {"label_columns": ["7"], "rc_prob": None},
    ),
    "a header line": (
        bed(NAMES, FACTORS, head="#chrom\tstart\tend\tname\tclass"),
        CLASSES | {"label_columns": ["class"]},
    ),
    "0 and 1": (bed(BITS[0]), {"task": "classify", **FOUR, "class_names": None}),
    "several labels of 0 and 1, one in the column of the strand": (
        bed(*BITS, BITS[0]),
        {
            "task": "multilabel",
            "label_kind": "multilabel",
            "label_columns": ["4", "5", "6"],
            "strand_column": "none",
        },
    ),
    "one base each": (bed(FACTORS, lengths=(1,)), CLASSES | {"seq_len": 200}),
    "several lengths": (bed(FACTORS, lengths=(310, 420, 30)), CLASSES | {"seq_len": 400}),
    "a split": (
        bed(FACTORS, ["train", "test"] * 10, head="#chrom\tstart\tend\tlabel\tset"),
        CLASSES
        | {"label_columns": ["label"], "split_column": "set", "valid_prop": 0.2}
        | {"valid_contigs": None, "test_contigs": None},
    ),
}


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text("".join(f">{x}\n{'ACGT' * 300}\n" for x in CONTIGS))
    return path


@pytest.mark.parametrize("name", BED_READINGS)
def test_readings_of_intervals(tmp_path, genome, name):
    text, expected = BED_READINGS[name]
    path = tmp_path / "x.bed"
    path.write_text(text)
    # a tenth of the intervals each, of the first contigs in the order of their numbers of intervals
    own = {"dataset": "bed", "intervals": [str(path)]}
    own |= {"rc_prob": 0.5}  # no file but one has strands
    own |= {"test_contigs": ["chr1"], "valid_contigs": ["chr10"]}
    assert guessed(path, f"--fasta={genome}") == {
        n: v for n, v in (own | expected).items() if v is not None
    }  # fmt: skip


def test_intervals_without_labels_or_sequences_are_asked_about(tmp_path, genome):
    path = tmp_path / "x.bed"
    path.write_text(bed())
    with pytest.raises(SeqmodelError, match=r"add --fasta=genome\.fa"):
        guessed(path)
    with pytest.raises(SeqmodelError, match="--negatives_per_positive=1") as found:
        guessed(path, f"--fasta={genome}")
    words = shlex.split(str(found.value).splitlines()[1], comments=True)[3:]
    assert guessed(path, *words)["task"] == "classify"
    path.write_text(bed(NAMES, range(20)))
    with pytest.raises(SeqmodelError, match="--label_columns=5 --task=regress"):
        guessed(path, f"--fasta={genome}")


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 50), min_size=3, max_size=30))
def test_contigs_of_a_split_have_about_a_tenth(counts):
    found = choose_contigs(Counter(counts))
    taken, n = sum(counts[x] for x in found), sum(counts.values())
    nearest = min(abs(x - 0.1 * n) for x in counts.values())
    assert 0 < len(set(found)) == len(found) < len(counts)
    assert 0.5 * 0.1 * n <= taken <= 1.25 * 0.1 * n or abs(taken - 0.1 * n) == nearest


def test_a_model_of_a_checkpoint_is_not_guessed_over(tmp_path, monkeypatch):
    header = {
        "task": "classify",
        "class_names": ["no", "yes"],
        "encoder": "hyena",
        "alphabet": "dna",
    }
    monkeypatch.setattr(
        "seqmodel.hparam.resolve.read_header", lambda path: {"hparams": header, "version": "0"}
    )
    path = tmp_path / "a.csv"
    path.write_text(table("seq,label", SEQS, split("no")))
    (tmp_path / "best.ckpt").write_text("")
    run = resolve(
        [f"--table={path}", f"--load_checkpoint_path={tmp_path / 'best.ckpt'}"],
        header_of=lambda path: {"hparams": header, "plugins": {}},
    )
    assert {"task", "class_names", "encoder", "alphabet"}.isdisjoint(run.guessed.values)
    assert (run.values.encoder, run.values.sequence_column) == ("hyena", "seq")
    with pytest.raises(SeqmodelError, match="a run resumes on its own data"):
        resolve(
            [f"--table={path}", f"--resume_from_checkpoint={tmp_path / 'best.ckpt'}"],
            header_of=lambda path: {"hparams": header, "plugins": {}},
        )


def test_a_large_file_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("seqmodel.dataset.guess.columns.MOST_CELLS", 2000)
    path = tmp_path / "a.csv"
    path.write_text(table("sequence,label", sequences(3000), [0, 1, 2] * 1000))
    run = resolve([f"--table={path}"])
    assert dict(run.guessed.notes)["rows"] == f"1,000 and more in {path}"
