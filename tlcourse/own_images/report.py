"""One HTML page and one model card about a trained model: how good, where wrong, how sure."""

import base64
import datetime
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from jinja2 import Environment
from matplotlib.figure import Figure
from scipy.stats import binomtest
from sklearn.metrics import ConfusionMatrixDisplay, classification_report

from tlcourse.book.plotting import PALETTE
from tlcourse.diagnosis.calibration import calibration_error, reliability
from tlcourse.diagnosis.cam import explain
from tlcourse.files import replacing
from tlcourse.own_images.fitting import Fitted

WORST = 8
MAX_CLASSES = 30  # more do not fit into a matrix that can be read


@dataclass(frozen=True)
class Picture:
    """A figure with its alternative text."""

    figure: Figure
    alt: str


def confusion(fitted: Fitted) -> Picture:
    """Test images by their class and by the model's answer."""
    logits, labels = fitted.test
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
    """Accuracy by epoch, in training and on validation; also of a training under way."""
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
    """Accuracy by confidence on the test images, before and after the temperature."""
    logits, labels = fitted.test
    figure, axis = plt.subplots(figsize=(4.2, 3.6))
    axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    errors = []
    scaled = logits / fitted.temperature
    for name, values, style in (("raw", logits, "o--"), ("scaled", scaled, "s-")):
        table = reliability(values, labels)
        errors.append(calibration_error(values, labels))
        label = f"{name}, error {errors[-1]:.3f}"
        color = PALETTE[len(errors) - 1]
        axis.plot(table["confidence"], table["accuracy"], style, color=color, label=label)
    axis.set(title="Calibration on the test images", xlabel="confidence", ylabel="accuracy")
    axis.legend(loc="lower left")
    return Picture(
        figure,
        "Accuracy against confidence; the calibration error is "
        f"{errors[0]:.3f} before and {errors[1]:.3f} after temperature scaling.",
    )


def worst_mistakes(fitted: Fitted) -> Picture | None:
    """The wrong answers given with most confidence, and where the network looked for them."""
    logits, labels = fitted.test
    confidence, predicted = (logits / fitted.temperature).softmax(dim=1).max(dim=1)
    wrong = torch.where(predicted != labels, confidence, -1.0)
    chosen = wrong.argsort(descending=True)[: min(WORST, int((wrong >= 0).sum()))]
    if len(chosen) == 0:
        return None
    images = fitted.images.parts["test"][0][chosen]
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
    pictures = [
        curve(fitted.trained.history),
        confusion(fitted),
        worst_mistakes(fitted),
        calibration(fitted),
    ]
    values = _values(fitted)
    page = _TEMPLATES.from_string(_PAGE).render(
        **values, pictures=[(_data_url(p.figure), p.alt) for p in pictures if p is not None]
    )
    card = _CARDS.from_string(_CARD).render(**values)
    for name, text in (("report.html", page), ("MODEL_CARD.md", card)):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _values(fitted: Fitted) -> dict[str, Any]:
    """What the page and the card say."""
    dataset, network = fitted.images.dataset, fitted.trained.network
    logits, labels = fitted.test
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
        "image_size": fitted.images.parts["test"][0].shape[-1],
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


