"""Effects and cards of a record: signs, Holm over all, and no claim of what cannot be seen."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tlcourse.advice.sweeps import sweep
from tlcourse.book import ClaimFailed, start_chapter
from tlcourse.errors import StudyError
from tlcourse.evidence import decide, holm
from tlcourse.studies import (
    Comparison,
    Study,
    as_text,
    family_effects,
    family_points,
    findings,
    read_study,
    recorded_family,
)
from tlcourse.studies.findings import missing_runs

GAINS = {("easy", "b"): 0.10, ("hard", "b"): -0.10, ("noisy", "b"): 0.02}
NOISE = {"easy": 0.01, "hard": 0.01, "noisy": 0.08}


def planted(*, dataset: str, split: int, arm: str) -> Mapping[str, float]:
    generator = np.random.default_rng([len(dataset), ord(dataset[0]), split, ord(arm)])
    return {"plain": 0.5 + GAINS.get((dataset, arm), 0) + generator.normal(0, NOISE[dataset])}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    cells = tuple(
        {"dataset": dataset, "split": split, "arm": arm}
        for dataset in NOISE
        for split in range(6)
        for arm in "ab"
    )
    better = Comparison("b-better", "race", "b beats a", "folklore", {"arm": "b"}, {"arm": "a"})
    made = Study("planted", "?", planted, cells, ("dataset",), 0.03, 0.0, (better,))
    monkeypatch.setattr("tlcourse.studies.study.RESULTS", tmp_path)
    made.path.parent.mkdir()
    sweep(planted, cells, made.path, workers=1)
    environment = (
        '[{"date": "2026-11-28T09:00:00", "commit": "0123456", "device": "x86_64", "torch": "2"}]'
    )
    made.path.with_name("environment.json").write_text(environment, encoding="utf-8")
    start_chapter("planted")
    return made


def test_each_setting_has_its_sign_and_its_p_after_holm_over_all(study: Study):
    effects = family_effects(study, "race")
    assert effects["verdict"].to_dict() == {
        "b-better-easy": "confirmed",
        "b-better-hard": "refuted",
        "b-better-noisy": "undecided",
    }
    table = read_study(study).pivot(index=["dataset", "split"], columns="arm")["plain"]
    alone = [
        decide((rows["b"] - rows["a"]).tolist(), matters=0.03).p
        for _, rows in table.groupby("dataset")
    ]
    assert effects["p"].tolist() == pytest.approx(holm(alone))


def test_points_are_hundredths(study: Study):
    effects, points = family_effects(study, "race"), family_points(study, "race")
    columns = ["effect", "low", "high", "detectable"]
    assert points[columns].to_numpy() == pytest.approx(100 * effects[columns].to_numpy(), abs=0.051)
    factor = max(1, (effects.loc["b-better-noisy", "detectable"] / 0.03) ** 2)
    assert points.loc["b-better-noisy", "images_factor"] == pytest.approx(factor, abs=0.051)
    assert points["splits"].tolist() == [6, 6, 6]
    assert points["verdict"].equals(effects["verdict"])


def test_a_planted_wrong_sign_stops_the_chapter(study: Study):
    recorded_family(study, "race", {"b-better-easy": "confirmed"})
    with pytest.raises(ClaimFailed, match="refuted"):
        recorded_family(study, "race", {"b-better-hard": "confirmed"})


def test_what_could_not_be_seen_is_no_claim(study: Study):
    with pytest.raises(StudyError, match="no claim: its runs could have seen"):
        recorded_family(study, "race", {"b-better-noisy": "undecided"})


def test_a_family_that_is_not_recorded_whole_is_no_claim(study: Study):
    later = [dict(cell) | {"split": 6} for cell in study.cells if cell["split"] == 5]
    longer = dataclasses.replace(study, cells=(*study.cells, *later))
    assert missing_runs(study, read_study(study)) == 0
    assert missing_runs(longer, read_study(longer)) == 3
    with pytest.raises(StudyError, match="3 declared runs are not recorded.*too early"):
        recorded_family(longer, "race", {"b-better-easy": "confirmed"})
    interim = family_points(longer, "race")  # to look is free, to judge is not
    assert interim["splits"].tolist() == [6, 6, 6] and "verdict" not in interim
    assert "An interim look, at 36 of 42 cells" in as_text(longer, findings(longer))
    assert "interim" not in as_text(study, findings(study))


def test_unknown_ids_and_families_are_told(study: Study):
    with pytest.raises(StudyError, match="did you mean b-better-easy"):
        recorded_family(study, "race", {"b-better-eas": "confirmed"})
    with pytest.raises(StudyError, match="no family 'rase'.*did you mean race"):
        family_effects(study, "rase")


def test_a_comparison_of_some_settings_leaves_the_others_alone(study: Study):
    (better,) = study.comparisons
    some = dataclasses.replace(better, where={"dataset": ("easy", "hard")})
    effects = family_effects(dataclasses.replace(study, comparisons=(some,)), "race")
    assert [*effects.index] == ["b-better-easy", "b-better-hard"]
