"""The figures of a trained network, and what of them a run may leave out."""

import keras
import numpy as np
import pytest

from cnn_mnist.data.splits import Split
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.logs.run import read_run
from keras_parity.settings import TrainerSettings
from keras_parity.study.jobs import Job
from keras_parity.twin.engines.tensorflow import evaluation_batches
from keras_parity.twin.evaluation import evaluate
from keras_parity.twin.train import compile_twin

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=1")


@pytest.mark.filterwarnings("ignore:softmax_before_loss")
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.2}, {"softmax_before_loss": True}])
def test_one_pass_gives_the_figures_of_keras_own_evaluation(tiny_mnist, settings, policy):
    dtype = "float64" if policy == "float64" else "float32"
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(policy)
    try:
        split = Split(tiny_mnist.train_images[..., None], tiny_mnist.train_labels, tuple("0123456789"))
        model = compile_twin(settings := ModelSettings(**settings), steps=1)
        batches = evaluation_batches(split, dtype)
        figures, logits = evaluate(model, settings, batches, split.labels)
        own = model.evaluate(batches, verbose=0, return_dict=True)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert figures == pytest.approx(own, rel=1e-3 if "16" in policy else 1e-6)
    assert (logits.shape, logits.dtype) == ((250, 10), dtype)
    assert np.mean(logits.argmax(axis=1) == split.labels) == figures["acc"]


@pytest.mark.usefixtures("use_tiny_mnist")
def test_a_run_without_train_eval_is_whole_but_not_for_a_study_that_asks_for_it(command, tmp_path):
    code, out, err = command("cnn_mnist", "fit", *QUIET, "--data.train_eval=false")
    assert code == 0, err
    assert "training set, final weights" not in out
    code, out, err = command("keras_parity", *QUIET, "--twin_of=lightning_logs/pytorch/version_0")
    assert code == 0, err
    assert "training set, final weights" not in out
    model, without, trainer = ModelSettings(), DataSettings(train_eval=False), TrainerSettings(max_epochs=1)
    for framework in ("pytorch", "keras"):
        run = read_run(tmp_path / f"lightning_logs/{framework}/version_0")
        assert run.finished
        assert "test/acc" in run.points
        assert "train_eval/acc" not in run.points
        assert Job(framework, model, without, trainer).is_trained_by(run)
        assert not Job(framework, model, DataSettings(), trainer).is_trained_by(run)
    code, out, err = command("keras_parity", "compare")
    assert code == 0, err
    assert "train_eval" not in out
