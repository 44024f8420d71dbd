"""Networks as named stages: load them, cut them, give them heads, count what they cost."""

from tlcourse.networks.backbones import (
    BACKBONE,
    Backbone,
    Preprocessing,
    load_backbone,
    replace_head,
)
from tlcourse.networks.complexity import complexity
from tlcourse.networks.feature_cache import DiskCache
from tlcourse.networks.features import Pass, extract_features, run_prefix
from tlcourse.networks.heads import (
    adaptive_head,
    batchnorm_head,
    dropout_head,
    flatten_head,
    gap_gmp_head,
    gap_head,
    linear_head,
    mlp_head,
)
from tlcourse.networks.initialisation import (
    class_informed_,
    class_means_,
    kaiming_,
    related_classes,
    scaled_,
    xavier_,
)
from tlcourse.networks.landscape import choose, landscape, undominated
from tlcourse.networks.own_module import as_backbone
from tlcourse.networks.receptive_field import Field, receptive_fields
from tlcourse.networks.selection import block_names, select
from tlcourse.networks.stages import split_into_stages

__all__ = [
    "BACKBONE",
    "Backbone",
    "DiskCache",
    "Field",
    "Pass",
    "Preprocessing",
    "adaptive_head",
    "as_backbone",
    "batchnorm_head",
    "block_names",
    "choose",
    "class_informed_",
    "class_means_",
    "complexity",
    "dropout_head",
    "extract_features",
    "flatten_head",
    "gap_gmp_head",
    "gap_head",
    "kaiming_",
    "landscape",
    "linear_head",
    "load_backbone",
    "mlp_head",
    "receptive_fields",
    "related_classes",
    "replace_head",
    "run_prefix",
    "scaled_",
    "select",
    "split_into_stages",
    "undominated",
    "xavier_",
]
