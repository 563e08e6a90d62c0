"""TensorBoard in a headless Chromium shows both runs."""

import importlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from cnn_mnist.data import mnist
from tests.conftest import PROJECT

REFERENCE = PROJECT / "lightning_logs/reference"
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
    with _served(folder / "lightning_logs") as address:
        yield address


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """TensorBoard on the runs that are there after a clone; gives its address."""
    folder = tmp_path_factory.mktemp("clone") / "lightning_logs"
    shutil.copytree(REFERENCE, folder / "reference")
    with _served(folder, below="reference/") as address:
        yield address


@contextmanager
def _served(folder: Path, below: str = "") -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--logdir", str(folder), "--port", str(port), "--load_fast=false", "--reload_interval=2"]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{address}/data/runs", timeout=5) as answer:
                found = json.load(answer)
            if {f"{below}{run}" for run in ("keras/version_0", "pytorch/version_0", "compare")} <= set(found):
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, "TensorBoard did not find the runs in a minute"
        time.sleep(0.5)
    yield address
    server.terminate()
    server.wait()


@pytest.fixture
def page():
    """A page of a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 2400})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def test_both_curves_of_the_train_loss_stand_on_one_chart(tensorboard, page):
    pinned = urllib.parse.quote('[{"plugin":"scalars","tag":"train/loss"}]')
    page.goto(f"{tensorboard}/?pinnedCards={pinned}#timeseries")
    card = page.locator("card-view").filter(has_text="train/loss").first
    # The chart's own table: run, smoothed, value, step, after 3 epochs of 4 updates.
    for run in ("keras/version_0", "pytorch/version_0"):
        expect(card.locator("tb-data-table-content-row").filter(has_text=run)).to_contain_text("12")


def test_the_images_of_both_runs_are_drawn(tensorboard, page):
    page.goto(f"{tensorboard}/#timeseries")
    shown = page.locator("card-view").filter(has_text="data/examples")
    expect(shown).to_have_count(2)
    for card in shown.all():
        card.scroll_into_view_if_needed()
        image = card.locator("img").first
        expect(image).to_be_visible()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_the_verdict_of_the_reference_runs_stands_in_the_text_tab(reference, page):
    page.goto(f"{reference}/#text")
    page.get_by_role("textbox", name="Write a regex to filter runs").fill("compare")  # over 40 runs, none is ticked
    text = page.locator("tf-text-loader").filter(has_text="difference (PyTorch - Keras)").first
    expect(text).to_contain_text("acc test")
    expect(text).to_contain_text("McNemar's exact test over 10 pairs of runs")
    expect(text).to_contain_text("same")


def test_the_hparams_tab_shows_the_reference_runs(reference, page):
    page.goto(f"{reference}/#hparams")
    table = page.locator("tf-hparams-table-view")
    expect(table).to_contain_text("three_conv")
    expect(table).to_contain_text("test/acc")
    assert "hp_metric" not in page.locator("tf-hparams-dashboard").inner_text()


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
