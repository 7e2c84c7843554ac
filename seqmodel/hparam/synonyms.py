"""Names that other programs use, and the hyperparameters that mean the same here. Light.

One table for all verbs: an unknown name is looked up here first. Only without a synonym is the most
similar name suggested.
"""

from __future__ import annotations

from collections.abc import Collection

from seqmodel.hparam.value import did_you_mean

SYNONYMS: dict[str, tuple[str, ...]] = {
    # training
    "learning_rate": ("lr",),
    "epochs": ("max_epochs",),
    "n_epochs": ("max_epochs",),
    "num_epochs": ("max_epochs",),
    "num_train_epochs": ("max_epochs",),
    "n_steps": ("max_steps",),
    "steps": ("max_steps",),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "per_device_train_batch_size": ("batch_size",),
    "optim": ("optimiser",),
    "scheduler": ("schedule",),
    "lr_scheduler": ("schedule",),
    "lr_schedule": ("schedule",),
    "lr_scheduler_type": ("schedule",),
    "wd": ("weight_decay",),
    "warmup": ("warmup_steps",),
    "grad_clip": ("gradient_clip_val",),
    "max_grad_norm": ("gradient_clip_val",),
    "clip_grad_norm": ("gradient_clip_val",),
    "grad_accum": ("accumulate_grad_batches",),
    "gradient_accumulation_steps": ("accumulate_grad_batches",),
    "early_stopping": ("patience",),
    "random_seed": ("seed",),
    "random_state": ("seed",),
    "amp": ("precision",),
    "fp16": ("precision",),
    "bf16": ("precision",),
    # model
    "model": ("encoder", "checkpoints"),
    "architecture": ("encoder",),
    "arch": ("encoder",),
    "backbone": ("encoder",),
    "head": ("decoder",),
    "d_model": ("n_dims",),
    "hidden_size": ("n_dims",),
    "hidden_dim": ("n_dims",),
    "embed_dim": ("n_dims",),
    "num_layers": ("n_layers",),
    "depth": ("n_layers",),
    "num_heads": ("n_heads",),
    "nhead": ("n_heads",),
    "drop_rate": ("dropout",),
    "dropout_rate": ("dropout",),
    "dropout_prob": ("dropout",),
    "checkpoint": ("checkpoints", "load_checkpoint_path"),
    "ckpt": ("checkpoints", "load_checkpoint_path"),
    "ckpt_path": ("checkpoints", "load_checkpoint_path"),
    "weights": ("checkpoints", "load_checkpoint_path"),
    "pretrained": ("load_encoder_from_checkpoint",),
    "from_pretrained": ("load_encoder_from_checkpoint",),
    "resume": ("resume_from_checkpoint",),
    # data
    "csv": ("table", "train_files"),
    "tsv": ("table", "train_files"),
    "parquet": ("table", "train_files"),
    "data": ("table", "train_files", "fasta"),
    "data_path": ("table", "train_files", "fasta"),
    "file": ("table", "train_files", "fasta"),
    "input": ("table", "train_files", "fasta", "variants"),
    "input_file": ("table", "train_files", "fasta", "variants"),
    "train": ("train_files",),
    "train_file": ("train_files",),
    "train_data": ("train_files",),
    "valid": ("valid_files",),
    "val": ("valid_files",),
    "val_file": ("valid_files",),
    "val_files": ("valid_files",),
    "validation_file": ("valid_files",),
    "dev_files": ("valid_files",),
    "test": ("test_files",),
    "test_file": ("test_files",),
    "val_prop": ("valid_prop",),
    "val_split": ("valid_prop",),
    "validation_split": ("valid_prop",),
    "test_split": ("test_prop",),
    "test_size": ("test_prop",),
    "genome": ("fasta",),
    "reference": ("fasta",),
    "ref_fasta": ("fasta",),
    "fa": ("fasta",),
    "bed": ("intervals",),
    "regions": ("intervals",),
    "peak_files": ("peaks",),
    "bigwig_files": ("tracks",),
    "vcf": ("variants",),
    "seq_length": ("seq_len",),
    "sequence_length": ("seq_len",),
    "max_length": ("seq_len",),
    "max_len": ("seq_len",),
    "max_seq_len": ("seq_len",),
    "window_size": ("seq_len",),
    "seq_column": ("sequence_column",),
    "seq_col": ("sequence_column",),
    "label": ("label_columns",),
    "labels": ("label_columns",),
    "label_column": ("label_columns",),
    "label_col": ("label_columns",),
    "target_column": ("label_columns",),
    "classes": ("class_names",),
    "n_classes": ("class_names",),
    "num_classes": ("class_names",),
    "reverse_complement": ("rc_prob", "rc_equivariant"),
    "rc": ("rc_prob", "rc_equivariant"),
    # hardware
    "device": ("accelerator", "devices"),
    "gpus": ("devices", "slurm_gpus"),
    "n_gpus": ("devices", "slurm_gpus"),
    "num_gpus": ("devices", "slurm_gpus"),
    "gpu": ("accelerator", "slurm_gpus"),
    "cuda": ("accelerator",),
    "num_workers": ("n_workers",),
    "workers": ("n_workers",),
    "threads": ("n_threads",),
    "num_threads": ("n_threads",),
    "nodes": ("num_nodes",),
    # output
    "out": ("default_root_dir", "job_out_dir", "to"),
    "output": ("out", "default_root_dir", "job_out_dir", "to"),
    "out_dir": ("default_root_dir", "job_out_dir", "out", "to"),
    "output_dir": ("default_root_dir", "job_out_dir", "out", "to"),
    "save_dir": ("default_root_dir", "job_out_dir", "out", "to"),
    "run_dir": ("default_root_dir",),
    "force": ("overwrite",),
    "log_every": ("log_every_n_steps",),
    "verbose": ("progress",),
    # jobs
    "partition": ("slurm_partition",),
    "account": ("slurm_account",),
    "mem": ("slurm_mem",),
    "time": ("slurm_time_min", "max_time"),
    "slurm_time": ("slurm_time_min",),
    "slurm_at_once": ("n_at_once",),
    "cpus": ("slurm_cpus",),
    "cpus_per_task": ("slurm_cpus",),
    "gres": ("slurm_gpus",),
    "n_jobs": ("n_parts", "n_at_once"),
    "replicates": ("n_replicates", "n_new"),
}
"""What is typed elsewhere, and the names that mean it here, the likeliest first."""


def hint(name: str, known: Collection[str], prefix: str = "") -> str:
    """Return `; did you mean 'lr'?`: a synonym of `name` among `known`, or the most similar name.

    `--batch-size`, `--Batch_Size` and `-batch_size` are read as `batch_size`.
    """
    word = name.lstrip("-").replace("-", "_").lower()
    synonyms = (word, *SYNONYMS.get(word, ()))
    meant = [repr(prefix + other) for other in synonyms if other in known]
    if meant:
        return f"; did you mean {' or '.join(meant)}?"
    return did_you_mean(prefix + word, [prefix + other for other in known])
