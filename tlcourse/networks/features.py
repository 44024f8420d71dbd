"""The frozen part of a network runs once over the data; heads then train on what it gave."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlcourse.files import replacing
from tlcourse.hashing import hash_tensors
from tlcourse.modes import evaluating
from tlcourse.networks.backbones import Backbone
from tlcourse.runtime import device, mixed_precision, progress


def extract_features(
    backbone: Backbone,
    images: Tensor,
    *,
    up_to: str = "neck",
    cache: MutableMapping[str, Tensor] | None = None,
    batch_size: int = 32,
) -> Tensor:
    """The output of stage ``up_to`` for every image, on the CPU, computed in eval mode.

    ``images`` is uint8 (N, 3, H, W). With a ``cache`` (a dict in memory or a ``DiskCache``) the
    work is done only once for the same weights, preprocessing, stage, images and kind of device:
    they make up the key, so what was computed from others is never returned. The images must be
    the plain ones: features of augmented images would repeat the same augmentation in every
    epoch. Raises ValueError for images that are not uint8.
    """
    if images.dtype != torch.uint8:
        raise ValueError(
            f"images are {images.dtype}; expected uint8 (N, 3, H, W) from ImageDataset.tensors: "
            "features are computed once, from plain images (augment while training the network)"
        )
    if cache is None:
        return _run(backbone, images, up_to, batch_size)
    key = cache_key(backbone, images, up_to)
    if key not in cache:
        cache[key] = _run(backbone, images, up_to, batch_size)
    return cache[key]


def cache_key(backbone: Backbone, images: Tensor, up_to: str) -> str:
    """SHA-256 of weights and buffers up to the stage, preprocessing, images and kind of device."""
    tensors = {
        f"{stage}.{name}": tensor
        for stage in backbone.stage_names[: backbone.stage_index(up_to) + 1]
        for name, tensor in backbone.get_submodule(stage).state_dict().items()
    }
    # A GPU computes in mixed precision, so its features are not quite the CPU's.
    header = repr((backbone.name, backbone.preprocessing, up_to, device().type))
    return hash_tensors({**tensors, "images": images}, header=header)


class DiskCache(MutableMapping[str, Tensor]):
    """Tensors kept as one safetensors file per key in a folder; a damaged file counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def __getitem__(self, key: str) -> Tensor:
        try:
            return load_file(self._path(key))["features"]
        except (FileNotFoundError, SafetensorError) as error:
            raise KeyError(key) from error

    def __setitem__(self, key: str, features: Tensor) -> None:
        with replacing(self._path(key)) as temporary:
            save_file({"features": features.contiguous()}, temporary)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self.folder.glob("*.safetensors")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _run(backbone: Backbone, images: Tensor, up_to: str, batch_size: int) -> Tensor:
    # Moved before inference mode begins: parameters made inside it could never train again.
    backbone.to(device(), memory_format=torch.channels_last)
    batches = images.split(batch_size)
    with evaluating(backbone), torch.inference_mode(), mixed_precision():
        outputs = [
            backbone.features(batch.to(device()), up_to=up_to).float().cpu()
            for batch in progress(batches, desc="features", total=len(batches))
        ]
    return torch.cat(outputs)  # made outside inference mode, so that heads may train on it
