"""Verified implementations behind the notebooks of the transfer-learning course.

What a reader looks for first is here, ``tlcourse.fit`` say; the wings ``networks``, ``tuning``,
``diagnosis``, ``advice``, ``own_images``, ``datasets``, ``architectures`` and ``book`` hold the
rest. Each is loaded when it is first used: ``import tlcourse`` alone does not load torch.
"""

import lazy_loader

__version__ = "0.1.0"

# The names are listed once, in the stub, for this and for type checkers.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
