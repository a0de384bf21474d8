"""The number of processors: affinity, control groups of both versions, what users set."""

import os

import pytest

from fastbcd.devices import CPU, processors, threads
from fastbcd.devices.processors import available_processors, quota


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


VERSION_2 = "30 23 0:26 {top} {place} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
VERSION_1 = "32 31 0:29 {top} {place} rw - cgroup cgroup rw,cpu,cpuacct\n"


def version_2(root, files, path="/", top="/", place="/sys/fs/cgroup"):
    described = {
        "proc/self/cgroup": f"0::{path}\n",
        "proc/self/mountinfo": "22 1 0:5 / / rw - ext4 /dev/sda rw\n"
        + VERSION_2.format(top=top, place=place),
    }
    return quota(tree(root, described | files))


def version_1(root, files, path="/", top="/"):
    described = {
        "proc/self/cgroup": f"5:memory:/other\n3:cpu,cpuacct:{path}\n1:name=systemd:/else\n",
        "proc/self/mountinfo": VERSION_1.format(top=top, place="/sys/fs/cgroup/cpu,cpuacct"),
    }
    return quota(tree(root, described | files))


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("150000 100000\n", 2),
        ("200000 100000\n", 2),
        ("max 100000\n", None),
        ("30000 10000", 3),
        ("", None),
        ("0 100000\n", None),
        ("nonsense\n", None),
    ],
)
def test_version_2_is_rounded_up(tmp_path, content, allowed):
    assert version_2(tmp_path, {"sys/fs/cgroup/cpu.max": content}) == allowed


@pytest.mark.parametrize(
    ("amount", "allowed"), [("100000", 1), ("250000", 3), ("-1", None), ("1000", 1)]
)
def test_version_1_is_rounded_up(tmp_path, amount, allowed):
    folder = "sys/fs/cgroup/cpu,cpuacct/"
    files = {folder + "cpu.cfs_quota_us": amount + "\n", folder + "cpu.cfs_period_us": "100000\n"}
    assert version_1(tmp_path, files) == allowed


def test_the_smallest_of_nested_groups_counts(tmp_path):
    files = {
        "sys/fs/cgroup/outer/cpu.max": "200000 100000",
        "sys/fs/cgroup/outer/inner/cpu.max": "700000 100000",
        "sys/fs/cgroup/outer/inner/own/cpu.max": "max 100000",
        "sys/fs/cgroup/elsewhere/cpu.max": "100000 100000",
    }
    assert version_2(tmp_path, files, path="/outer/inner/own") == 2


def test_a_container_that_sees_the_path_of_the_host(tmp_path):
    folder = "sys/fs/cgroup/cpu,cpuacct/"
    files = {folder + "cpu.cfs_quota_us": "120000", folder + "cpu.cfs_period_us": "100000"}
    assert version_1(tmp_path, files, path="/docker/a1", top="/docker/a1") == 2


def test_a_path_outside_the_mount_is_the_mount(tmp_path):
    files = {"sys/fs/cgroup/cpu.max": "100000 100000"}
    assert version_2(tmp_path, files, path="/../../other") == 1


def test_a_mount_whose_name_has_a_space(tmp_path):
    files = {"odd place/cpu.max": "100000 100000"}
    assert version_2(tmp_path, files, place=r"/odd\040place") == 1


def test_no_control_groups_no_quota(tmp_path):
    assert quota(tmp_path) is None


@pytest.fixture
def four_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 4, raising=False)
    monkeypatch.setattr(processors, "quota", lambda root: None)
    for name in ("PYTHON_CPU_COUNT", "LOKY_MAX_CPU_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_all_that_affinity_allows_where_nothing_else_limits(four_processors):
    assert available_processors() == 4


@pytest.mark.parametrize("name", ["PYTHON_CPU_COUNT", "LOKY_MAX_CPU_COUNT"])
def test_what_users_set_counts_and_nonsense_does_not(four_processors, name):
    for text, number in (("2", 2), ("9", 4), ("default", 4), ("0", 4), ("", 4)):
        four_processors.setenv(name, text)
        assert available_processors() == number


def test_the_quota_counts_and_is_the_default_number_of_threads(four_processors, tmp_path):
    files = {"sys/fs/cgroup/cpu.max": "100000 100000"}
    assert version_2(tmp_path, files) == 1
    four_processors.setattr(processors, "quota", quota)
    four_processors.setattr(processors, "ROOT", tmp_path)
    four_processors.setattr(threads.BLAS_LIMIT, "usual", lambda: [4, 2])
    assert available_processors() == 1
    assert CPU().n_threads == 1
    four_processors.setattr(processors, "quota", lambda root: 3)
    assert CPU().n_threads == 3
    four_processors.setattr(processors, "quota", lambda root: None)
    assert CPU().n_threads == 4
