"""The study ``augmented_features``: what does extraction gain by several views?"""

from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.augmented import classify_augmented
from tlcourse.studies.study import Comparison, Study

FIXED: Settings = {"backbone": BACKBONE, "image_size": 128}
SPLITS = range(10)
# Training images of each class. At the first two sizes images are varied; the third, four times
# as many again, tells what more images are worth there.
SIZES = {"scenes": (5, 20, 80), "elpv": (10, 40, 160), "digits": (5, 20, 80)}
FEW = (5, 20, 10, 40)
POLICIES = ("none", "mirrored", "light", "heavy")

NONE, MIRRORED = {"augmentation": "none"}, {"augmentation": "mirrored"}
LIGHT, HEAVY = {"augmentation": "light"}, {"augmentation": "heavy"}
PHOTOGRAPHS = {"dataset": ("scenes", "elpv"), "per_class": FEW}
DIGITS = {"dataset": ("digits",), "per_class": FEW}
ALL = {"per_class": FEW}
KRIZHEVSKY = "Krizhevsky et al. 2012"


def _cells() -> tuple[Settings, ...]:
    """Split by split, so that what has been run is balanced whenever it stops."""
    return tuple(
        {
            **FIXED,
            "dataset": dataset,
            "per_class": per_class,
            "most": max(used),
            "pool": max(sizes),
            "split": split,
            "augmentation": augmentation,
        }
        for split in SPLITS
        for dataset, sizes in SIZES.items()
        for augmentation in POLICIES
        for used in [sizes if augmentation == "none" else sizes[:2]]
        for per_class in used
    )


COMPARISONS = (
    Comparison(
        "views-light", "policy",
        "features of eight crops, mirrored or not, beat those of the image alone", "widespread",
        LIGHT, NONE, where=ALL,
    ),
    Comparison(
        "views-heavy", "policy",
        "features of eight heavy variations beat those of eight light ones",
        "Cubuk et al. 2020, for training from scratch",
        HEAVY, LIGHT, where=ALL,
    ),
    Comparison(
        "views-mirrored", "mirror",
        "features of the image and its mirror image beat those of the image alone", KRIZHEVSKY,
        MIRRORED, NONE, where=PHOTOGRAPHS,
    ),
    Comparison(
        "views-mirrored-wrong", "mirror",
        "where a mirrored image is of no class, training on mirror images costs accuracy",
        "widespread",
        NONE, MIRRORED, where=DIGITS,
    ),
    Comparison(
        "test-two-ways", "views of the test",
        "an answer from the image and its mirror image beats one from the image alone", KRIZHEVSKY,
        NONE, NONE, "two_ways", PHOTOGRAPHS, "plain",
    ),
    Comparison(
        "test-two-ways-wrong", "views of the test",
        "where a mirrored image is of no class, to ask its mirror image, too, costs accuracy",
        "this course",
        NONE, NONE, "plain", DIGITS, "two_ways",
    ),
    Comparison(
        "test-five-crops", "views of the test",
        "an answer from five crops beats one from the whole image", KRIZHEVSKY,
        NONE, NONE, "five_crops", ALL, "plain",
    ),
    Comparison(
        "enlarged-after-crops", "size of the test",
        "a probe that saw crops names test images better that are enlarged by a quarter",
        "Touvron et al. 2019",
        LIGHT, LIGHT, "enlarged", ALL, "plain",
    ),
    Comparison(
        "enlarged-without", "size of the test",
        "a probe that saw whole images names test images worse that are enlarged by a quarter",
        "Touvron et al. 2019",
        NONE, NONE, "plain", ALL, "enlarged",
    ),
)  # fmt: skip

AUGMENTED_FEATURES = Study(
    name="augmented_features",
    question="On frozen features: what is gained by several views of the training images, and "
    "of the test images, in which domain and with how many images?",
    run=classify_augmented,
    cells=_cells(),
    setting=("dataset", "per_class"),
    matters=0.02,  # two points: views are cheap here, their gain need not be large
    overlap=1 / 3,  # a quarter of each set is tested on, the rest is drawn from
    comparisons=COMPARISONS,
    left_out=(
        "Variation at the largest size, where eight views of each image are 3,000 to 6,000 passes; "
        "other numbers of views; colour alone; stages before the neck; fine-tuning, which is the "
        "study regularisation's. Mirror images of digits are of no class, so light and heavy do "
        "not mirror these."
    ),
)
