"""``python -m tests.twin.engine_cases BACKEND FILE CASE...`` trains the twin on a backend, for cases of 200 updates."""

import sys

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu")
LENGTH = ("--trainer.max_epochs=5", "--trainer.precision=64-true", "--data.batch_size=10", "--data.train_eval=false")
"""Of 400 images."""

_OPTIMIZERS = {
    "rmsprop": (),
    "centered": ("--model.optimizer=rmsprop", "--model.centered=true", "--model.momentum=0.5"),
    "adam": ("--model.optimizer=adam", "--trainer.gradient_clip_val=0.5"),
    # At a rate of 0.001, rounding grows to 1.5e-10 in one of 36,864 weights.
    # Keras's optimizers on PyTorch alone do not round momentum and weight decay to float32, so these are such numbers.
    "adamw": ("--model.optimizer=adamw", "--model.weight_decay=0.0078125", "--model.label_smoothing=0.1"),
    "sgd": ("--model.optimizer=sgd", "--model.learning_rate=0.01"),
    "nesterov": ("--model.optimizer=sgd", "--model.momentum=0.875", "--model.nesterov=true", "--data.shift=2"),
}
_SCHEDULES = {
    "constant": (),
    "step": ("--model.schedule=step", "--model.decay_steps=30"),
    "cosine": ("--model.schedule=cosine", "--model.warmup=0.1"),
    "one_cycle": ("--model.schedule=one_cycle", "--model.warmup=0.3"),
}
_MORE = {"batch_norm", "mnist_convnet"}  # with batch norm and with dropout: one schedule and one optimizer
CASES = {
    f"{network}-{optimizer}-{schedule}": (f"--model.architecture={network}", *_OPTIMIZERS[optimizer], *flags)
    for network in ("three_conv", "conv5x5", *sorted(_MORE))
    for optimizer in _OPTIMIZERS
    for schedule, flags in _SCHEDULES.items()
    if (optimizer == "adam" or schedule == "constant")
    and (network not in _MORE or schedule == "one_cycle" or optimizer == "nesterov")
}

if __name__ == "__main__":
    from keras_parity.twin import cli

    backend, file, *cases = sys.argv[1:]
    for case in cases:
        logs = f"--trainer.log_dir=logs/{case}"
        cli.main([f"--backend={backend}", f"--data.file={file}", logs, *QUIET, *LENGTH, *CASES[case]], {})
