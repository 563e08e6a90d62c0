from .architecture.descriptions import read_network as read_network
from .architecture.examples import EXAMPLES as EXAMPLES
from .architecture.network import Network as Network
from .data.mnist import load_mnist as load_mnist
from .pytorch.data_module import MNISTDataModule as MNISTDataModule
from .pytorch.module import Classifier as Classifier
from .settings import DataSettings as DataSettings
from .settings import ModelSettings as ModelSettings

__version__: str
