"""A folder of images in; an advised, trained, tested, explained and exported model out."""

from tlcourse.own_images.export import export_onnx, export_torch, save_model
from tlcourse.own_images.fitting import Fitted, OwnImages, advise_on, fit_images, read_images, sizes
from tlcourse.own_images.model_folder import (
    advise_folder,
    explain_files,
    export_folder,
    fit_folder,
    predict_files,
)
from tlcourse.own_images.report import write_report

__all__ = [
    "Fitted",
    "OwnImages",
    "advise_folder",
    "advise_on",
    "explain_files",
    "export_folder",
    "export_onnx",
    "export_torch",
    "fit_folder",
    "fit_images",
    "predict_files",
    "read_images",
    "save_model",
    "sizes",
    "write_report",
]
