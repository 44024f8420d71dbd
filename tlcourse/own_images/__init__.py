"""A folder of images in; an advised, trained, tested, explained and exported model out."""

from tlcourse.own_images.export import export_onnx, export_torch, load_network, save_model
from tlcourse.own_images.fitting import Fitted, OwnImages, advise_on, fit_images, read_images
from tlcourse.own_images.load_model import load_model
from tlcourse.own_images.model_folder import (
    Answers,
    Explained,
    explain_files,
    export_folder,
    predict_files,
)
from tlcourse.own_images.report import calibration, confusion, curve, worst_mistakes, write_report
from tlcourse.own_images.source_folder import FolderAdvice, advise_folder, fit_folder

__all__ = [
    "Answers",
    "Explained",
    "Fitted",
    "FolderAdvice",
    "OwnImages",
    "advise_folder",
    "advise_on",
    "calibration",
    "confusion",
    "curve",
    "explain_files",
    "export_folder",
    "export_onnx",
    "export_torch",
    "fit_folder",
    "fit_images",
    "load_model",
    "load_network",
    "predict_files",
    "read_images",
    "save_model",
    "worst_mistakes",
    "write_report",
]