# Class and file names are the user's, or a stranger's: they are escaped.
_TEMPLATES = Environment(autoescape=True)
_CARDS = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ name }}: report</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; text-align: right; }
td:first-child, th:first-child { text-align: left; max-width: 20rem; overflow-wrap: break-word; }
tbody tr:nth-child(odd) { background: #f3f3f3; }
.number { font-size: 2.2rem; font-weight: 600; } .scroll { overflow-x: auto; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { color: #555; font-size: .9rem; }
</style>
<h1>{{ name }}</h1>
<p><span class="number">{{ "%.1f" | format(100 * test) }} %</span> of {{ images }} test images are
named rightly (95 % interval {{ "%.1f" | format(100 * low) }} to
{{ "%.1f" | format(100 * high) }} %). They were looked at once, when everything had been chosen.
On the validation images, by which the weights were chosen, it was
{{ "%.1f" | format(100 * validation) }} %.</p>

<h2>Before you trust it</h2>
<ul>
{% for line in findings %}<li>{{ line }}</li>
{% else %}<li>Nothing unusual was found in the images.</li>
{% endfor %}<li>Split: {{ split_note }}</li>
</ul>

<h2>Images</h2>
<div class="scroll"><table><thead><tr><th>class</th><th>train</th><th>validation</th><th>test</th>
<th>recall</th><th>precision</th></tr></thead><tbody>
{% for row in counts %}<tr><td>{{ row["class"] }}</td><td>{{ row.train }}</td>
<td>{{ row.validation }}</td><td>{{ row.test }}</td>
<td>{{ "%.2f" | format(scores[loop.index0][1].recall) }}</td>
<td>{{ "%.2f" | format(scores[loop.index0][1].precision) }}</td></tr>
{% endfor %}</tbody></table></div>

<h2>Strategy: {{ strategy }}</h2>
<p>Tried, with accuracy on validation:
{% for name, value in tried.items() %}{{ name }} {{ "%.3f" | format(value) }}{{ "" if loop.last
else ", " }}{% endfor %}. The advice was {{ advice.strategy }}{% if tried.extraction == 1 and
advice.strategy not in tried %}; extraction left nothing to gain, so it was not tried{% endif
%}.</p>
<ul>
{% for reason in advice.reasons %}<li>{{ reason }}</li>
{% endfor %}{% for doubt in advice.doubts %}<li>unsure: {{ doubt }}</li>
{% endfor %}</ul>
<div class="scroll"><table><thead><tr><th>strategy</th><th>gain over extraction</th>
<th>behind the best</th><th>± standard error</th><th>expected from</th><th>to</th>
<th>seconds here</th></tr></thead><tbody>
{% for row in table %}<tr><td>{{ row.strategy }}</td><td>{{ "%+.3f" | format(row.gain) }}</td>
{% for name in ("behind", "error", "low", "high") %}<td>{{ "%.3f" | format(row[name]) }}</td>
{% endfor %}<td>{{ "%.0f" | format(row.seconds) }}</td></tr>
{% endfor %}</tbody></table></div>

<h2>Figures</h2>
{% for url, alt in pictures %}<figure><img src="{{ url }}" alt="{{ alt }}">
<figcaption>{{ alt }}</figcaption></figure>
{% endfor %}
<p>Confidences are softmax(logits / {{ "%.2f" | format(temperature) }}); the expected calibration
error on the test images is then {{ "%.3f" | format(calibration_error) }}.</p>

<h2>Model</h2>
<p>{{ network }}, images of {{ image_size }} px, torch {{ torch }}, {{ date }}.
{{ provenance }}. Licence of the pretrained weights: {{ licence }}.</p>
</html>
"""

_CARD = """# Model card: {{ name }}

- **What it does:** names which of {{ classes | length }} classes an image shows:
  {{ classes | join(", ") }}. It always names one of them, also for a picture of something else.
- **Network:** {{ network }}, {{ image_size }} px. {{ provenance | safe }}. Licence of the
  pretrained weights: {{ licence }}; the images' licence is their owner's.
- **Training:** strategy `{{ strategy }}` of tlcourse, {{ date }}, torch {{ torch }}.
- **Test:** {{ "%.3f" | format(test) }} of {{ images }} images right, 95 % interval
  {{ "%.3f" | format(low) }} to {{ "%.3f" | format(high) }}; validation
  {{ "%.3f" | format(validation) }}. Expected calibration error
  {{ "%.3f" | format(calibration_error) }} at temperature {{ "%.2f" | format(temperature) }}.
- **Split:** {{ split_note }}

| class | train | validation | test | recall | precision |
|---|---|---|---|---|---|
{% for row in counts %}
| {{ row["class"] | replace("|", "/") }} | {{ row.train }} | {{ row.validation }} {#
#}| {{ row.test }} | {{ "%.2f" | format(scores[loop.index0][1].recall) }} {#
#}| {{ "%.2f" | format(scores[loop.index0][1].precision) }} |
{% endfor %}

## Limits

It was tested on images of the same origin as those it was trained on. Another camera, light or
background may lower its accuracy; measure it there before you rely on it.
{% for line in findings %}
- {{ line }}
{% endfor %}
"""
