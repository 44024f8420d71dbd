"""The study ``regularisation``: which regulariser helps fine-tuning, and where?"""

from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.regularised import REGULARISERS, regularise, regulariser_recipe
from tlcourse.studies.study import Comparison, Study

FIXED: Settings = {
    "backbone": BACKBONE,
    "image_size": 128,
    "batch_size": 8,
    "steps": 150,
    "tuning_steps": 25,
    "lrs": "3e-05 0.0001 0.0003 0.001",
}
SPLITS = range(10)
ALL_ARMS = tuple(arm for arm in REGULARISERS if arm != "mirrored")
IN_FULL = {"scenes": 20, "elpv": 20}  # with all of these
BY_SIZE = {"scenes": 5, "elpv": 80}  # for the worth in images, beside the sizes above
DIGITS = ("none", "light", "mirrored")  # of 20 a class: does a wrong mirror cost?


def _cells() -> tuple[Settings, ...]:
    """Split by split, so that what has been run is balanced whenever it stops."""

    def cell(dataset: str, per_class: int, split: int, arm: str) -> Settings:
        task: Settings = {"dataset": dataset, "per_class": per_class, "split": split}
        return {**FIXED, **task, "arm": arm, "recipe": regulariser_recipe(arm)}

    arms = (
        *((dataset, size, arm) for dataset, size in IN_FULL.items() for arm in ALL_ARMS),
        *((dataset, size, arm) for dataset, size in BY_SIZE.items() for arm in ("none", "light")),
        *(("digits", 20, arm) for arm in DIGITS),
    )
    return tuple(cell(dataset, size, split, arm) for split in SPLITS for dataset, size, arm in arms)


def _against_none(
    arm: str, family: str, statement: str, source: str, measure: str = "plain"
) -> Comparison:
    where = {"per_class": (20,), "dataset": tuple(IN_FULL)}
    return Comparison(
        f"tuned-{arm}", family, statement, source, {"arm": arm}, {"arm": "none"}, measure, where
    )


COMPARISONS = (
    Comparison(
        "tuned-light", "augmentation", "crop and mirror help fine-tuning", "widespread",
        {"arm": "light"}, {"arm": "none"},
    ),
    Comparison(
        "tuned-heavy", "augmentation", "heavy variation helps fine-tuning more than light",
        "Cubuk et al. 2020, for training from scratch",
        {"arm": "heavy"}, {"arm": "light"}, where={"dataset": tuple(IN_FULL)},
    ),
    Comparison(
        "tuned-mirrored-wrong", "augmentation",
        "where a mirrored image is of no class, mirroring costs accuracy", "widespread",
        {"arm": "none"}, {"arm": "mirrored"}, where={"dataset": ("digits",)},
    ),
    _against_none("mixup", "mixing", "mixup helps fine-tuning", "Zhang et al. 2018"),
    _against_none("cutmix", "mixing", "CutMix helps fine-tuning", "Yun et al. 2019"),
    _against_none("smoothing", "targets", "label smoothing helps", "Szegedy et al. 2016"),
    _against_none("ema", "weights", "averaged weights beat the last ones", "widespread"),
    _against_none("decay", "weights", "weight decay of 1 beats 0.01", "textbook"),
    _against_none("dropout", "head", "dropout of 0.5 before the head helps", "textbook"),
    _against_none("early", "stopping", "stopping early on validation helps", "textbook"),
)  # fmt: skip

REGULARISATION = Study(
    name="regularisation",
    question="Fine-tuning with few images: which regulariser helps, in which domain, and how many "
    "more images is it worth?",
    run=regularise,
    cells=_cells(),
    setting=("dataset", "per_class"),
    matters=0.02,  # as on frozen features
    overlap=1 / 3,
    comparisons=COMPARISONS,
    left_out="Combinations of regularisers, which recipes are made of; training from scratch, "
    "whose gain by augmentation is in transfer_race; more than 150 steps; other strengths of each.",
)
