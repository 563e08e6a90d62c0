from .compare.report import to_markdown as to_markdown
from .compare.table import make_tables as make_tables
from .convert.cli import convert_weights as convert_weights
from .ladder.check import check as check
from .ladder.cli import Port as Port
from .ladder.cli import climb as climb
from .logs.folders import find_folders as find_folders
from .logs.run import read_run as read_run
from .twin.network import build_twin as build_twin
from .twin.train import compile_twin as compile_twin

__version__: str
