"""All formats of input files: their names, readers and options. Light."""

from typing import NamedTuple


class Format(NamedTuple):
    """A format of input files.

    Attributes:
        name: Name of the format for users.
        endings: File name endings. Empty if the content alone decides.
        reader: `module:function` or `module:Class` that opens such a file.
        given_by: Hyperparameters and arguments that take such a file.
    """

    name: str
    endings: tuple[str, ...]
    reader: str
    given_by: tuple[str, ...]


_SPLIT_FILES = ("train_files", "valid_files", "test_files")
_INTERVALS = ("intervals", "blacklist", "peaks", *_SPLIT_FILES)
_INTERVAL_FILE = "seqmodel.dataset.interval.file:read_intervals"
_GFF = "seqmodel.dataset.interval.gff:read_gff"
_ROWS = "seqmodel.dataset.label.table:read_rows"
_ARRAYS = "seqmodel.dataset.array_data:ArrayData"

FORMATS = (
    Format("FASTA", (".fa", ".fa.gz"), "seqmodel.dataset.seq.fasta:FastaReader", ("fasta",)),
    Format(
        "FASTA with labels",
        (".fa", ".fa.gz"),
        "seqmodel.dataset.label.fasta_rows:fasta_rows",
        _SPLIT_FILES,
    ),
    Format("2bit", (".2bit",), "seqmodel.dataset.seq.twobit:TwoBitReader", ("fasta",)),
    Format("BED", (".bed", ".bed.gz"), "seqmodel.dataset.interval.bed:read_bed", _INTERVALS),
    Format("narrowPeak", (".narrowPeak", ".narrowPeak.gz"), _INTERVAL_FILE, _INTERVALS),
    Format("GFF3", (".gff3", ".gff3.gz"), _GFF, _INTERVALS),
    Format("GTF", (".gtf", ".gtf.gz"), _GFF, _INTERVALS),
    Format(
        "contig aliases",
        (".txt", ".txt.gz"),
        "seqmodel.dataset.interval.file:read_aliases",
        ("contig_aliases",),
    ),
    Format("folds", (".json",), "seqmodel.dataset.split:read_folds", ("fold_json",)),
    Format("CSV", (".csv", ".csv.gz"), _ROWS, _SPLIT_FILES),
    Format("TSV", (".tsv", ".tsv.gz"), _ROWS, _SPLIT_FILES),
    Format("Parquet", (".parquet",), _ROWS, _SPLIT_FILES),
    Format("npz", (".npz",), _ARRAYS, _SPLIT_FILES),
    Format("MATLAB 5", (".mat",), _ARRAYS, _SPLIT_FILES),
    Format("MATLAB 7.3", (".mat",), _ARRAYS, _SPLIT_FILES),
    Format("HDF5", (".h5",), _ARRAYS, _SPLIT_FILES),
    Format("bigWig", (".bw",), "seqmodel.dataset.label.bigwig:BigWig", ("tracks",)),
    Format("VCF", (".vcf", ".vcf.gz"), "seqmodel.infer.vcf:open_variants", ("variants",)),
    Format("BCF", (".bcf",), "seqmodel.infer.vcf:open_variants", ("variants",)),
    Format("TOML config", (".toml",), "seqmodel.hparam.config:read_config", ("config",)),
    Format("JSON config", (".json",), "seqmodel.hparam.config:read_config", ("config",)),
    Format(
        "checkpoint header",
        (".ckpt",),
        "seqmodel.hparam.header:read_header",
        ("load_checkpoint_path", "resume_from_checkpoint", "load_encoder_from_checkpoint"),
    ),
    Format(
        "checkpoint",
        (".ckpt",),
        "seqmodel.record.checkpoint:load",
        ("load_checkpoint_path", "resume_from_checkpoint", "load_encoder_from_checkpoint"),
    ),
    Format("search", (".toml",), "seqmodel.job.search.file:read_file", ("search",)),
)
