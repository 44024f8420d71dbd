"""The study ``few_images``: with few labels, what do other images add, and when are few few?"""

from tlcourse.advice.sweeps import Settings
from tlcourse.networks.backbones import BACKBONE
from tlcourse.studies.few_images_cell import MADE, classify_few
from tlcourse.studies.study import Comparison, Study

SPLITS = range(10)
POOL = {"scenes": 80, "elpv": 160, "digits": 60, "rendered_digits": 60}
FEW = 5  # labelled images of each class
TOTAL = {("scenes", 2): 21, ("scenes", 7): 6, ("digits", 2): 20, ("digits", 10): 4}  # 42 and 40


def cell(dataset: str, arm: str, per_class: int, split: int, **others: int) -> Settings:
    """The settings of a cell."""
    return {
        "dataset": dataset,
        "per_class": per_class,
        "objects": others.get("objects", 0),
        "classes": others.get("classes", 0),
        "split": split,
        "arm": arm,
        "image_size": 128,
        "backbone": BACKBONE,
        "pool": POOL[dataset],
    }


def _of_split(split: int) -> list[Settings]:
    return [
        *(
            cell(dataset, arm, FEW, split)
            for dataset in ("elpv", "digits", "rendered_digits", "scenes")
            for arm in ("labels", "self_training", "spreading")
        ),
        *(cell("digits", arm, FEW, split) for arm in MADE),
        cell("digits", "labels", 20, split),
        cell("digits", "matched_too", 20, split),
        *(
            cell("scenes", "scenes", per_class, split, objects=objects)
            for objects in (1, 4)
            for per_class in (20, 80)
        ),
        *(
            cell(dataset, "labels", per_class, split, classes=classes)
            for (dataset, classes), per_class in TOTAL.items()
        ),
        *(
            cell(dataset, arm, 20, split, classes=2)
            for dataset, arm in (
                ("scenes", "labels"),
                ("scenes", "unequal"),
                ("digits", "unequal"),  # the equal ones are above
                ("elpv", "labels"),
                ("elpv", "unequal"),
            )
        ),
    ]


LABELS = {"arm": "labels"}
PLAIN = {"classes": (0,), "objects": (0,)}

OBJECTS = (
    Comparison(
        "more-objects",
        "more of the same",
        "as many scenes of four times the objects beat scenes of one object a class",
        "this course",
        {"objects": 4},
        {"objects": 1},
        where={"arm": ("scenes",), "classes": (0,)},
    ),
    Comparison(
        "more-scenes",
        "more of the same",
        "four times the scenes of the same objects beat fewer of them",
        "this course",
        {"per_class": 80},
        {"per_class": 20},
        where={"arm": ("scenes",), "classes": (0,)},
    ),
    Comparison(
        "objects-over-scenes",
        "more of the same",
        "20 scenes a class of four objects beat 80 scenes of one",
        "this course",
        {"objects": 4, "per_class": 20},
        {"objects": 1, "per_class": 80},
        where={"arm": ("scenes",), "classes": (0,)},
    ),
)
UNLABELLED = tuple(
    Comparison(
        f"few-{name}",
        "unlabelled images",
        f"unlabelled images of the pool, by {text}, help five labelled ones a class",
        "widespread: semi-supervised learning for small sets",
        {"arm": arm},
        LABELS,
        where={**PLAIN, "per_class": (FEW,)},
    )
    for arm, name, text in (
        ("self_training", "self-training", "self-training"),
        ("spreading", "spreading", "label spreading"),
    )
)
SYNTHETIC = (
    Comparison(
        "few-rendered-too",
        "made images",
        "digits drawn from fonts, besides the labelled ones, help with handwritten digits",
        "widespread: synthetic data for small sets",
        {"arm": "rendered_too"},
        LABELS,
        where={**PLAIN, "dataset": ("digits",), "per_class": (FEW,)},
    ),
    Comparison(
        "few-matched-too",
        "made images",
        "such digits as large and as coarse as handwritten ones help, besides the labelled ones",
        "widespread: synthetic data for small sets",
        {"arm": "matched_too"},
        LABELS,
        where={**PLAIN, "dataset": ("digits",)},
    ),
    Comparison(
        "few-matched-instead",
        "made images",
        "such digits, without any handwritten one, beat five handwritten ones a class",
        "this course",
        {"arm": "matched"},
        LABELS,
        where={**PLAIN, "dataset": ("digits",), "per_class": (FEW,)},
    ),
)
BOUNDS = (
    *(
        Comparison(
            f"many-classes-{dataset}",
            "when few are few",
            f"as many images in all lie farther behind the pool with {many} classes than with 2",
            "textbook: a small set of many classes may be a medium one of two",
            {"classes": many, "per_class": TOTAL[dataset, many]},
            {"classes": 2, "per_class": TOTAL[dataset, 2]},
            measure="shortfall",
            where={"arm": ("labels",), "dataset": (dataset,), "objects": (0,)},
        )
        for dataset, many in (("scenes", 7), ("digits", 10))
    ),
    Comparison(
        "equal-classes",
        "when few are few",
        "20 and 20 images of two classes beat 36 and 4",
        "textbook: bounds depend on the balance of classes",
        LABELS,
        {"arm": "unequal"},
        where={"classes": (2,), "per_class": (20,), "objects": (0,)},
    ),
)

FEW_IMAGES = Study(
    name="few_images",
    question="With few labels: what do other images add, and when are few few?",
    run=classify_few,
    cells=tuple(settings for split in SPLITS for settings in _of_split(split)),
    setting=("dataset", "per_class", "objects", "classes"),
    matters=0.03,  # three points of accuracy
    overlap=1 / 3,  # a quarter of each set is tested on, the rest is drawn from
    comparisons=(*OBJECTS, *UNLABELLED, *SYNTHETIC, *BOUNDS),
    left_out=(
        "Networks that learn: all is logistic regression on stage3 or neck, chosen on validation, "
        "which has some 90 labels more than the training. Self-training and label spreading have "
        "one setting each. Made images are digits of fonts alone; larger pools of them, and more "
        "than four objects a class (the rarest class has no more), are not there."
    ),
)
