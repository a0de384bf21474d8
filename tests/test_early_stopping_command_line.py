"""``fastbcd train --early-stopping``."""

import json

import numpy as np
import pytest
from command import fastbcd, history

from fastbcd.cli.run_folder import RunFolder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two classes that no network can tell apart well."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 6))
    kinds = np.where(X[:, 0] + 1.5 * rng.standard_normal(300) > 0.0, "yes", "no")
    rows = (
        ",".join(f"{x:.5f}" for x in row) + f",{kind}" for row, kind in zip(X, kinds, strict=True)
    )
    path = tmp_path_factory.mktemp("table") / "noisy.csv"
    path.write_text("a,b,c,d,e,f,kind\n" + "\n".join(rows) + "\n")
    return path


def test_the_weights_of_the_least_validation_loss_are_kept_and_a_run_goes_on(
    table, tmp_path, monkeypatch
):
    options = ["train", table, "--target", "kind", "--loss", "cross_entropy", "--hidden", 32]
    options += ["--early-stopping", "--n-iter-no-change", 4]
    out, _ = fastbcd(*options, "--out", "whole", cwd=tmp_path)
    rows = history(tmp_path / "whole")
    losses = [float(row["validation_loss"]) for row in rows]
    best = int(np.argmin(losses))
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert len(rows) == best + 1 + 4 < config["epochs"]
    assert (config["early_stopping"], config["validation_fraction"]) == (True, 0.1)
    assert summary["train_samples"] == 240 - 24
    assert (summary["kept_iteration"], summary["validation_loss"]) == (best + 1, losses[best])
    assert f"(weights of {best + 1})" in out
    predicted, _ = fastbcd("predict", "whole", cwd=tmp_path)
    assert f"accuracy {summary['test_accuracy']} on" in predicted
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish", lambda *_: None)
        fastbcd(*options, "--checkpoint-every", 3, "--quiet", "--out", "again", cwd=tmp_path)
    fastbcd("train", "--resume", "again", "--quiet", cwd=tmp_path)
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


REFUSED = {
    "--tol needs --early-stopping": ("--tol", "0.1"),
    "--validation-fraction must lie between 0 and 1, got 0": ("--validation-fraction", "0"),
    "--n-iter-no-change must be an integer of at least 1": ("--n-iter-no-change", "0"),
    "--evaluate-every does not go with --early-stopping": ("--evaluate-every", "2"),
    "--early-stopping does not go with --memory": ("--memory", "1GiB"),
    "the class 'no' has": ("--validation-fraction", "0.999"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_go_with_early_stopping_is_one_sentence(message, table, tmp_path):
    early = () if message.startswith("--tol") else ("--early-stopping",)
    options = ("train", table, "--target", "kind", *early, *REFUSED[message])
    _, err = fastbcd(*options, cwd=tmp_path, status=2)
    assert message in err
    assert len(err.splitlines()) == 1
    assert not any(tmp_path.iterdir())
