"""The packaged networks, by name; ``examples.yaml`` describes them."""

from pathlib import Path

from cnn_mnist.architecture.network import Network
from cnn_mnist.architecture.records import from_records
from cnn_mnist.yaml_files import load_yaml

EXAMPLES: dict[str, Network] = {
    name: from_records(records) for name, records in load_yaml(Path(__file__).with_suffix(".yaml").read_bytes()).items()
}
"""The packaged networks; all end in logits, since loss and predict apply the softmax."""
