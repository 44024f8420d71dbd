"""The study ``heads``: what a head on frozen features gains by depth, regularisation and start."""

from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.head_arms import head_recipe
from tlcourse.studies.head_cell import LOGISTIC, head_cell
from tlcourse.studies.study import Comparison, Study

FIXED: Settings = {"backbone": BACKBONE, "image_size": 128, "batch_size": 16, "steps": 200}
SPLITS = tuple(range(10))
# Images of a class to train on: few, more, many. ELPV has two classes, not seven or ten.
SIZES = {"scenes": (5, 20, 80), "digits": (5, 20, 80), "elpv": (10, 40, 320)}
FEW, MORE, MANY = ((5, 10), (20, 40), (80, 320))
LRS = "0.0005 0.002 0.008 0.032"
DECAYS = "0.01 1 10"  # the first while the rate is chosen

ALL_SIZES = (LOGISTIC, "linear", "mlp")
AT_FEW = ("linear_p2", "linear_p5", "mlp_p5", "linear_early", "mlp_early", "best_64", "best_256")
AT_MORE = ("zero", "small", "kaiming", "xavier", "class_means", "mlp_kaiming")
AT_MANY = ("linear_p2", "linear_p5", "mlp_p5", "bottleneck", "mlp_bn")
BY_DECAY = {"decay_0": "0", "decay_0.1": "0.1", "decay_1": "1", "decay_10": "10"}
DECAY_LR = "0.008"


def head_settings(
    dataset: str, per_class: int, split: int, arm: str, lrs: str = LRS, decays: str = DECAYS
) -> Settings:
    """The settings of a cell."""
    return {
        **FIXED,
        "dataset": dataset,
        "per_class": per_class,
        "pool": max(SIZES[dataset]),
        "split": split,
        "arm": arm,
        "recipe": "" if arm == LOGISTIC else head_recipe(arm),
        "lrs": lrs,
        "decays": decays,
    }


def _cells() -> tuple[Settings, ...]:
    """Split by split, so that a part of the record is a smaller study of the same kind."""
    tuned = [
        head_settings(dataset, per_class, split, arm)
        for split in SPLITS
        for dataset, sizes in SIZES.items()
        for per_class, special in zip(sizes, (AT_FEW, AT_MORE, AT_MANY), strict=True)
        for arm in (*ALL_SIZES, *special)
    ]
    fixed = [
        head_settings(dataset, sizes[1], split, arm, DECAY_LR, decay)
        for split in SPLITS
        for dataset, sizes in SIZES.items()
        for arm, decay in BY_DECAY.items()
    ]
    return tuple(sorted([*tuned, *fixed], key=lambda cell: cell["split"]))


def _compare(
    id: str,
    family: str,
    statement: str,
    source: str,
    a: str,
    b: str,
    sizes: tuple[int, ...],
    measure: str = "plain",
) -> Comparison:
    return Comparison(
        id, family, statement, source, {"arm": a}, {"arm": b}, measure, {"per_class": sizes}
    )


COMPARISONS = (
    _compare(
        "head-capacity-scarce", "capacity",
        "with few images a linear head beats one with two hidden layers", "textbook",
        "linear", "mlp", FEW,
    ),
    _compare(
        "head-capacity", "capacity",
        "with many images two hidden layers beat a linear head", "textbook",
        "mlp", "linear", MANY,
    ),
    _compare(
        "bottleneck-costs", "narrow",
        "with many images a bottleneck of 16 units loses against two layers of 128", "this course",
        "mlp", "bottleneck", MANY,
    ),
    _compare(
        "batchnorm-between", "batchnorm",
        "with many images BatchNorm between the layers helps", "textbook",
        "mlp_bn", "mlp", MANY,
    ),
    _compare(
        "dropout-linear", "dropout",
        "with few images dropout of 0.5 before a linear head raises test accuracy", "textbook",
        "linear_p5", "linear", FEW,
    ),
    _compare(
        "dropout-deep", "dropout",
        "with few images dropout of 0.5 in a deep head raises test accuracy", "textbook",
        "mlp_p5", "mlp", FEW,
    ),
    _compare(
        "dropout-linear-many", "dropout-many",
        "with many images dropout of 0.5 before a linear head costs accuracy", "textbook",
        "linear", "linear_p5", MANY,
    ),
    _compare(
        "dropout-deep-many", "dropout-many",
        "with many images dropout of 0.5 in a deep head costs accuracy", "textbook",
        "mlp", "mlp_p5", MANY,
    ),
    _compare(
        "dropout-gap", "gap",
        "with many images dropout of 0.5 narrows a deep head's gap from training to test",
        "textbook", "mlp", "mlp_p5", MANY, "gap",
    ),
    _compare(
        "decay-norm", "decay-norm", "weight decay of 10 leaves smaller weights than none",
        "textbook", "decay_0", "decay_10", MORE, "norm",
    ),
    _compare(
        "decay-gap", "decay", "weight decay of 10 narrows the gap from training to test",
        "textbook", "decay_0", "decay_10", MORE, "gap",
    ),
    _compare(
        "decay-accuracy", "decay", "weight decay of 10 raises test accuracy", "textbook",
        "decay_10", "decay_0", MORE,
    ),
    _compare(
        "early-linear", "early",
        "with few images a linear head gains by stopping early", "textbook",
        "linear_early", "linear", FEW,
    ),
    _compare(
        "early-deep", "early", "with few images a deep head gains by stopping early", "textbook",
        "mlp_early", "mlp", FEW,
    ),
    _compare(
        "selection-64", "selection",
        "with few images the 64 best features beat all 1,280", "textbook",
        "best_64", "linear", FEW,
    ),
    _compare(
        "selection-256", "selection",
        "with few images the 256 best features beat all 1,280", "textbook",
        "best_256", "linear", FEW,
    ),
    _compare(
        "start-zero", "starts", "a linear head from zero ends better than from torch's start",
        "textbook", "zero", "linear", MORE,
    ),
    _compare(
        "start-small", "starts",
        "a linear head from a hundredth ends better than from torch's start",
        "textbook", "small", "linear", MORE,
    ),
    _compare(
        "start-kaiming", "starts",
        "a linear head from Kaiming's start ends worse than from torch's", "textbook",
        "linear", "kaiming", MORE,
    ),
    _compare(
        "start-class-means", "starts",
        "a linear head from the class means ends better than from torch's start", "this course",
        "class_means", "linear", MORE,
    ),
    _compare(
        "start-deep-kaiming", "starts",
        "a deep head from Kaiming's start ends better than from torch's", "textbook",
        "mlp_kaiming", "mlp", MORE,
    ),
    _compare(
        "start-fall", "steady",
        "from Kaiming's start validation accuracy falls farther on the way than from zero",
        "textbook", "kaiming", "zero", MORE, "fall",
    ),
    _compare(
        "head-recipe", "reference",
        "a tuned linear head falls behind penalised logistic regression", "this course",
        LOGISTIC, "linear", (*FEW, *MORE, *MANY),
    ),
)  # fmt: skip

HEADS = Study(
    name="heads",
    question="On frozen features: what do a head's depth, regularisation and start decide, when "
    "all heads get the same steps and the same tuning?",
    run=head_cell,
    cells=_cells(),
    setting=("dataset", "per_class"),
    matters=0.03,  # three points of accuracy, or of the gap
    overlap=1 / 3,
    comparisons=COMPARISONS,
    left_out="Cutouts: 14 test images a split tell nothing. Arms run only at the sizes that they "
    "are said to be for. Raw features, as a network's head sees them; standardised for logistic "
    "regression only. Other backbones, other image sizes, augmentation.",
)
