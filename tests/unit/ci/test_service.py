# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples of ci/service: well-formed, and about the lab as it is."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import build_parser
from lab.paths import repo_root

SERVICE = repo_root() / "ci" / "service"
UNIT = "hvlab-nightly.service"
HVLAB = "/opt/hvlab/.venv/bin/hvlab"
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def load(name: str) -> dict[Any, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is in the extra 'test'")
    found = yaml.safe_load((SERVICE / name).read_text())
    assert isinstance(found, dict)
    return found


def unit(name: str) -> list[tuple[str, str, str]]:
    """(section, key, value) of every line of a unit that says something."""
    found, section = [], ""
    for line in (SERVICE / name).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, sign, value = line.partition("=")
            assert sign, line
            found.append((section, key, value))
    return found


def values(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _section, key, value in unit(name):
        found.setdefault(key, []).append(value)
    return found


def jobs() -> list[str]:
    """Lines of the crontab that start something."""
    lines = (SERVICE / "crontab.example").read_text().splitlines()
    return [line for line in lines if line and not re.match(r"#|[A-Z_]+=", line)]


def shell_lines() -> list[str]:
    """Every line of shell in the two CI files."""
    github = [s["run"] for j in load("github.yml")["jobs"].values() for s in j["steps"] if "run" in s]
    gitlab = [
        line
        for job in load("gitlab.yml").values()
        for part in ("before_script", "script", "after_script")
        for line in job.get(part, ())
    ]
    return [line for text in [*github, *gitlab] for line in text.splitlines()]


def commands_of_units() -> list[list[str]]:
    said = values(UNIT)
    env = dict(pair.split("=", 1) for line in said["Environment"] for pair in shlex.split(line))
    lines = [*said["ExecStart"], *said["ExecStopPost"]]
    return [shlex.split(re.sub(r"\$(\w+)", lambda m: env[m[1]], line.lstrip("-"))) for line in lines]


def commands_of_crontab() -> list[list[str]]:
    return [shlex.split(line[line.index(HVLAB) :].split(">")[0]) for line in jobs()]


def commands_of_ci() -> list[list[str]]:
    lines = [shlex.split(line) for line in shell_lines() if line.startswith("ci/hvlab")]
    assert all(words[1] == "--yes" for words in lines), "nobody is there to answer"
    return [[words[0], *words[2:]] for words in lines]


@pytest.mark.parametrize("commands", [commands_of_units, commands_of_crontab, commands_of_ci])
def test_every_command_is_one_that_hvlab_knows(commands: Any) -> None:
    found = commands()
    assert {words[1] for words in found} >= {"nightly", "gc"}
    for words in found:
        assert words[0] in (HVLAB, "ci/hvlab")
        if words[1] == "nightly" and importlib.util.find_spec("lab.cli.nightly") is None:
            continue
        build_parser().parse_args(words[1:])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    names = [path.name for path in SERVICE.glob("hvlab-nightly.*")]
    assert sorted(names) == ["hvlab-nightly.service", "hvlab-nightly.timer"]
    for name in names:
        text = (SERVICE / name).read_text()
        (tmp_path / name).write_text(text.replace(HVLAB, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "--man=no", "verify", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    # An unknown key is only a warning.
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_confined_as_far_as_its_readme_says() -> None:
    said = values(UNIT)
    for key, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "User": "hvlab",
    }.items():
        assert said[key] == [value]
    assert {"MemoryMax", "TasksMax", "Nice", "TimeoutStartSec", "TimeoutStopSec"} <= said.keys()
    table = re.findall(r"^\| (`[^|]+) \|", (SERVICE / "README.md").read_text(), re.MULTILINE)
    absent = {key for row in table for key in re.findall(r"`([A-Z]\w+)=`", row)}
    assert {"RestrictNamespaces", "ProtectKernelTunables", "MemoryDenyWriteExecute"} <= absent
    assert not absent & said.keys()


def test_the_service_writes_only_where_it_may() -> None:
    said = values(UNIT)
    writable = said["ReadWritePaths"][0].split()
    env = dict(pair.split("=", 1) for line in said["Environment"] for pair in shlex.split(line))
    outs = [w[w.index("--out") + 1] for w in commands_of_units() if "--out" in w]
    assert len(outs) == 2
    for path in [env["HVLAB_CACHE"], env["HVLAB_STATE"], *outs]:
        assert any(Path(path).is_relative_to(top) for top in writable)


def test_a_failed_series_is_no_failed_service() -> None:
    assert values(UNIT)["SuccessExitStatus"] == ["1 3"]


def field_ok(text: str, low: int, high: int) -> bool:
    for part in text.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", part)
        if not match or any(g is not None and not low <= int(g) <= high for g in match.groups()[:2]):
            return False
    return True


def test_the_crontab_has_times_and_commands() -> None:
    assert len(jobs()) == 3
    for line in jobs():
        *times, command = line.split(maxsplit=5)
        assert len(times) == 5 and all(field_ok(t, *r) for t, r in zip(times, RANGES, strict=True)), line
        assert "%" not in command, "cron makes a line break of it"
        assert subprocess.run(["sh", "-n", "-c", command], timeout=10).returncode == 0
    assert field_ok("*/5", 0, 59) and not field_ok("61", 0, 59) and not field_ok("x", 0, 59)


def test_the_container_has_the_packages_of_the_bootstrap() -> None:
    script = (repo_root() / "ci" / "hvlab").read_text()
    function = re.search(r"^packages\(\) \{\n.*?^\}$", script, re.MULTILINE | re.DOTALL)
    assert function
    done = subprocess.run(
        ["sh", "-c", function[0] + "\npackages"], capture_output=True, text=True, check=True, timeout=10
    )
    wanted = [line.split("\t")[0] for line in done.stdout.splitlines()]
    recipe = (SERVICE / "Containerfile").read_text()
    install = re.search(r"--no-install-recommends(.*?)&&", recipe, re.DOTALL)
    assert install
    assert install[1].replace("\\", " ").split() == wanted and len(wanted) > 20


def test_the_container_holds_what_the_lab_runs_from() -> None:
    recipe = (SERVICE / "Containerfile").read_text()
    bases = re.findall(r"^FROM (.*)$", recipe, re.MULTILINE)
    assert bases == ["debian:stable-slim"]
    copied = {w for line in re.findall(r"^COPY (.*) \S+$", recipe, re.MULTILINE) for w in line.split()}
    assert all((repo_root() / name).exists() for name in copied)
    assert {"lab", "images", "templates", "tests", "ci", "pyproject.toml"} <= copied
    assert recipe.index("ci/hvlab --yes") < recipe.index("\nUSER hvlab")


def test_the_github_workflow_is_one() -> None:
    flow = load("github.yml")
    on = flow[True]  # YAML 1.1 takes the word "on" for a truth
    assert set(on) == {"schedule", "workflow_dispatch", "pull_request"}, "and not pull_request_target"
    assert flow["permissions"] == {"contents": "read"}
    for cron in (entry["cron"] for entry in on["schedule"]):
        assert all(field_ok(t, *r) for t, r in zip(cron.split(), RANGES, strict=True))
    assert set(flow["jobs"]) == {"validate", "nightly"}
    for job in flow["jobs"].values():
        assert {"runs-on", "steps", "timeout-minutes", "container", "if"} == set(job)
        assert 0 < job["timeout-minutes"] <= 360
        uses = [step.get("uses", "") for step in job["steps"]]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", use) for use in uses if use)
        keeps = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        assert [step["if"] for step in keeps] == ["always()"]
    saves = [name for name, job in flow["jobs"].items() if "cache/save" in " ".join(map(str, job["steps"]))]
    assert saves == ["nightly"], "a pull request must not leave anything for the next night"


def test_the_gitlab_file_is_one() -> None:
    flow = load("gitlab.yml")
    assert set(flow) == {"variables", ".hvlab", "validate", "nightly"}
    assert flow[".hvlab"]["artifacts"]["when"] == "always"
    for name in ("validate", "nightly"):
        job = flow[name]
        assert flow[job["extends"]]["image"] == "debian:stable-slim"
        assert job["script"] and job["rules"] and job["cache"]["key"] and job["timeout"]
    assert flow["validate"]["cache"]["policy"] == "pull"
    assert flow["variables"]["HVLAB_CACHE"].rpartition("/")[2] + "/" in flow["nightly"]["cache"]["paths"]


def test_no_host_is_named() -> None:
    for path in sorted(SERVICE.iterdir()):
        hosts = re.findall(r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|dev)\b", path.read_text())
        assert hosts == [], path.name
