"""An invented hospital world with kept truth: what was really examined, and what its systems made of it.

The truth is written down before anything is messed up, so that whoever links never sees it. `linkable` is judged by an
oracle of its own, which knows the true numbers: it asks whether the rows say enough for a careful person to be sure.

What no rule can see is left out: if a number is used twice, the two studies are at least `APART_DAYS` apart (a counter
that comes round, or two hospitals that began to count in different years), and every report has a day: of the study,
or, unless it is an addendum or a correction, of its signature. Otherwise a report whose patient cannot be compared, and
whose own study is missing or has lost its number, could not be told from a report of the other study.
"""

from __future__ import annotations

import csv
import datetime as dt
import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

APART_DAYS = 60
FIRST_DAY = dt.date(2019, 1, 1)
DAYS = 1500
ISSUERS = ("HOSP-NORTH", "HOSP-SOUTH")
REPORT_FIELDS = (
    *("report_id", "accession_number", "accession_number_issuer", "patient_id", "study_date", "study_instance_uid"),
    *("report_status", "report_time", "text"),
)
INDEX_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("image_id", "file", "patient_id", "accession_number")),
        *((name, pa.string()) for name in ("accession_number_issuer", "study_instance_uid", "series_instance_uid")),
        ("sop_instance_uid", pa.string()),
        ("study_date", pa.date32()),
        ("modality", pa.string()),
    ]
)
# Cyrillic and Greek capitals, wide, Arabic-Indic and Devanagari digits, by what they look like or mean.
LOOK_ALIKES = {
    **{"A": "\u0410", "C": "\u0421", "X": "\u03a7", "T": "\u0422", "M": "\u039c", "R": "\uff32", "-": "\u2013"},
    **{"1": "\u0661", "2": "\uff12", "3": "\u0969", "5": "\uff15", "8": "\u0668"},
}


@dataclass(frozen=True, slots=True)
class Study:
    """What really took place."""

    uid: str
    number: str  # the true accession number
    issuer: str
    patient: str
    date: dt.date


@dataclass(slots=True)
class ReportRow:
    """A row of the report table, as messed up as it comes."""

    report_id: str
    number: str | None
    issuer: str | None
    patient: str | None
    date: dt.date | None
    uid: str | None
    status: str
    time: dt.datetime
    study: Study
    is_wildcard: bool = False
    is_swapped: bool = False

    def cells(self) -> dict[str, str]:
        return {
            "report_id": self.report_id,
            "accession_number": self.number or "",
            "accession_number_issuer": self.issuer or "",
            "patient_id": self.patient or "",
            "study_date": self.date.isoformat() if self.date else "",
            "study_instance_uid": self.uid or "",
            "report_status": self.status,
            "report_time": self.time.isoformat(),
            "text": "FINDINGS: Lungs are clear.",
        }


