"""What went on in a network: what moved, what it looks at, how alike, how sure, how far."""

from tlcourse.diagnosis.audit import Audit, audit
from tlcourse.diagnosis.calibration import calibration_error, fit_temperature, reliability
from tlcourse.diagnosis.cam import cam, grad_cam
from tlcourse.diagnosis.cka import CKA, cka_by_stage, linear_cka
from tlcourse.diagnosis.faults import Fault, FaultKind
from tlcourse.diagnosis.grouped_probe import GroupedProbe, grouped_probe
from tlcourse.diagnosis.maps import explain, on_image, overlay
from tlcourse.diagnosis.mmd import mmd
from tlcourse.diagnosis.monitor import Monitor, drift, monitor_figure
from tlcourse.diagnosis.transferability import (
    frechet_distance,
    h_score,
    leep,
    log_me,
    nearest_centroid_accuracy,
    probe_accuracy,
)

__all__ = [
    "Audit",
    "CKA",
    "Fault",
    "FaultKind",
    "GroupedProbe",
    "Monitor",
    "audit",
    "calibration_error",
    "cam",
    "cka_by_stage",
    "drift",
    "explain",
    "fit_temperature",
    "frechet_distance",
    "grad_cam",
    "grouped_probe",
    "h_score",
    "leep",
    "linear_cka",
    "log_me",
    "mmd",
    "monitor_figure",
    "nearest_centroid_accuracy",
    "on_image",
    "overlay",
    "probe_accuracy",
    "reliability",
]
