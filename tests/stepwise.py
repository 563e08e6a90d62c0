"""What a training with Lightning's own ``Trainer`` computes at each step, straight through or resumed after a stop."""

import copy

from lightning.pytorch import Callback, Trainer, seed_everything

from tests.lives import Killed

SETTINGS = {"max_epochs": 2, "accelerator": "cpu", "num_sanity_val_steps": 0, "log_every_n_steps": 1} | dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)


class Recorder(Callback):
    """Records every step, and dies after one of them, leaving a checkpoint."""

    def __init__(self, checkpoint=None, stop=None):
        self.steps, self.checkpoint, self.stop = {}, checkpoint, stop

    def on_train_batch_end(self, trainer, module, outputs, batch, place):
        """Records what the step got and what it left."""
        schedules = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
        left = module.state_dict(), trainer.optimizers[0].state_dict(), schedules, trainer.logged_metrics
        self.steps[trainer.global_step] = copy.deepcopy([*batch, *left])
        if trainer.global_step == self.stop:
            trainer.save_checkpoint(self.checkpoint)
            raise Killed


def train(module, data, recorder, resume_from=None, **trainer):
    """Trains copies of module and data; gives batch, weights, optimizer, schedules and metrics by step."""
    seed_everything(0, verbose=False)
    fresh = Trainer(**SETTINGS | trainer, callbacks=[recorder])
    fresh.fit(copy.deepcopy(module), copy.deepcopy(data), ckpt_path=resume_from, weights_only=False)
    return recorder.steps