@dataclass(slots=True)
class World:
    """Report rows, image rows, and the truth about both."""

    reports: list[ReportRow] = field(default_factory=list)
    images: list[dict[str, object]] = field(default_factory=list)
    repeated_rows: int = 0
    repeated_images: int = 0
    repeated_series: int = 0

    @property
    def truth(self) -> dict[str, str]:
        """Return the true Study Instance UID of each report id."""
        return {row.report_id: row.study.uid for row in self.reports}

    def write(self, folder: Path, seed: int = 0) -> tuple[Path, Path]:
        """Write both tables in an order that says nothing, and return their paths."""
        shuffled = random.Random(seed)
        rows, images = list(self.reports), list(self.images)
        shuffled.shuffle(rows)
        shuffled.shuffle(images)
        reports, index = folder / "reports.csv", folder / "index.parquet"
        with reports.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, REPORT_FIELDS)
            writer.writeheader()
            writer.writerows(row.cells() for row in rows)
        pq.write_table(pa.Table.from_pylist(images, schema=INDEX_SCHEMA), index)
        return reports, index

    def linkable(self) -> set[str]:
        """Return the ids of the reports that a careful person would link, seeing all rows and the true numbers."""
        indexed: dict[str, dict[str, object]] = {str(image["study_instance_uid"]): image for image in self.images}
        users: dict[str, set[str]] = defaultdict(set)  # true number -> studies that use it, anywhere
        others: dict[str, list[Study]] = defaultdict(list)  # true number -> studies that are indexed under it
        studies = {row.study.uid: row.study for row in self.reports}
        doubted = {row.study.number for row in self.reports if row.is_swapped}
        for study in studies.values():
            users[study.number].add(study.uid)
            if study.uid in indexed:
                others[study.number].append(study)
        can = {row.report_id for row in self.reports if self._is_sure(row, indexed, users, others, doubted)}
        return can & self._current(can)

    def _is_sure(
        self,
        row: ReportRow,
        indexed: dict[str, dict[str, object]],
        users: dict[str, set[str]],
        others: dict[str, list[Study]],
        doubted: set[str],
    ) -> bool:
        image = indexed.get(row.study.uid)
        if image is None or row.status == "cancelled" or row.is_swapped:
            return False
        is_confirmed = row.patient is not None and image["patient_id"] is not None
        numbers_fit = row.number is not None and not row.is_wildcard and image["accession_number"] is not None
        if row.uid is not None:
            return is_confirmed or numbers_fit or row.number is None or image["accession_number"] is None
        if not numbers_fit:
            return False
        if is_confirmed:
            # Somebody else's study under the number stands in the way only if it may be this patient's.
            return all(
                other.uid == row.study.uid or indexed[other.uid]["patient_id"] is not None
                for other in others[row.study.number]
            )
        return len(users[row.study.number]) == 1 and row.study.number not in doubted

    def _current(self, can: set[str]) -> set[str]:
        """Return the reports that stand for their study: addenda, the latest final one, or the preliminary alone."""
        by_study: dict[str, list[ReportRow]] = defaultdict(list)
        for row in {row.report_id: row for row in self.reports}.values():
            if row.report_id in can:
                by_study[row.study.uid].append(row)
        current = set()
        for rows in by_study.values():
            current |= {row.report_id for row in rows if row.status == "addendum"}
            final = [row for row in rows if row.status in ("final", "corrected")]
            rest = final or [row for row in rows if row.status == "preliminary"]
            current |= {row.report_id for row in rest if row.time == max(other.time for other in rest)}
        return current


