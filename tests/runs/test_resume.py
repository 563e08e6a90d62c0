"""``--resume`` cuts this project's log alone."""

import pytest
from torch.utils.tensorboard import SummaryWriter

from cnn_mnist.pytorch.checkpoint_callback import ResumableCheckpoint
from keras_parity.logs.event_files import read_scalars
from keras_parity.twin.keeper import Keeper
from tests.lives import NET, QUIET, Killed

RUNS = {"cnn_mnist": "lightning_logs/pytorch/version_0", "keras_parity": "lightning_logs/keras/version_0"}
STOCK = (
    "--trainer.logger=TensorBoardLogger",
    "--trainer.logger.save_dir=lightning_logs",
    "--trainer.logger.name=pytorch",
)
CASES = [("cnn_mnist", ()), ("cnn_mnist", STOCK), ("keras_parity", ())]


def _write(folder):
    """Writes an event file, as a callback of the user's would; gives its path."""
    before = set(folder.iterdir())
    with SummaryWriter(folder) as writer:
        writer.add_scalar("mine", 0.5, 1)
    (path,) = set(folder.iterdir()) - before
    return path


@pytest.mark.usefixtures("use_tiny_mnist")
@pytest.mark.parametrize(("package", "flags"), CASES, ids=["fit", "fit, stock logger", "twin"])
@pytest.mark.parametrize("die", [2, 7])  # before the first checkpoint, and between two
def test_event_files_of_the_users_own_stay_as_they_are(command, tmp_path, monkeypatch, package, flags, die):
    (tmp_path / "net.yaml").write_text(NET)
    run, written = tmp_path / RUNS[package], []
    callback = ResumableCheckpoint if package == "cnn_mnist" else Keeper
    own, seen = callback.on_train_batch_end, [0]

    def end(self, *args, **more):
        if seen[0] in (1, 5):
            written.append(_write(run))
        own(self, *args, **more)
        seen[0] += 1
        if seen[0] == die:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(callback, "on_train_batch_end", end)
        with pytest.raises(Killed):
            command(package, *["fit"] * (package == "cnn_mnist"), *QUIET, *flags)
    content = [path.read_bytes() for path in written]
    assert len(content) == 1 + (die > 5)
    command(package, *["fit"] * (package == "cnn_mnist"), f"--resume={run}")
    assert [path.read_bytes() for path in written] == content
    points = read_scalars(run).points["train/loss"]
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    assert steps[-1] == read_scalars(run).points["test/acc"][0].step
