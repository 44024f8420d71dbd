"""Reports find the effects that were planted, in the setting where they were."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from tlcourse.errors import StudyError
from tlcourse.evidence import decide_crossed
from tlcourse.studies import STUDIES, Comparison, Study, as_text, findings, forest, paired
from tlcourse.studies.findings import findings_alone
from tlcourse.studies.outcomes import packed

SPLITS = 12
PLANTED = {"gains": 0.10, "loses": -0.10, "same": 0.0}
A, B = {"arm": "a"}, {"arm": "b"}


def never(*, task: str, per_class: int, arm: str, split: int) -> dict[str, float]:
    """No cell of these tests is run."""
    raise AssertionError


STUDY = Study(
    name="planted",
    question="Which effects were planted?",
    run=never,
    cells=tuple(
        {"task": task, "per_class": per_class, "arm": arm, "split": split}
        for task in PLANTED
        for per_class in (5, 20)
        for arm in ("a", "b")
        for split in range(SPLITS)
    ),
    setting=("task", "per_class"),
    matters=0.03,
    overlap=1 / 3,
    comparisons=(
        Comparison("a-b", "arms", "a beats b", "us", A, B, where={"per_class": (5,)}),
        Comparison(
            "more", "size", "20 beat 5", "us", {"per_class": 20}, {"per_class": 5},
            where={"arm": ("b",)},
        ),
        Comparison("tint", "shift", "plain beats tint", "us", B, B, measure_b="tint"),
    ),
    left_out="all else",
)  # fmt: skip


@pytest.fixture
def record():
    """Splits differ by ten points, which pairing takes away; the rest is a hundredth of it."""
    table = pd.DataFrame([dict(cell) for cell in STUDY.cells])
    generator = np.random.default_rng(0)
    of_split = generator.normal(0, 0.1, SPLITS)[table["split"]]
    noise = generator.normal(0, 0.005, len(table))
    effect = table["task"].map(PLANTED) * (table["arm"] == "a") + 0.07 * (table["per_class"] == 20)
    table["plain"] = 0.5 + of_split + noise + effect
    table["tint"] = table["plain"] - 0.2 - generator.normal(0, 0.01, len(table))
    return table


def test_planted_effects_are_found_with_their_signs(record):
    found = {
        f.setting["task"]: f.effect for f in findings(STUDY, record) if f.comparison.id == "a-b"
    }
    assert {task: effect.verdict for task, effect in found.items()} == {
        "gains": "confirmed", "loses": "refuted", "same": "equal",
    }  # fmt: skip
    for task, planted in PLANTED.items():
        assert found[task].mean == pytest.approx(planted, abs=0.01)
        assert found[task].low < planted < found[task].high


def test_a_planted_wrong_sign_turns_the_verdict(record):
    swapped = record.assign(arm=record["arm"].map({"a": "b", "b": "a"}))
    found = [f for f in findings(STUDY, swapped) if f.comparison.id == "a-b"]
    verdicts = {f.setting["task"]: f.effect.verdict for f in found}
    assert verdicts["gains"] == "refuted" and verdicts["loses"] == "confirmed"


def test_intervals_are_corrected_for_overlap_and_p_values_by_holm(record):
    found = [f for f in findings(STUDY, record) if f.comparison.family == "arms"]
    p = []
    for finding in found:
        rows = record[(record["task"] == finding.setting["task"]) & (record["per_class"] == 5)]
        a, b = (rows[rows["arm"] == arm].sort_values("split")["plain"].to_numpy() for arm in "ab")
        runs = a - b
        error = runs.std(ddof=1) * np.sqrt(1 / SPLITS + 1 / 3)  # Nadeau and Bengio
        margin = scipy.stats.t.ppf(0.975, SPLITS - 1) * error
        assert finding.effect.low == pytest.approx(runs.mean() - margin)
        p.append(2 * scipy.stats.t.sf(abs(runs.mean()) / error, SPLITS - 1))
    assert [f.effect.p for f in found] == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_sizes_and_measures_are_compared_in_the_settings_that_are_left(record):
    found = findings(STUDY, record)
    more = [f for f in found if f.comparison.id == "more"]
    assert [f.setting for f in more] == [{"task": task} for task in sorted(PLANTED)]
    assert all(f.effect.mean == pytest.approx(0.07, abs=0.01) for f in more)
    tint = [f for f in found if f.comparison.id == "tint"]
    assert len(tint) == 6 and all(f.effect.mean == pytest.approx(0.2, abs=0.02) for f in tint)


def test_runs_without_a_partner_are_left_out_and_two_runs_are_no_finding(record):
    lost = (record["arm"] == "a") & (record["task"] == "gains") & (record["split"] > 1)
    lost |= (record["arm"] == "b") & (record["task"] == "loses") & (record["split"] == 4)
    found = [f for f in findings(STUDY, record[~lost]) if f.comparison.id == "a-b"]
    assert {f.setting["task"]: f.effect.runs for f in found} == {
        "loses": SPLITS - 1,
        "same": SPLITS,
    }


def test_cells_that_the_declaration_does_not_tell_apart_are_refused(record):
    twice = pd.concat([record, record.assign(plain=0.0)])
    with pytest.raises(StudyError, match="`where` has to choose"):
        findings(STUDY, twice)


def test_the_text_names_every_comparison_and_what_is_not_measured(record):
    text = as_text(STUDY, findings(STUDY, record.drop(columns="tint")))
    assert "[arms] a beats b" in text and "(tint: not measured yet)" in text
    assert "gains " in text and "confirmed" in text and "Left out: all else" in text
    assert "(a-b: not measured yet)" in as_text(STUDY, [])


def test_the_forest_has_a_row_for_each_finding_and_says_what_it_shows(record):
    found = findings(STUDY, record)
    figure, alt = forest(found, title="Planted", effect="difference")
    assert len(figure.axes[0].get_yticks()) == len(found) == 12
    assert "1 refuted" in alt and "a beats b" in alt
    figure, alt = forest(found, title="Planted", effect="difference", interim=True)
    assert "an interim look" in alt and "refuted" not in alt and not figure.legends
    with pytest.raises(ValueError, match="three runs"):
        forest([], title="", effect="")


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_declared_comparisons_pair_every_run_of_the_declared_cells(study):
    table = pd.DataFrame([dict(cell) for cell in study.cells])
    for comparison in study.comparisons:
        measures = {comparison.measure, comparison.measure_b or comparison.measure}
        pairs = paired(table.assign(**dict.fromkeys(measures, 0.5)), study, comparison)
        arm = comparison.a
        runs = table.loc[(table[list(arm)] == pd.Series(arm)).all(axis=1), study.over].nunique()
        settings = pairs.groupby(list(pairs.index.names[:-1]))
        assert set(settings.size()) == {runs}, comparison.id


def test_answers_for_each_image_give_the_interval_over_splits_and_images(record):
    """Of each image in each split; where two cells kept those of other images, of splits only."""
    generator = np.random.default_rng(1)
    groups = [generator.permutation(80)[:40] for _ in range(SPLITS)]
    share = 0.6 + 0.2 * (record["arm"] == "a").to_numpy()
    right = generator.random((len(record), 40)) < share[:, None]
    splits = record["split"]
    kept = [{"plain": packed(r, groups[split])} for r, split in zip(right, splits, strict=True)]
    record = record.assign(plain=right.mean(axis=1), outcomes=kept)
    same = record[(record["task"] == "same") & (record["per_class"] == 5)]
    a, b = (right[same.index[same["arm"] == arm]].astype(float) for arm in "ab")
    names = [split.tolist() for split in groups]
    expected = decide_crossed((a - b).tolist(), names, matters=STUDY.matters)
    found = _a_b(record)
    assert found["same"].effect == expected
    assert found["same"].differences == pytest.approx((a - b).mean(axis=1))

    others = record["outcomes"].copy()
    others.iloc[0] = {"plain": packed(right[0], groups[1])}  # of gains
    again = _a_b(record.assign(outcomes=others))
    assert again["same"].effect == expected and again["gains"].effect.overlap == STUDY.overlap


def _a_b(record):
    return {f.setting["task"]: f for f in findings_alone(STUDY, record) if f.comparison.id == "a-b"}


def test_a_study_may_run_over_seeds(record):
    seeds = replace(STUDY, over="seed")
    assert findings(seeds, record.rename(columns={"split": "seed"}))
