"""One HTML page and one model card about a trained model: how good, where wrong, how sure."""

import base64
import datetime
import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure
from scipy.stats import binomtest
from sklearn.metrics import ConfusionMatrixDisplay, classification_report

from tlcourse.book.plotting import PALETTE, Picture
from tlcourse.diagnosis.calibration import BINS, calibration_error, reliability
from tlcourse.diagnosis.maps import explain
from tlcourse.files import replacing
from tlcourse.own_images.fitting import Fitted

WORST = 8
MAX_CLASSES = 30  # more do not fit into a matrix that can be read


# Class and file names are the user's, or a stranger's: they are escaped.
_TEMPLATES = Environment(loader=PackageLoader("tlcourse.own_images"), autoescape=True)
_CARDS = _TEMPLATES.overlay(trim_blocks=True, lstrip_blocks=True)


def confusion(fitted: Fitted) -> Picture:
    """Test images by their class and by the model's answer."""
    logits, labels = fitted.predictions["test"]
    names = fitted.images.dataset.class_names
    shown = [_short(name) for name in names]
    size = 1.2 + 0.45 * min(len(names), MAX_CLASSES) + 0.09 * max(map(len, shown))  # inches
    figure, axis = plt.subplots(figsize=(size, size))
    ConfusionMatrixDisplay.from_predictions(
        labels,
        logits.argmax(dim=1),
        labels=range(len(names)),
        display_labels=shown,
        cmap="cividis",
        xticks_rotation="vertical",
        include_values=len(names) <= MAX_CLASSES,
        colorbar=len(names) > MAX_CLASSES,
        ax=axis,
    )
    axis.grid(visible=False)
    axis.set(title="Test images", xlabel="the model says", ylabel="class")
    right = int((logits.argmax(dim=1) == labels).sum())
    alt = f"Confusion matrix of {len(labels)} test images; {right} are on the diagonal."
    return Picture(figure, alt)


def curve(history: pd.DataFrame) -> Picture:
    """Accuracy by epoch, in training and on validation; also of a training under way.

    Examples
    --------
    >>> history = {"epoch": [0, 1], "train_accuracy": [0.5, 1], "validation_accuracy": [0.5, 0.75]}
    >>> figure, alt = curve(pd.DataFrame(history))
    >>> plt.close(figure)
    >>> alt
    'Accuracy over 2 epochs; after the last it is 1.00 in training and 0.75 on validation.'
    """
    figure, axis = plt.subplots(figsize=(5, 3.2))
    epochs = history["epoch"] + 1
    axis.plot(epochs, history["train_accuracy"], "o--", color=PALETTE[0], label="training")
    axis.plot(epochs, history["validation_accuracy"], "s-", color=PALETTE[1], label="validation")
    axis.set(title="Training", xlabel="epoch", ylabel="accuracy", ylim=(-0.02, 1.02))
    axis.legend(loc="lower right")
    last = history.iloc[-1]
    return Picture(
        figure,
        f"Accuracy over {len(history)} epochs; after the last it is {last['train_accuracy']:.2f} "
        f"in training and {last['validation_accuracy']:.2f} on validation.",
    )


