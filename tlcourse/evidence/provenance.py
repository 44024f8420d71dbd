"""Where a recorded number comes from: what a card says beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Provenance:
    """A study and the runs behind one of its numbers.

    Parameters
    ----------
    study
        Its name.
    date
        Of the last run, as YYYY-MM-DD.
    device
        A card's name or a processor's kind.
    commit
        Of the course.
    runs
        Trainings behind the number, all arms and splits together.
    versions
        Package and version.

    Examples
    --------
    >>> print(Provenance("race", "2026-11-28", "x86_64", "0123456789ab", 60, {"torch": "2.14.1"}))
    recorded: study race, 60 trainings, 2026-11-28, x86_64, torch 2.14.1, commit 0123456
    """

    study: str
    date: str
    device: str
    commit: str
    runs: int
    versions: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        versions = [f"{name} {version}" for name, version in self.versions.items()]
        parts = [f"study {self.study}", f"{self.runs:,} trainings", self.date, self.device]
        return "recorded: " + ", ".join([*parts, *versions, f"commit {self.commit[:7]}"])
