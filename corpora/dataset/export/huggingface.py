"""For Hugging Face ``datasets``: an Arrow folder, which ``load_from_disk`` and ``load_dataset`` both read, and Parquet.

Labels are `ClassLabel` columns with the numbers of `corpora.weak_labels.values` (0 negative, 1 positive, 2 uncertain,
3 not mentioned); pictures are an `Image` column with their bytes within. Nothing is fetched, and nothing goes to the
cache of the library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpora.dataset.columns import label_columns, rows_schema
from corpora.dataset.export.target import ExportTarget
from corpora.findings import Assertion
from corpora.imaging.extras import need
from corpora.weak_labels.values import NEGATIVE, NOT_MENTIONED, POSITIVE, UNCERTAIN

CLASS_NAMES = ("negative", "positive", "uncertain", "not mentioned")
_CODES = {
    Assertion.NEGATIVE.value: NEGATIVE,
    Assertion.POSITIVE.value: POSITIVE,
    Assertion.UNCERTAIN.value: UNCERTAIN,
    None: NOT_MENTIONED,
}
# Rows of a record batch: their pictures are in memory at a time.
_BATCH = 64
_SHARD_BYTES = 500 * 2**20
_FEATURE = "this export"
_UNUSED = ("file", "mask_file")


def export_arrow(target: ExportTarget) -> None:
    """Write a folder of ``save_to_disk``, with a README.md by which ``load_dataset`` reads the same files."""
    import pyarrow as pa

    library = need("datasets", "datasets", _FEATURE)
    features = _features(target, library)
    schema = features.arrow_schema
    parts: dict[str, Any] = {}
    with _quiet(library):
        for split in target.splits:
            whole = target.folder / f"{split}.arrow.partial"
            with pa.OSFile(str(whole), "wb") as stream, pa.ipc.new_stream(stream, schema) as writer:
                for rows in _batched(target, split):
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            part = library.Dataset.from_file(str(whole), split=split)
            # Else it is made from the clock.
            part._fingerprint = f"{target.dataset.digest[:12]}-{split}"
            parts[split] = part
        library.DatasetDict(parts).save_to_disk(str(target.folder), max_shard_size=_SHARD_BYTES)
    for split in target.splits:
        del parts[split]
        (target.folder / f"{split}.arrow.partial").unlink()
    _write_readme(target, {split: f"{split}/*.arrow" for split in target.splits})


def export_parquet(target: ExportTarget) -> None:
    """Write Parquet files with the pictures within, a few for each split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    library = need("datasets", "datasets", _FEATURE)
    schema = _features(target, library).arrow_schema
    data = target.folder / "data"
    data.mkdir()
    for split in target.splits:
        number = size = 0
        writer: Any = None
        for rows in _batched(target, split):
            if writer is None:
                writer = pq.ParquetWriter(data / f"{split}-{number:05d}.parquet", schema, compression="zstd")
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=_BATCH)
            size += sum(len(row["image"]["bytes"]) for row in rows)
            if size >= _SHARD_BYTES:
                writer.close()
                writer, size, number = None, 0, number + 1
        if writer is not None:
            writer.close()
    _write_readme(target, {split: f"data/{split}-*.parquet" for split in target.splits})


def _features(target: ExportTarget, library: Any) -> Any:
    schema = rows_schema(target.dataset.labels)
    features = {
        name: feature
        for name, feature in library.Features.from_arrow_schema(schema).items()
        if name not in (*_UNUSED, *label_columns(target.dataset.labels))
    }
    known = library.Features.from_arrow_schema(schema)
    found = {"image": library.Image(), **features, "mask_image": library.Image()}
    for name in label_columns(target.dataset.labels):
        is_label = name.startswith("label:")
        found[name] = library.ClassLabel(names=list(CLASS_NAMES)) if is_label else known[name]
    return library.Features(found)


def _batched(target: ExportTarget, split: str) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in target.rows(split):
        batch.append(_row(target, row))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _row(target: ExportTarget, row: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in row.items() if name not in _UNUSED}
    for label in target.dataset.labels:
        found[f"label:{label}"] = _CODES[row[f"label:{label}"]]
    found["image"] = {"bytes": target.image_bytes(row["file"]), "path": Path(row["file"]).name}
    mask = row["mask_file"]
    found["mask_image"] = None if mask is None else {"bytes": target.image_bytes(mask), "path": Path(mask).name}
    target.count("pictures")
    return found


def _write_readme(target: ExportTarget, files: dict[str, str]) -> None:
    """Write README.md: which files are data, as ``load_dataset`` wants it, and the card."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, pattern in files.items():
        lines += [f"  - split: {split}", f'    path: "{pattern}"']
    card = (target.dataset.path / "card.md").read_text("utf-8")
    (target.folder / "README.md").write_text("\n".join([*lines, "---", "", card]), encoding="utf-8")
    plots = target.folder / "card"
    plots.mkdir()
    for plot in sorted((target.dataset.path / "card").iterdir()):
        (plots / plot.name).write_bytes(plot.read_bytes())


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Let the library show no bars of its own meanwhile."""
    was_quiet = library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if not was_quiet:
            library.enable_progress_bars()
