"""If a rank is killed in the middle of an iteration, the job ends and the run can go on."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from command import fastbcd, history
from mpi import start_ranks
from share import count

CLI = ["-m", "fastbcd.cli.main", "train"]
OPTIONS = ["--batch-size", "full", "--hidden", "200,200", "--tile-rows", "100"]
OPTIONS += ["--epochs", "150", "--quiet"]
KILLS, SECONDS = count(10, at_least=3), 10.0


def ranks_of(launcher):
    """Processes of the ranks that `launcher` started, below its proxies."""

    def children(pid):
        try:
            return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    return [rank for proxy in children(launcher) for rank in children(proxy)]


def rows(folder):
    file = folder / "history.csv"
    return file.read_text().count("\n") if file.exists() else 0


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_which_goes_on_with_another_number_of_ranks(tmp_path):
    if not Path("/proc/self/task").exists():
        pytest.skip("this system does not tell which processes a launcher started")
    fastbcd("train", *OPTIONS, "--out", "whole", cwd=tmp_path)
    run, rng, sizes = tmp_path / "run", random.Random(4), []
    arguments = [*OPTIONS, "--out", "run", "--checkpoint-every", "1"]
    for kill in range(KILLS):
        sizes.append(rng.choice([size for size in (1, 2, 3, 4) if [size] != sizes[-1:]]))
        job = start_ranks(sizes[-1], *CLI, *arguments, cwd=tmp_path)
        arguments = ["--resume", "run", "--quiet", "--checkpoint-every", "1"]
        before, deadline = rows(run), time.monotonic() + 120
        while rows(run) in (before, before - 1) or not (run / "checkpoint.safetensors").exists():
            assert time.monotonic() < deadline, "training does not start"
            assert job.poll() is None, job.communicate()
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        killed = rng.choice(ranks_of(job.pid))
        start = time.monotonic()
        os.kill(killed, signal.SIGKILL)
        job.communicate(timeout=SECONDS)
        assert time.monotonic() - start < SECONDS
        assert job.returncode != 0, f"kill {kill} came after the end"
        assert not (run / "summary.json").exists()
    fastbcd("train", *arguments, cwd=tmp_path)
    assert len(set(sizes)) >= 3
    whole = tmp_path / "whole"
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    kept = [[row["iteration"], row["train_accuracy"]] for row in history(run)]
    assert kept == [[row["iteration"], row["train_accuracy"]] for row in history(whole)]
    assert sorted(file.name for file in run.iterdir()) == sorted(f.name for f in whole.iterdir())
