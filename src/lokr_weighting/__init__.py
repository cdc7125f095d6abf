"""Measure where a diffusion transformer works and give a LoKr adapter its parameters there."""

import lazy_loader

__version__ = "0.2.0"
# the public names stand in __init__.pyi; each is imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
