from .commands.backends import list_backends as list_backends
from .commands.card import card as card
from .commands.compare import compare as compare
from .commands.config import show_config as show_config
from .commands.distill import distill as distill
from .commands.estimate import estimate as estimate
from .commands.evaluate import evaluate as evaluate
from .commands.export import export as export
from .commands.extend import extend as extend
from .commands.finetune import finetune as finetune
from .commands.interpolate import interpolate as interpolate
from .commands.models import list_models as list_models
from .commands.mutual import mutual as mutual
from .commands.prepare import prepare as prepare
from .commands.quickstart import quickstart as quickstart
from .commands.runs import list_runs as list_runs
from .commands.taps import list_taps as list_taps
from .commands.train import train as train
from .commands.upscale import upscale as upscale
from .config import load_recipe as load_recipe
from .errors import SrkdError as SrkdError
from .errors import UsageError as UsageError
from .models import create_discriminator as create_discriminator
from .models import create_generator as create_generator
from .weights.store import load_generator as load_generator
from .weights.store import save_generator as save_generator

__version__: str
