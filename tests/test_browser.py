"""TensorBoard in a headless Chromium shows both runs."""

import html
import importlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest

from cnn_mnist import mnist

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIGHTNING = ("--trainer.enable_model_summary=false", "--trainer.enable_checkpointing=false")
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=3")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def tensorboard(tmp_path_factory, tiny_mnist):
    """TensorBoard on a run of each framework, once for all tests; gives its address."""
    folder = tmp_path_factory.mktemp("runs")
    commands = [("cnn_mnist", "fit", *LIGHTNING, *QUIET), ("keras_parity", *QUIET), ("keras_parity", "compare")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(mnist, "load", lambda *_: tiny_mnist)
        for package, *arguments in commands:
            patch.setattr(sys, "argv", ["__main__.py", *arguments])
            importlib.import_module(f"{package}.__main__").main()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--logdir", "lightning_logs", "--port", str(port), "--load_fast=false", "--reload_interval=2"]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *arguments],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{address}/data/runs", timeout=5) as answer:
                found = answer.read()
            if all(run in found for run in (b"keras/version_0", b"pytorch/version_0", b"compare")):
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, "TensorBoard did not find the runs in a minute"
        time.sleep(0.5)
    yield address
    server.terminate()
    server.wait()


def _page(address: str, tmp_path) -> str:
    """The page's elements after it has drawn itself."""
    arguments = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
        *("--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--window-size=1600,2400", "--virtual-time-budget=20000", "--dump-dom", address),
    ]
    answer = subprocess.run([BROWSER, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return answer.stdout


def test_both_curves_of_the_train_loss_stand_on_one_chart(tensorboard, tmp_path):
    pinned = urllib.parse.quote('[{"plugin":"scalars","tag":"train/loss"}]')
    page = _page(f"{tensorboard}/?pinnedCards={pinned}#timeseries", tmp_path)
    words = re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", page, flags=re.DOTALL).split()
    pinned_card = " ".join(words[words.index("Pinned") : words.index("cards")])
    assert "train /loss" in pinned_card
    # The chart's own table: run, smoothed, value, step, after 3 epochs of 4 updates.
    assert re.search(r"keras/version_0 \S+ \S+ 12 ", pinned_card)
    assert re.search(r"pytorch/version_0 \S+ \S+ 12 ", pinned_card)


def test_the_images_of_both_runs_are_drawn(tensorboard, tmp_path):
    page = html.unescape(_page(f"{tensorboard}/#timeseries", tmp_path))
    sources = re.findall(r'<img[^>]*src="[^"]*?(data/plugin/[^"]*)"', page)
    assert len(sources) >= 2
    for source in sources:
        with urllib.request.urlopen(f"{tensorboard}/{source}", timeout=10) as answer:
            assert answer.read(4) == b"\x89PNG"
    assert re.sub(r"<[^>]*>|\s", "", page).count("data/examples") >= 2


def test_the_hparams_tab_has_the_runs_of_both_frameworks_with_their_figures(tensorboard):
    def ask(route: str, question: dict) -> dict:
        request = urllib.request.Request(f"{tensorboard}/data/plugin/hparams/{route}", json.dumps(question).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    experiment = ask("experiment", {"experimentName": ""})
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert {"test/acc", "time/fit_seconds"} <= metrics
    assert "hp_metric" not in metrics
    columns = [{"metric": info["name"]} for info in experiment["metricInfos"]]
    question = {"colParams": columns, "allowedStatuses": ["STATUS_UNKNOWN"], "startIndex": 0, "sliceSize": 100}
    groups = ask("session_groups", question)["sessionGroups"]
    assert {group["hparams"]["framework"] for group in groups} == {"keras", "pytorch"}
    for group in groups:
        assert group["hparams"]["learning_rate"] == pytest.approx(1e-3)
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        assert values.keys() == metrics


def test_custom_scalars_pair_the_frameworks(tensorboard):
    with urllib.request.urlopen(f"{tensorboard}/data/plugin/custom_scalars/layout", timeout=30) as answer:
        (category,) = json.load(answer)["category"]
    assert [chart["title"] for chart in category["chart"]] == ["train/loss", "test/acc"]
