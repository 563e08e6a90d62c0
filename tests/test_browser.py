"""TensorBoard in a headless Chromium, after a clone, a fit, a twin and their comparison."""

import importlib
import io
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

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from cnn_mnist.data import mnist
from tests.conftest import PROJECT

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TRAINED = ("keras/version_0", "pytorch/version_0")
MEANS = tuple(f"reference/{run}/{network}" for run in ("keras", "pytorch") for network in ("conv5x5", "three_conv"))
COMPARED = ("compare", "compare/Keras", "compare/PyTorch")
LIGHTNING = ("--trainer.enable_model_summary=false", "--trainer.enable_checkpointing=false")
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=3")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def tensorboard(tmp_path_factory, tiny_mnist):
    """TensorBoard as after a clone, one fit, one twin and their comparison, once for all tests; gives its address."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(PROJECT / "lightning_logs/reference", folder / "lightning_logs/reference")
    runs = [f"lightning_logs/{run}" for run in TRAINED]
    commands = [("cnn_mnist", "fit", *LIGHTNING, *QUIET), ("keras_parity", *QUIET), ("keras_parity", "compare", *runs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(mnist, "load_mnist", lambda *_: tiny_mnist)
        for package, *arguments in commands:
            patch.setattr(sys, "argv", ["__main__.py", *arguments])
            importlib.import_module(f"{package}.__main__").main()
    with _served(folder / "lightning_logs") as address:
        yield address


@contextmanager
def _served(folder: Path) -> Iterator[str]:
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
            if {*TRAINED, *MEANS, *COMPARED, "reference/compare"} <= set(found):
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, "TensorBoard did not find the runs in a minute"
        time.sleep(0.5)
    yield address
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, whose cache keeps TensorBoard's scripts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        expect.set_options(timeout=60_000)  # a busy machine draws a card after more than the default of 5 s
        yield browser.new_context(viewport={"width": 1600, "height": 2400})
        browser.close()


@pytest.fixture
def page(browser):
    """A new page."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()


def _drawn(canvas) -> bool:
    """Whether the chart holds a colour beside the greys of its axes and grid."""
    with Image.open(io.BytesIO(canvas.screenshot())) as picture:
        colours = np.asarray(picture.convert("RGB"), int)
    return np.count_nonzero(np.ptp(colours, axis=2) > 60) > 100


def test_the_first_page_draws_curves_of_every_run_without_a_click(tensorboard, page):
    page.goto(tensorboard)
    groups = page.locator("metrics-card-group-toolbar")
    expect(groups.first).to_contain_text("curves")
    for tag, step in (("test/acc", "12"), ("test/loss", "12"), ("curves/train_loss", "12")):
        card = page.locator("card-view").filter(has_text=tag).first
        # The chart's own table: run, smoothed, value, step; the user's runs have 3 epochs of 4 updates.
        for run in TRAINED:
            expect(card.locator("tb-data-table-content-row").filter(has_text=run)).to_contain_text(step)
        for run in MEANS:
            expect(card.locator("tb-data-table-content-row").filter(has_text=run)).to_contain_text("9,380")
    assert _drawn(card.locator("line-chart"))
    assert page.locator("card-view img").count() == 0


def test_the_scalars_page_draws_curves_of_every_run_without_a_click(tensorboard, page):
    page.goto(f"{tensorboard}/#scalars")
    charts = page.locator("tf-scalar-card")
    expect(charts.first).to_contain_text("curves/train_acc")
    for run in (*TRAINED, *MEANS):
        expect(page.locator(f"[id='checkbox-{run}']")).to_have_attribute("aria-checked", "true")
    chart = charts.filter(has_text="curves/train_loss")
    expect(chart.locator("vz-line-chart2, tf-line-chart-data-loader").first).to_be_visible()
    assert _drawn(chart)


def test_both_curves_of_the_train_loss_stand_on_one_chart(tensorboard, page):
    pinned = urllib.parse.quote('[{"plugin":"scalars","tag":"train/loss"}]')
    page.goto(f"{tensorboard}/?pinnedCards={pinned}#timeseries")
    card = page.locator("card-view").filter(has_text="train/loss").first
    # The chart's own table: run, smoothed, value, step, after 3 epochs of 4 updates.
    for run in ("keras/version_0", "pytorch/version_0"):
        expect(card.locator("tb-data-table-content-row").filter(has_text=run)).to_contain_text("12")


def test_the_images_of_every_run_are_drawn(tensorboard, page):
    page.goto(f"{tensorboard}/?tagFilter=visual/examples#timeseries")
    shown = page.locator("card-view").filter(has_text="visual/examples")
    expect(shown).to_have_count(6)
    for card in shown.all():
        card.scroll_into_view_if_needed()
        image = card.locator("img").first
        expect(image).to_be_visible()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_the_verdict_of_the_reference_runs_stands_in_the_text_tab(tensorboard, page):
    page.goto(f"{tensorboard}/#text")
    text = page.locator("tf-text-loader").filter(has_text="over 10 pairs of runs").first
    expect(text).to_contain_text("acc test")
    expect(text).to_contain_text("same")


def test_the_hparams_tab_shows_framework_and_run_first(tensorboard, page):
    page.goto(f"{tensorboard}/#hparams")
    table = page.locator("tf-hparams-table-view")
    for text in (*TRAINED, "keras/three_con", "test/acc"):
        expect(table).to_contain_text(text)
    columns = [name.strip() for name in table.locator(".table-header").all_inner_texts()]
    assert columns[2:7] == ["architecture", "framework", "learning_rate", "optimizer", "seed"]
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
    means = {f"{run.removeprefix('reference/')}, mean of 10 seeds" for run in MEANS}
    assert {group["name"] for group in groups} == {*TRAINED, *means}
    for group in groups:
        assert group["name"].startswith(group["hparams"]["framework"])
        assert group["hparams"]["learning_rate"] == pytest.approx(1e-3)
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        assert values.keys() == metrics


def test_custom_scalars_draw_a_band_for_each_framework(tensorboard, page):
    page.goto(f"{tensorboard}/#custom_scalars")
    cards = page.locator("tf-custom-scalar-margin-chart-card")
    for title in ("train/loss", "train/acc"):
        card = cards.filter(has_text=title).first
        for run in COMPARED[1:]:
            expect(card).to_contain_text(run)
    page.wait_for_timeout(1000)
    assert _drawn(cards.first)
