"""Which strategy for which data: recipes, recorded trainings, and what they advise.

The names are loaded when they are asked for (see ``__init__.pyi``): a sweep starts many workers,
and each would spend seconds on imports that it does not need.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
