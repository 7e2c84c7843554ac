"""A table of sequences with two classes: the Trainer of HuggingFace and a BERT."""

import argparse
import csv
import gzip
import json
import os

import torch
from networks import n_weights
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

IDS = {letter: i for i, letter in enumerate("ACGT")}


class Table(Dataset):
    """The rows of a file with the columns sequence and label."""

    def __init__(self, path: str) -> None:
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        self.ids = torch.tensor([[IDS.get(x, 4) for x in row["sequence"]] for row in rows])
        self.labels = torch.tensor([int(row["label"]) for row in rows])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids[i], "labels": self.labels[i]}


def scores(predicted) -> dict[str, float]:
    """AUROC and MCC of logits [n, 2]."""
    logits, labels = predicted
    auroc = roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    return {"auroc": auroc, "mcc": matthews_corrcoef(labels, logits.argmax(1))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train", "valid", "test", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    train, valid, test = Table(args.train), Table(args.valid), Table(args.test)
    config = BertConfig(
        vocab_size=5,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=train.ids.shape[1],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
        attn_implementation="sdpa",
    )
    settings = TrainingArguments(
        output_dir=args.out,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=32,
        num_train_epochs=args.epochs,
        learning_rate=3e-4,
        weight_decay=0.01,
        adam_beta2=0.98,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        logging_steps=50,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=settings,
        train_dataset=train,
        eval_dataset=valid,
        compute_metrics=scores,
    )
    trainer.train()
    n_steps, score = trainer.state.global_step, trainer.evaluate(test)["eval_auroc"]
    print(json.dumps({"weights": n_weights(trainer.model), "steps": n_steps, "score": score}))


if __name__ == "__main__":
    main()
