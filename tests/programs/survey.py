"""Every classification network of timm and torchvision: is what the course promises of it so?

``python tests/programs/survey.py FILE [PART]`` appends a line of JSON for each to FILE and goes on
where it was; of PART 0/2 and 1/2 each does one half. ``report`` counts them.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from tlcourse.diagnosis.cam import grad_cam
from tlcourse.networks.backbones import Backbone, load_backbone, resolve
from tlcourse.networks.stages import split_into_stages
from tlcourse.own_images.export import load_network, save_model
from tlcourse.own_images.load_model import build, load_model
from tlcourse.tuning.freezing import freeze

REAL = 60  # millions of parameters; larger ones are taken apart without values
PROMISES = {
    "loads": "load",
    "four": "have four parts or more",
    "logits": "have the library's logits, from parts and from the file",
    "freezes": "freeze what they promise, and nothing else",
    "gradients": "pass gradients to all that is not frozen",
    "map": "give a Grad-CAM map",
    "saved": "are saved and loaded exactly",
}
Row = dict[str, Any]


def library_names() -> list[str]:
    """As ``load_backbone`` takes them: torchvision's and timm's."""
    tv = torchvision.models.list_models(module=torchvision.models)
    return [*tv, *(f"timm/{name}" for name in timm.list_models())]


def without_values(name: str) -> nn.Module:
    """On the meta device, but for those that compute their sizes by tensors."""
    try:
        with torch.device("meta"):
            return build(*resolve(name), 1000)
    except (NotImplementedError, RuntimeError):
        return build(*resolve(name), 1000).to("meta")


def survey(name: str) -> Row:
    """Which promises hold, and why not where one does not."""
    network = without_values(name)
    size = sum(p.numel() for p in network.parameters())
    row: Row = {"name": name, "millions": round(size / 1e6, 2)}
    try:
        if row["millions"] <= REAL:
            _real(name, row)
        else:
            _without_values(network, row)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        row["reason"] = f"{type(error).__name__}: {error}"[:300]
    return row


def _without_values(network: nn.Module, row: Row) -> None:
    stages = split_into_stages(network)
    row |= {"loads": True, "stages": list(stages), "four": len(stages) >= 4}
    held = [id(p) for stage in stages.values() for p in stage.parameters()]
    row["freezes"] = len(held) == len(set(held))


def _real(name: str, row: Row) -> None:
    backbone = load_backbone(name, pretrained=False, num_classes=7)
    stages = backbone.stage_names
    row |= {"loads": True, "stages": stages, "four": len(stages) >= 4}
    _shake(backbone)
    size = backbone.preprocessing.image_size
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (2, 3, size, size), generator=generator, dtype=torch.uint8)
    with TemporaryDirectory() as folder, torch.inference_mode():
        sizes = {"image_size": size, "resize_size": size, "interpolation": "bicubic"}
        save_model(backbone, Path(folder), {"classes": list("abcdefg"), **sizes})
        model, _ = load_model(Path(folder))
        wanted, found = model(images), backbone(images)
        row["saved"] = torch.equal(load_network(Path(folder))[0](images), found)
    difference = (wanted - found).abs().max() / wanted.abs().max()
    row |= {"difference": difference.item(), "logits": bool(difference <= 1e-3)}
    row["freezes"], row["gradients"] = _freezes(backbone, images, row)
    row["map"] = any(_maps(backbone, images, stage) for stage in _with_maps(backbone))


def _shake(backbone: Backbone) -> None:
    """Move all weights, so that none is 0, 1 or a layer scale that hides a part."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in backbone.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p += noise * (0.1 if p.ndim < 2 or p.numel() < 4096 else 0.3 * p.std())
        for name, buffer in backbone.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.1 * torch.randn(buffer.shape, generator=generator)
    backbone.train().eval()  # some keep what they computed of their weights


def _freezes(backbone: Backbone, images: torch.Tensor, row: Row) -> tuple[bool, bool]:
    """Whether the first half stays without gradients, and all of the rest gets them."""
    names = backbone.stage_names[:-1]
    first = names[: (len(names) + 1) // 2]
    freeze(backbone, up_to=first[-1])
    backbone.train()
    with torch.enable_grad():
        backbone(images).square().sum().backward()
    backbone.eval()
    named = dict(backbone.named_parameters())
    frozen = {name for name in named if name.partition(".")[0] in first}
    promised = {name for name, p in named.items() if not p.requires_grad} == frozen
    without = {name for name, p in named.items() if p.grad is None}
    if without - frozen:
        row["without gradient"] = sorted(without - frozen)[:5]
    return promised and frozen <= without, without == frozen


def _with_maps(backbone: Backbone) -> Iterator[str]:
    """The last stage; in a body the submodules, from behind."""
    yield from [name for name in backbone.stage_names if name.startswith("stage")][-1:]
    if "body" in backbone.stage_names:
        yield from [name for name, _ in backbone.named_modules() if name.startswith("body.")][::-1]


def _maps(backbone: nn.Module, images: torch.Tensor, stage: str) -> bool:
    try:
        maps = grad_cam(backbone, images, torch.tensor([0, 1]), stage=stage)
    except Exception:  # noqa: BLE001 - a module without a map, or that does not run
        return False
    return maps.ndim == 3 and min(maps.shape[1:]) > 1 and bool(maps.isfinite().all())


def tried(row: Row) -> list[str]:
    """The promises that can be looked at; without values, only what a network is made of."""
    return list(PROMISES) if row["millions"] <= REAL else ["loads", "four", "freezes"]


def report(rows: list[Row]) -> str:
    """How many networks keep each promise, and which do not."""
    real = [row for row in rows if row["millions"] <= REAL]
    lines = [f"{len(rows)} networks, {len(real)} of them run", ""]
    for promise, text in PROMISES.items():
        among = rows if promise in ("loads", "four") else real
        held = sum(bool(row.get(promise)) for row in among)
        lines.append(f"{held:5} of {len(among):4} {text} ({held / len(among):.1%})")
    kept = sum(all(row.get(p) for p in tried(row)) for row in rows)
    lines.append(f"{kept:5} of {len(rows):4} all that was tried ({kept / len(rows):.1%})")
    whole = [row["name"] for row in rows if row.get("loads") and not row["four"]]
    refused = [row["name"] for row in rows if not row.get("loads")]
    lines += ["", "Body and head only:", *_families(whole), "", "Refused:", *_families(refused)]
    return "\n".join(lines)


def _families(names: list[str]) -> list[str]:
    """Names that start alike as one line with their number."""
    counts = Counter(re.split(r"[\d_]", name.removeprefix("timm/"))[0] for name in names)
    return [f"  {family} {count}" for family, count in sorted(counts.items())]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    part, parts = map(int, (sys.argv[2] if len(sys.argv) > 2 else "0/1").split("/"))
    done = {}
    if path.exists():
        done = {row["name"]: row for row in map(json.loads, path.read_text().splitlines())}
    torch.set_num_threads(1)
    with path.open("a") as file:
        for name in library_names()[part::parts]:
            if name not in done:
                done[name] = survey(name)
                file.write(json.dumps(done[name]) + "\n")
                file.flush()
    print(report(list(done.values())))
