"""An output in shards: a folder that other programs read as one table, and that a run goes on with shard by shard.

    labels.parquet/
        shard-000000.parquet        the rows of the first N records, in their order
        shard-000001.parquet
        _radlabel/                  readers of such folders (Arrow, Spark, DuckDB) pass over names with an underscore
            manifest.json           what the run depends on; when it is complete, the list of shards with their digests
            shard-000000.json       of a finished shard: digest, counts, rejects, review
            lock                    held by the run that writes here

A shard is written to a neighbour and renamed, then its description: without that it counts as not done.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from nlp_service.errors import OutputExists, OutputUnwritable
from nlp_service.outputs import OutputPaths, remove_old_rejects, side_files
from nlp_service.part_folder import PartFolder, digest_of, rejects_of, writing, written_whole
from nlp_service.run_manifest import Manifest
from nlp_service.work import ChunkResult, Counts
from nlp_service.writers import Writer, suffix_of

FOLDER = "_radlabel"


class ShardedOutput:
    """A folder of shards of ``chunks_per_shard`` chunks each."""

    def __init__(self, paths: OutputPaths, chunks_per_shard: int) -> None:
        self._paths = paths
        self._per_shard = chunks_per_shard
        self._suffix = suffix_of(paths.output)
        self._own = PartFolder(paths.output / FOLDER)
        self._known: dict[int, Mapping[str, Any] | None] = {}
        self._open: list[ChunkResult] = []

    def may_write(self, *, resume: bool, overwrite: bool) -> bool:
        """As `nlp_service.outputs.Output` says. A complete run is looked through for damaged shards."""
        paths, folder = self._paths, self._paths.output
        paths.check_folder()
        if folder.exists() and not folder.is_dir():
            raise OutputUnwritable(f"{folder}: is a file; a run with shards wants the name of a folder")
        if not self._own.is_unfinished:
            if folder.is_dir() and any(entry.name != FOLDER for entry in folder.iterdir()):
                raise OutputExists(f"{folder}: is a folder with files of others; name another output")
            if not overwrite:
                paths.check_named_rejects()
            return True
        if overwrite:
            return True
        shards = self._own.read_manifest().get("shards")
        if not resume:
            state = "an unfinished run is there; go on with --resume" if shards is None else "is there already"
            raise OutputExists(f"{folder}: {state}, or start over with --overwrite")
        return shards is None or any(self._intact(index) is None for index in range(len(shards)))

    def begin(self, manifest: Manifest, writer: Writer, *, resume: bool) -> None:
        """As `nlp_service.outputs.Output` says."""
        self._manifest = {**manifest, "shards_of_chunks": self._per_shard}
        self._writer = writer
        with writing(self._paths.output):
            self._paths.output.mkdir(exist_ok=True)
        self._own.begin(self._manifest, resume=resume)
        self._known.clear()  # what was looked at before the folder was locked
        if "shards" in self._own.read_manifest():
            self._own.write_manifest(self._manifest)
        with writing(self._paths.output):
            for entry in self._shard_files():
                if not resume or entry.suffix == ".tmp":
                    entry.unlink(missing_ok=True)

    def recall(self, index: int) -> Counts | None:
        """As `nlp_service.outputs.Output` says; a shard that is damaged is to do."""
        shard, place = divmod(index, self._per_shard)
        if shard not in self._known:
            self._known[shard] = self._intact(shard)
        known = self._known[shard]
        return None if known is None or place >= len(known["chunks"]) else Counts(*known["chunks"][place])

    def save(self, result: ChunkResult) -> None:
        """As `nlp_service.outputs.Output` says; the last chunk of a shard has it written."""
        if self._open and self._open[0].index // self._per_shard != result.index // self._per_shard:
            self._write_shard()
        self._open.append(result)
        if (result.index + 1) % self._per_shard == 0:
            self._write_shard()

    def finish(self, has_rejects: bool) -> None:
        """Write the last shard, what belongs beside, and the list of shards, which marks the run as complete."""
        if self._open or not self._described():
            self._write_shard()
        shards = []
        total = Counts()
        with side_files(self._paths, has_rejects) as side:
            for index in self._described():
                known = self._describe(index)
                if known is None:
                    raise OutputUnwritable(f"{self._own.path}: was changed by something else during the run")
                side.write(rejects_of(known["rejects"]), known["review"])
                counts = sum((Counts(*numbers) for numbers in known["chunks"]), Counts())
                total += counts
                shards.append(
                    {"name": self._name(index), "bytes": known["bytes"], "digest": known["digest"], **asdict(counts)}
                )
        remove_old_rejects(self._paths, has_rejects)
        self._own.write_manifest({**self._manifest, "counts": asdict(total), "shards": shards})
        self._own.close()

    def leave(self, error: BaseException) -> None:
        """As `nlp_service.outputs.Output` says."""
        if self._described():
            self._own.close()
            error.add_note(f"the shards that are done are kept in {self._paths.output}; go on with --resume")
            return
        with suppress(OutputUnwritable, OSError):
            self._own.remove()
            self._paths.output.rmdir()

    def _write_shard(self) -> None:
        index = self._open[0].index // self._per_shard if self._open else 0
        content = io.BytesIO()
        self._writer.join((result.piece for result in self._open), content)
        data = content.getvalue()
        with written_whole(self._paths.output / self._name(index)) as stream:
            stream.write(data)
        description = {
            "bytes": len(data),
            "digest": digest_of(data),
            "chunks": [astuple(result.counts) for result in self._open],
            "rejects": [asdict(reject) for result in self._open for reject in result.rejects],
            "review": "".join(result.review for result in self._open),
        }
        self._own.write(_description_name(index), json.dumps(description).encode())
        self._open.clear()

    def _intact(self, index: int) -> Mapping[str, Any] | None:
        """Return the description of a shard that is there as it was written."""
        known = self._describe(index)
        try:
            data = (self._paths.output / self._name(index)).read_bytes()
        except OSError:
            return None
        return known if known is not None and known["digest"] == digest_of(data) else None

    def _describe(self, index: int) -> Mapping[str, Any] | None:
        try:
            known = json.loads((self._own.path / _description_name(index)).read_bytes())
            rejects_of(known["rejects"])
            has_all = isinstance(known["review"], str) and {"bytes", "digest", "chunks"} <= known.keys()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return known if has_all else None

    def _described(self) -> list[int]:
        return sorted(int(entry.name[6:-5]) for entry in self._own.path.glob("shard-*.json"))

    def _name(self, index: int) -> str:
        return f"shard-{index:06d}{self._suffix}"

    def _shard_files(self) -> list[Path]:
        pattern = re.compile(rf"shard-\d{{6,}}{re.escape(self._suffix)}(\.tmp)?")
        return [entry for entry in self._paths.output.iterdir() if pattern.fullmatch(entry.name)]


def _description_name(index: int) -> str:
    return f"shard-{index:06d}.json"
