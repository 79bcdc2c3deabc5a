"""What models of images say of a study, with their overlays, kept beside the reports of the same study.

Overlays lie in the database, as all else does: one backup has everything, and what is deleted goes as a whole.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nlp_service.store import schema
from nlp_service.store.dialect import insert
from nlp_service.store.stored import of_study, time_text

_IDENTIFIERS = (
    *("image_id", "accession_number", "accession_number_issuer", "study_instance_uid"),
    *("sop_instance_uid", "patient_id"),
)


@dataclass(frozen=True, slots=True, repr=False)
class ImageScores:
    """What a model says of one image: a probability by label, and pictures drawn over it (PNG) by name.

    ``label_set`` is the one whose labels these are; from its threshold on a label is called present (0.5 without one).
    """

    image_id: str
    model_name: str
    model_version: str
    model_digest: str
    scores: Mapping[str, float]
    label_set: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    overlays: Mapping[str, bytes] = field(default_factory=dict)
    accession_number: str | None = None
    accession_number_issuer: str | None = None
    study_instance_uid: str | None = None
    sop_instance_uid: str | None = None
    patient_id: str | None = None

    @property
    def digest(self) -> bytes:
        """Return what tells it from every other: whose it is, and which model said it."""
        parts = (*(getattr(self, name) for name in _IDENTIFIERS), self.model_digest)
        return hashlib.sha256(
            "\x1f".join("" if part is None else part for part in parts).encode("utf-8", "surrogatepass")
        ).digest()


def add_image_scores(connection: sa.Connection, images: Sequence[ImageScores]) -> int:
    """Store what models say of images, in place of what the same model said of them before; return how many."""
    table, overlays = schema.image_scores, schema.image_overlays
    by_digest = {image.digest: image for image in images}
    for digest, image in by_digest.items():
        values = {
            "digest": digest,
            **{name: getattr(image, name) for name in _IDENTIFIERS},
            "model_name": image.model_name,
            "model_version": image.model_version,
            "model_digest": image.model_digest,
            "label_set": image.label_set,
            "thresholds": json.dumps(dict(image.thresholds)),
            "scores": json.dumps(dict(image.scores)),
            "scored_at": time.time(),
        }
        new = insert(connection.dialect.name, table).values(values)
        statement = new.on_conflict_do_update(
            index_elements=["digest"],
            set_={name: new.excluded[name] for name in ("label_set", "thresholds", "scores", "scored_at")},
        ).returning(table.c.id)
        row_id = connection.execute(statement).scalar_one()
        connection.execute(sa.delete(overlays).where(overlays.c.image == row_id))
        drawn = [
            {"id": secrets.token_hex(16), "image": row_id, "name": name, "png": png}
            for name, png in image.overlays.items()
        ]
        if drawn:
            connection.execute(sa.insert(overlays), drawn)
    return len(by_digest)


def find_image_scores(
    connection: sa.Connection,
    *,
    accession_number: str | None = None,
    issuer: str | None = None,
    study_instance_uid: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return what models said of the images of a study, the newest first; the same matches as for its reports."""
    table, overlays = schema.image_scores, schema.image_overlays
    query = (
        sa.select(table)
        .where(of_study(table, accession_number, issuer, study_instance_uid))
        .order_by(table.c.scored_at.desc(), table.c.id.desc())
        .limit(limit)
    )
    found = {
        row.id: {
            **{name: getattr(row, name) for name in _IDENTIFIERS},
            "model": {
                "name": row.model_name,
                "version": row.model_version,
                "digest": row.model_digest,
                "label_set": row.label_set,
                "thresholds": json.loads(row.thresholds or "{}"),
            },
            "scored_at": time_text(row.scored_at),
            "scores": json.loads(row.scores),
            "overlays": [],
        }
        for row in connection.execute(query)
    }
    if found:
        drawn = (
            sa.select(overlays.c.id, overlays.c.image, overlays.c.name)
            .where(overlays.c.image.in_(list(found)))
            .order_by(overlays.c.name)
        )
        for row in connection.execute(drawn):
            found[row.image]["overlays"].append({"id": row.id, "name": row.name})
    return list(found.values())


def overlay_png(connection: sa.Connection, overlay_id: str) -> bytes | None:
    """Return an overlay, or ``None`` if there is none of this id."""
    overlays = schema.image_overlays
    found = connection.execute(sa.select(overlays.c.png).where(overlays.c.id == overlay_id)).scalar_one_or_none()
    return None if found is None else bytes(found)


def delete_study(
    connection: sa.Connection,
    *,
    accession_number: str | None = None,
    issuer: str | None = None,
    study_instance_uid: str | None = None,
) -> tuple[int, int]:
    """Delete all that `find_studies` and `find_image_scores` find, and return how many reports and images there were.

    Labels and reviews go with the reports, overlays with the images.
    """
    reports, images = (
        connection.execute(
            sa.delete(table).where(of_study(table, accession_number, issuer, study_instance_uid))
        ).rowcount
        for table in (schema.reports, schema.image_scores)
    )
    return int(reports), int(images)