def calibration(fitted: Fitted) -> Picture:
    """Accuracy by confidence on the test images, before and after the temperature; with counts."""
    logits, labels = fitted.predictions["test"]
    figure, (axis, counts) = plt.subplots(
        2, figsize=(4.6, 4.6), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    errors = []
    scaled = logits / fitted.temperature
    for name, values, style in (("raw", logits, "o--"), ("scaled", scaled, "s-")):
        table = reliability(values, labels)
        errors.append(calibration_error(values, labels))
        label = f"{name}, error {errors[-1]:.3f}"
        color = PALETTE[len(errors) - 1]
        axis.plot(table["confidence"], table["accuracy"], style, color=color, label=label)
        middles = (table.index + 0.25 + 0.5 * (len(errors) - 1)) / BINS
        counts.bar(middles, table["images"], width=0.45 / BINS, color=color)
    axis.set(title=f"Calibration on {len(labels)} test images", ylabel="accuracy")
    axis.legend(loc="lower left")
    counts.set(xlabel="confidence", ylabel="images")
    return Picture(
        figure,
        "Accuracy against confidence; the calibration error is "
        f"{errors[0]:.3f} before and {errors[1]:.3f} after temperature scaling. Below, how many "
        "images each bin has.",
    )


def worst_mistakes(fitted: Fitted) -> Picture | None:
    """The wrong answers given with most confidence, and where the network looked for them."""
    logits, labels = fitted.predictions["test"]
    confidence, predicted = (logits / fitted.temperature).softmax(dim=1).max(dim=1)
    wrong = torch.where(predicted != labels, confidence, -1.0)
    chosen = wrong.argsort(descending=True)[: min(WORST, int((wrong >= 0).sum()))]
    if len(chosen) == 0:
        return None
    images = fitted.images.splits["test"][0][chosen]
    names = fitted.images.dataset.class_names
    explained = explain(fitted.trained.network, images, predicted[chosen])
    figure, axes = plt.subplots(
        2, len(chosen), figsize=(1.6 * len(chosen) + 0.4, 3.9), squeeze=False
    )
    for column, i in enumerate(chosen.tolist()):
        for row, picture in enumerate((images[column], explained[column])):
            axes[row, column].imshow(picture.permute(1, 2, 0).numpy())
            axes[row, column].axis("off")
        title = f"{_short(names[labels[i]])}\ntaken for {_short(names[predicted[i]])}\n"
        axes[0, column].set_title(f"{title}{confidence[i]:.0%} sure", fontsize=7)
    return Picture(
        figure,
        f"Wrong answers in the test, the {len(chosen)} most confident; below each, bright where "
        "the image spoke for the wrong answer.",
    )


def write_report(fitted: Fitted, folder: Path) -> None:
    """``report.html``, one page with everything in it, and ``MODEL_CARD.md``."""
    history = fitted.trained.history
    pictures = [
        curve(history) if len(history) > 1 else None,  # a probe has no epochs
        confusion(fitted),
        worst_mistakes(fitted),
        calibration(fitted),
    ]
    values = _values(fitted)
    page = _TEMPLATES.get_template("report.html.j2").render(
        **values, pictures=[(_data_url(p.figure), p.alt) for p in pictures if p is not None]
    )
    card = _CARDS.get_template("model_card.md.j2").render(**values)
    for name, text in (("report.html", page), ("MODEL_CARD.md", card)):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _values(fitted: Fitted) -> dict[str, Any]:
    """What the page and the card say."""
    dataset, network = fitted.images.dataset, fitted.trained.network
    logits, labels = fitted.predictions["test"]
    correct = int((logits.argmax(dim=1) == labels).sum())
    low, high = binomtest(correct, len(labels)).proportion_ci(method="wilson")
    scores = classification_report(
        labels,
        logits.argmax(dim=1),
        labels=range(dataset.num_classes),
        target_names=dataset.class_names,
        output_dict=True,
        zero_division=0,
    )
    return {
        "name": dataset.name,
        "classes": dataset.class_names,
        "counts": dataset.counts().reset_index().to_dict("records"),
        "scores": [(name, scores[name]) for name in dataset.class_names],
        "split_note": dataset.split_note,
        "findings": fitted.images.findings,
        "advice": fitted.advice,
        "strategy": fitted.strategy,
        "tried": fitted.tried,
        "table": fitted.advice.table.reset_index(names="strategy").to_dict("records"),
        "network": network.name,
        "provenance": network.provenance,
        "licence": network.licence,
        "image_size": fitted.images.image_size,
        "validation": fitted.accuracy("validation"),
        "test": fitted.accuracy("test"),
        "low": low,
        "high": high,
        "images": len(labels),
        "temperature": fitted.temperature,
        "calibration_error": calibration_error(logits / fitted.temperature, labels),
        "torch": torch.__version__.split("+")[0],
        "date": datetime.date.today().isoformat(),
    }


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _data_url(figure: Figure) -> str:
    """An SVG whose text stays text: the browser has letters for names that our font lacks."""
    svg = io.BytesIO()
    with plt.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(svg, format="svg", dpi=110)
    plt.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}"
