"""Further tasks from the images that are here: other labels, backgrounds, light, kinds of cells.

They are no new sources: a task whose images another one uses says little that is new about a data
set that nobody has seen. ``source_of`` names what they share; whoever counts counts sources.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tlcourse.datasets import checks

ANIMALS = ("birds", "fish", "invertebrates", "mammals")
PLANTS = ("flowers", "fruit", "vegetables")


@dataclass(frozen=True)
class SceneVariant:
    """How a task of scenes differs from the plain one.

    ``names`` maps a cutout's class to the task's, where a class that is missing has no part in it;
    empty leaves all as they are. ``background`` is behind all objects, ``other`` in the test under
    another background. ``tinted`` has all images under a warm lamp.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    background: Callable[[np.random.Generator, int], Image.Image] | None = None
    other: Callable[[np.random.Generator, int], Image.Image] | None = checks
    tinted: bool = False

    def relabelled(self, class_names: tuple[str, ...]) -> np.ndarray:
        """The task's label of each of the cutouts' classes, -1 where it has no part; int64 (C,).

        Examples
        --------
        >>> SCENES["scenes_plants"].relabelled(("birds", "flowers", "fruit"))
        array([-1,  0,  1])
        """
        names = self.names or {name: name for name in class_names}
        new = sorted({names[name] for name in class_names if name in names})
        return np.array([new.index(names[name]) if name in names else -1 for name in class_names])


SCENES = {
    "scenes": SceneVariant(),
    "scenes_checks": SceneVariant(background=checks, other=None),
    "scenes_tinted": SceneVariant(tinted=True),
    "scenes_animals": SceneVariant({name: name for name in ANIMALS}),
    "scenes_plants": SceneVariant({name: name for name in PLANTS}),
    "scenes_kingdoms": SceneVariant(
        dict.fromkeys(ANIMALS, "animal") | dict.fromkeys(PLANTS, "plant")
    ),
}
_SHARED = {"cutouts": "cutouts", **dict.fromkeys(SCENES, "cutouts")}
_SHARED |= dict.fromkeys(("elpv_random", "elpv_mono", "elpv_poly"), "elpv")


def source_of(dataset: str) -> str:
    """What a task's images are made of: tasks of one source share images.

    Examples
    --------
    >>> source_of("scenes_plants"), source_of("elpv_mono"), source_of("digits")
    ('cutouts', 'elpv', 'digits')
    """
    return _SHARED.get(dataset, dataset)
