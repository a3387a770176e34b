"""srkd makes super-resolution GANs small by knowledge distillation.

The verbs of the command line are functions here, with the same names and arguments:

    import srkd
    run = srkd.distill("photos/", teacher="teacher.safetensors", strategy="g2g_al")
    srkd.evaluate(run.weights["finetune"], "benchmark/Set5")
    srkd.upscale("photo.jpg", "photo_x4.png", weights=run.weights["finetune"])

Importing srkd does not import torch; the first verb that needs it does.
"""

import lazy_loader

__version__ = "0.1.0"
# The public names stand in __init__.pyi; each is imported at first use, so that `import srkd` stays light.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
