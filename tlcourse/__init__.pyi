# What `import tlcourse` offers; read by lazy_loader at run time and by type checkers.
from . import advice as advice
from . import architectures as architectures
from . import book as book
from . import datasets as datasets
from . import diagnosis as diagnosis
from . import evidence as evidence
from . import networks as networks
from . import own_images as own_images
from . import tuning as tuning
from .advice import advise as advise
from .book import check as check
from .book import claim as claim
from .book import show as show
from .book import start_chapter as start_chapter
from .datasets import load_dataset as load_dataset
from .datasets import load_folder as load_folder
from .diagnosis import Monitor as Monitor
from .diagnosis import audit as audit
from .diagnosis import cam as cam
from .diagnosis import grad_cam as grad_cam
from .networks import as_backbone as as_backbone
from .networks import extract_features as extract_features
from .networks import load_backbone as load_backbone
from .networks import replace_head as replace_head
from .runtime import seed_everything as seed_everything
from .tuning import HeldOut as HeldOut
from .tuning import describe_groups as describe_groups
from .tuning import evaluate as evaluate
from .tuning import fit as fit
from .tuning import freeze as freeze
from .tuning import linear_probe as linear_probe
from .tuning import param_groups as param_groups
from .tuning import predict as predict
from .tuning import set_policy as set_policy
from .tuning import unfreeze as unfreeze

__version__: str
