"""The study ``frozen_features``: what can be had of a network without training it, and of none?"""

from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.frozen import ARMS, classify_frozen
from tlcourse.studies.study import Comparison, Study

SPLITS = range(10)
SIZES = {  # training images of each class; 0: all
    "scenes": (5, 20, 80, 160),
    "elpv": (5, 20, 80, 320),
    "digits": (5, 20, 80),
    "rendered_digits": (5, 20, 60),
    "cutouts": (5, 0),
}
FAR = ("elpv", "digits", "rendered_digits")
NEAR = ("scenes", "cutouts")
LARGER = {  # sets that have more to be seen in 224 px: digits have 8
    "scenes": (5, 20),
    "elpv": (5, 20),
    "cutouts": (5, 0),
}
MOST = {"scenes": 20, "elpv": 20, "cutouts": 0}  # described at 224 px: others are never drawn
LARGER_ARMS = ("stage3", "stage4", "neck")
SHIFTED = 200

CS231N = "Stanford CS231n, Transfer Learning"
AT_128 = {"image_size": (128,)}
FEW = {**AT_128, "per_class": (5, 20)}


def _cells() -> tuple[Settings, ...]:
    def cell(dataset: str, per_class: int, split: int, arm: str, **others: int) -> Settings:
        return {
            "dataset": dataset,
            "per_class": per_class,
            "split": split,
            "arm": arm,
            "backbone": BACKBONE,
            "pool": max(SIZES[dataset]),
            **others,
        }

    at_128 = [
        cell(dataset, per_class, split, arm, image_size=128, shifted=SHIFTED, most=0)
        for split in SPLITS
        for dataset, sizes in SIZES.items()
        for per_class in sizes
        for arm in ARMS
    ]
    at_224 = [
        cell(dataset, per_class, split, arm, image_size=224, shifted=0, most=MOST[dataset])
        for split in SPLITS
        for dataset, sizes in LARGER.items()
        for per_class in sizes
        for arm in LARGER_ARMS
    ]
    return (*at_128, *at_224)


def _which_stage() -> tuple[Comparison, ...]:
    neck, stage3 = {"arm": "neck"}, {"arm": "stage3"}
    return (
        Comparison(
            "frozen-earlier-far",
            "which stage",
            "Few images, far from ImageNet: stage3's features beat the last ones",
            CS231N,
            stage3,
            neck,
            where={**FEW, "dataset": FAR},
        ),
        Comparison(
            "frozen-last-near",
            "which stage",
            "Few images, near ImageNet: the last features beat stage3's",
            CS231N,
            neck,
            stage3,
            where={"image_size": (128,), "per_class": (0, 5, 20), "dataset": NEAR},
        ),
        Comparison(
            "frozen-chosen-stage",
            "choice of stage",
            "A stage chosen on validation beats the last one",
            "this course",
            {"arm": "chosen"},
            neck,
            where=AT_128,
        ),
        Comparison(
            "frozen-late-together",
            "choice of stage",
            "The last three stages together beat the one chosen on validation",
            "this course",
            {"arm": "late"},
            {"arm": "chosen"},
            where=AT_128,
        ),
    )


def _simpler() -> tuple[Comparison, ...]:
    hog, neck = {"arm": "hog"}, {"arm": "neck"}
    return (
        Comparison(
            "frozen-hog-last",
            "hand-made features",
            "Few images, far from ImageNet: HOG beats the network's last features",
            "widespread: hand-made features for small, special sets",
            hog,
            neck,
            where={**FEW, "dataset": FAR},
        ),
        Comparison(
            "frozen-hog-chosen",
            "hand-made features",
            "Few images, far from ImageNet: HOG beats the network's best stage",
            "widespread: hand-made features for small, special sets",
            hog,
            {"arm": "chosen"},
            where={**FEW, "dataset": FAR},
        ),
        Comparison(
            "frozen-prototypes",
            "no training at all",
            "Five images of each class: class means beat logistic regression",
            "Snell et al. 2017, for networks trained for it",
            {"arm": "prototypes"},
            neck,
            where={**AT_128, "per_class": (5,)},
        ),
        Comparison(
            "frozen-neighbours",
            "no training at all",
            "Five images of each class: nearest neighbours beat logistic regression",
            "widespread",
            {"arm": "knn"},
            neck,
            where={**AT_128, "per_class": (5,)},
        ),
    )


def _more() -> tuple[Comparison, ...]:
    """Four times as many labels, and images of ImageNet's size."""
    return (
        *(
            Comparison(
                f"frozen-labels-{more}",
                "four times the labels",
                f"{more} labelled images of each class beat {less}, on the chosen stage.",
                "this course",
                {"per_class": more},
                {"per_class": less},
                where={**AT_128, "arm": ("chosen",)},
            )
            for less, more in ((5, 20), (20, 80), (80, 320))
        ),
        Comparison(
            "frozen-pixels",
            "larger images",
            "The last features of images of 224 px beat those of 128 px",
            "this course",
            {"image_size": 224},
            {"image_size": 128},
            where={"arm": ("neck",), "dataset": tuple(LARGER), "per_class": (0, 5, 20)},
        ),
    )


def _shifts() -> tuple[Comparison, ...]:
    return tuple(
        Comparison(
            f"frozen-{shift}",
            "shift",
            f"The probe of the last features is better on plain images than under {shift}",
            "this course",
            {"arm": "neck"},
            {"arm": "neck"},
            measure="plain_same",
            measure_b=shift,
            where={**AT_128, "per_class": (0, 20)}
            | ({"dataset": ("scenes",)} if shift == "background" else {}),
        )
        for shift in ("blur", "tint", "noise", "background")
    )


FROZEN_FEATURES = Study(
    name="frozen_features",
    question="What can be had of a network without training it, of which stage, and of none?",
    run=classify_frozen,
    cells=_cells(),
    setting=("dataset", "per_class", "image_size"),
    matters=0.03,  # three points of accuracy
    overlap=1 / 3,  # a quarter of each set is tested on, the rest is drawn from
    comparisons=(*_which_stage(), *_simpler(), *_more(), *_shifts()),
    left_out=(
        "ELPV's mono- and polycrystalline cells apart; more than 320 images of a class; at 224 px "
        "the digits, who have 8 px of their own, larger sizes, the shifts and all arms but three; "
        "other networks. Cutouts have 160 px of their own."
    ),
)
