"""The usual BERT labeler as a process of its own: CheXbert's architecture (Smit et al. 2020, arXiv:2004.09167).

BERT-base in single precision with fourteen linear heads on the first token, reports sorted by length, sixteen at a
time, padded to the longest of them and cut at 512 word pieces. The weights are random: they do not matter for speed.
``--sentences`` gives it what radlabel's cache gives radlabel: each distinct sentence is read once.

    python -m tests.benchmarks.bert_worker IN.csv OUT.parquet [--sentences]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from corpora import read_reports
from models.text.report_reader import SILENT
from models.text.sections import split_sections
from models.text.sentences import split_sentences
from models.text.training.network import bundled_base

BATCH = 16
HEADS = (4,) * 13 + (2,)  # thirteen findings with four values, and No Finding with two
MAX_TOKENS = 512


def main() -> None:
    """Read, encode, write."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--sentences", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    bert = BertModel(BertConfig(), add_pooling_layer=False)
    bert.train(False)  # no dropout
    heads = torch.nn.ModuleList(torch.nn.Linear(768, width) for width in HEADS)
    tokenizer = Tokenizer.from_file(str(bundled_base() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    reports = list(read_reports(options.source))[: options.limit]
    texts = [report.text for report in reports]
    if options.sentences:
        texts = list(
            dict.fromkeys(
                report.text[span.start : span.end]
                for report in reports
                for section in split_sections(report)
                if section.kind not in SILENT
                for span in split_sentences(report.text, section)
            )
        )
    started = time.perf_counter()
    encoded = sorted((e.ids for e in tokenizer.encode_batch(texts)), key=len)
    values: list[list[int]] = []
    with torch.no_grad():
        for first in range(0, len(encoded), BATCH):
            batch = encoded[first : first + BATCH]
            width = max(map(len, batch))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in batch])
            mask = (torch.arange(width)[None] < torch.tensor([len(row) for row in batch])[:, None]).long()
            state = bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
            values += torch.stack([head(state).argmax(dim=1) for head in heads], dim=1).tolist()
    elapsed = time.perf_counter() - started
    columns = {f"label_{i}": [row[i] for row in values] for i in range(len(HEADS))}
    pq.write_table(pa.table(columns), options.output)
    print(f"{len(texts)} texts, {elapsed:.2f} s")


if __name__ == "__main__":
    main()
