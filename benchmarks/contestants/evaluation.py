"""The evaluation at the end of a training in either package: loss and accuracy of 70,000 images.

A process: ``python -m benchmarks.contestants.evaluation cnn_mnist|keras_parity DATA_DIR``; the second one is timed.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable

from cnn_mnist.data.splits import load_splits
from cnn_mnist.settings import DataSettings, ModelSettings


def in_pytorch(data_dir: str) -> Callable[[], object]:
    """By Lightning's ``Trainer.test``."""
    from cnn_mnist.frameworks import importing_lightning

    with importing_lightning():
        from lightning.pytorch import Trainer

        from cnn_mnist.pytorch.data_module import MNISTDataModule
        from cnn_mnist.pytorch.module import Classifier
    data, model = MNISTDataModule(data_dir=data_dir), Classifier()
    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    warnings.simplefilter("ignore")
    return lambda: trainer.test(model, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)


def in_keras(data_dir: str) -> Callable[[], object]:
    """By ``Model.predict``, from which the figures are made."""
    from keras_parity.frameworks import importing_keras

    with importing_keras():
        from keras_parity.twin.engines.tensorflow import evaluation_batches
        from keras_parity.twin.evaluation import evaluate
        from keras_parity.twin.train import compile_twin
    settings, splits = ModelSettings(), load_splits(DataSettings(data_dir=data_dir))
    model = compile_twin(settings, steps=1)
    parts = [(evaluation_batches(splits[name], "float32"), splits[name].labels) for name in ("test", "train")]
    return lambda: [evaluate(model, settings, *part) for part in parts]


def main(package: str, data_dir: str) -> None:
    """Evaluates twice."""
    evaluate = {"cnn_mnist": in_pytorch, "keras_parity": in_keras}[package](data_dir)
    for _ in range(2):
        start = time.perf_counter()
        evaluate()
    print(json.dumps({"microseconds": 1e6 * (time.perf_counter() - start) / 70_000}))


if __name__ == "__main__":
    main(*sys.argv[1:])
