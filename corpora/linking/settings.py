"""What a user may say about linking. The defaults are those under which nothing wrong links."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from corpora.linking.errors import LinkSettingsInvalid
from corpora.linking.outcomes import SeveralStudies, Versions

# Reports are dated by the study, by the dictation or by the signature: a month covers holidays and late signing, while
# counters of accession numbers take years to come round.
DEFAULT_MAX_DAYS_APART = 30
MAX_WINDOW_DAYS = 31
DEFAULT_MEMORY_MIB = 768
MIN_MEMORY_MIB = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """The rules that can be chosen; `docs/linking.md` says what each is for.

    Attributes
    ----------
    ignore_leading_zeros
        Accession numbers are the same with and without zeros at their start.
    ignore_patient_leading_zeros
        The same for patient ids.
    use_study_instance_uid
        Study Instance UIDs of reports are looked at, to link and to contradict.
    patient_date_window_days
        Link by patient and date where the other ways find nothing, if the dates are so many days apart at most;
        ``None`` for not at all.
    max_days_apart
        A link by accession number is refused where the dates of report and study are further apart than this many
        days; ``None`` if dates say nothing, as where they were shifted on one side.
    require_patient
        Only link where the patient is known on both sides (and agrees).
    versions, several_studies
        Which of several reports of a study are linked; what becomes of a report that fits several studies.
    """

    ignore_leading_zeros: bool = False
    ignore_patient_leading_zeros: bool = False
    use_study_instance_uid: bool = True
    patient_date_window_days: int | None = None
    max_days_apart: int | None = DEFAULT_MAX_DAYS_APART
    require_patient: bool = False
    versions: Versions = Versions.LATEST_FINAL
    several_studies: SeveralStudies = SeveralStudies.REPORT

    def __post_init__(self) -> None:
        window = self.patient_date_window_days
        if window is not None and not 0 <= window <= MAX_WINDOW_DAYS:
            raise LinkSettingsInvalid(f"patient_date_window_days is {window}: use 0 to {MAX_WINDOW_DAYS} days")
        if self.max_days_apart is not None and self.max_days_apart < 0:
            raise LinkSettingsInvalid(f"max_days_apart is {self.max_days_apart}: use 0 or more days")

    def as_json(self) -> dict[str, object]:
        """Return the settings as they stand in the link report."""
        return asdict(self)