def make_world(number_of_studies: int, seed: int) -> World:
    """Return a messed world of so many studies."""
    chance = random.Random(seed)
    world = World()
    studies = _studies(number_of_studies, chance)
    for index, study in enumerate(studies):
        rows = _reports(index, study, chance) if chance.random() > 0.01 else []
        # The oracle has to know of every study, so a study is left out on the side of the images.
        world.reports += rows
        if not rows or chance.random() < 0.03:
            continue
        world.images += _images(study, chance)
    _swap_patients(world, chance)
    repeated = [replace(row) for row in world.reports if chance.random() < 0.02]
    world.reports += repeated
    world.repeated_rows = len(repeated)
    for image in list(world.images):
        if chance.random() < 0.05:
            world.images.append({**image, "file": f"copy/{image['file']}"})
            world.repeated_images += 1
    _send_series_again(world, chance)
    # A study that no report knows of.
    world.images += [
        {**image, "file": f"spare/{image['file']}"}
        for index in range(number_of_studies // 50)
        for image in _images(Study(f"9.{index}", f"SPARE{index}", ISSUERS[0], f"SP{index}", FIRST_DAY), chance)
    ]
    return world


def _studies(count: int, chance: random.Random) -> list[Study]:
    studies: list[Study] = []
    for index in range(count):
        # Half are digits with zeros before them, half have letters: AC-0012345.
        number = f"{index + 1:09d}" if index % 2 else f"{chance.choice(('AC', 'CT', 'XR', 'MR'))}-{index + 1:07d}"
        date = FIRST_DAY + dt.timedelta(days=chance.randrange(DAYS))
        issuer = ISSUERS[chance.random() < 0.3]
        patient = f"P{chance.randrange(max(count // 2, 1)):07d}"
        kind = chance.random()
        if index and kind < 0.12:
            # 2 % reused within one hospital by another patient, 10 % in use in both hospitals
            first = chance.choice(studies)
            fits = abs((first.date - date).days) >= APART_DAYS and first.patient != patient
            if fits:
                number = first.number
                issuer = first.issuer if kind < 0.02 else ISSUERS[first.issuer == ISSUERS[0]]
        studies.append(Study(f"1.2.826.{index}", number, issuer, patient, date))
    return _without_close_users(studies)


def _without_close_users(studies: list[Study]) -> list[Study]:
    """Leave a number to two studies at most, so that users of one number are as far apart as promised."""
    seen: dict[str, int] = defaultdict(int)
    kept = []
    for study in studies:
        seen[study.number] += 1
        kept.append(study if seen[study.number] <= 2 else replace(study, number=f"ZZ{study.uid[8:]}"))
    return kept


def _reports(index: int, study: Study, chance: random.Random) -> list[ReportRow]:
    signed = dt.datetime.combine(study.date, dt.time(8)) + dt.timedelta(hours=chance.randrange(48))
    statuses = ["final"]
    kind = chance.random()
    if kind < 0.10:
        statuses = ["preliminary", "final"]
    elif kind < 0.20:
        statuses = ["final", "addendum"]
    elif kind < 0.25:
        statuses = ["final", "corrected"]
    elif kind < 0.28:
        statuses = ["preliminary", "final", "corrected", "addendum"]
    elif kind < 0.29:
        statuses = ["cancelled"]
    elif kind < 0.30:
        statuses = ["preliminary"]
    rows = []
    for version, status in enumerate(statuses):
        row = ReportRow(
            report_id=f"R{index}-{version}",
            number=_messed(study.number, chance) if chance.random() > 0.03 else None,
            issuer=_spaced(study.issuer, chance) if chance.random() > 0.1 else None,
            patient=_spaced(study.patient, chance) if chance.random() > 0.05 else None,
            date=study.date,
            uid=study.uid if chance.random() < 0.1 else None,
            status=status,
            time=signed + dt.timedelta(hours=version),
            study=study,
        )
        if row.patient is not None and status not in ("addendum", "corrected") and chance.random() < 0.1:
            row.date = None
        if row.number is not None and chance.random() < 0.01:
            wild = chance.choice("*?%_")
            row.number, row.is_wildcard = f"{study.number[:-2]}{wild}", True
        rows.append(row)
    return rows


def _messed(number: str, chance: random.Random) -> str:
    if chance.random() < 0.1:
        number = number.lstrip("0") if chance.random() < 0.5 else f"00{number}"
    if chance.random() < 0.05:
        number = "".join(LOOK_ALIKES.get(letter, letter) if chance.random() < 0.5 else letter for letter in number)
        if chance.random() < 0.3:
            number = f"{number[:3]}\u200b{number[3:]}"
    if chance.random() < 0.2:
        number = number.lower()
    return _spaced(number, chance)


def _spaced(text: str, chance: random.Random) -> str:
    if chance.random() < 0.2:
        place = chance.randrange(len(text) + 1)
        text = f"{text[:place]}{chance.choice((' ', '  ', chr(0xA0), chr(9)))}{text[place:]}"
    return text


def _images(study: Study, chance: random.Random) -> list[dict[str, object]]:
    number = _spaced(study.number, chance) if chance.random() > 0.03 else None
    shared = {
        "patient_id": study.patient if chance.random() > 0.02 else None,
        "accession_number": number,
        "accession_number_issuer": study.issuer if chance.random() > 0.1 else None,
        "study_instance_uid": study.uid,
        "study_date": study.date,
        "modality": "DX",
    }
    images: list[dict[str, object]] = []
    for series in range(1 + (chance.random() < 0.3)):
        for instance in range(1 + (chance.random() < 0.4)):
            uid = f"{study.uid}.{series}.{instance}"
            images.append(
                {
                    "image_id": uid,
                    "file": f"{uid}.dcm",
                    "series_instance_uid": f"{study.uid}.{series}",
                    "sop_instance_uid": uid,
                    **shared,
                }
            )
    return images


def _send_series_again(world: World, chance: random.Random) -> None:
    """Have 2 % of the series twice, as after a second transfer: all images, once more in another place."""
    series: dict[object, list[dict[str, object]]] = defaultdict(list)
    for image in world.images:
        series[image["series_instance_uid"]].append(image)
    for images in series.values():
        if chance.random() < 0.02:
            world.images += [{**image, "file": f"again/{image['file']}"} for image in images]
            world.repeated_images += len(images)
            world.repeated_series += 1


def _swap_patients(world: World, chance: random.Random) -> None:
    """Give 1 % of the reports the patient of another one."""
    chosen = [row for row in world.reports if row.patient is not None and chance.random() < 0.01]
    for one, other in zip(chosen[::2], chosen[1::2], strict=False):
        if one.study.patient != other.study.patient:
            one.patient, other.patient = other.patient, one.patient
            one.is_swapped = other.is_swapped = True
