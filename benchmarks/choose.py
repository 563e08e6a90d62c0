"""``python -m benchmarks.choose FLAG=VALUE,VALUE ...``: compares settings of the speedrun on a validation split.

It never reads the test set.
"""

import argparse
from itertools import product
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.race import Contestant, run
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.runs import tags

_FIT = ("-m", "cnn_mnist", "fit", "--config=speedrun", "--data.data_dir={data}", "--trainer.logger.save_dir={log}")
_HELD_OUT = ("--data.val_size=10000", "--trainer.limit_test_batches=0", "--seed_everything={round}")


def main() -> None:
    """Trains every combination of the values with several seeds, and prints their validation accuracies."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choose", description=__doc__)
    parser.add_argument("values", nargs="+", help="For example model.learning_rate=0.006,0.008.")
    parser.add_argument("--seeds", type=int, default=4, help="Seeds of each combination (default: 4).")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="Folder of the MNIST files.")
    arguments = parser.parse_args()
    names, choices = zip(*(text.split("=", 1) for text in arguments.values), strict=True)
    rows = [[*names, "validation accuracy", "standard error", "training (s)"]]
    for values in product(*(choice.split(",") for choice in choices)):
        flags = (f"--{name}={value}" for name, value in zip(names, values, strict=True))
        trained = Contestant(" ".join(values), (*_FIT, *_HELD_OUT, *flags))
        figures = [run(trained, arguments.data_dir.resolve(), seed) for seed in range(arguments.seeds)]
        accuracies = [each[tags.tag("val", "acc")] for each in figures]
        error = stdev(accuracies) / len(accuracies) ** 0.5 if len(accuracies) > 1 else float("nan")
        seconds = fmean(each[tags.FIT_SECONDS] for each in figures)
        rows.append([*values, f"{fmean(accuracies):.4f}", f"{error:.4f}", f"{seconds:.2f}"])
        print(" ".join(rows[-1]), flush=True)
    print(f"\n{markdown_table(rows)}")


if __name__ == "__main__":
    main()
