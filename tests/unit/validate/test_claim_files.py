# SPDX-License-Identifier: GPL-2.0-or-later
"""The claim files: what is refused, and that claims and scenarios know each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lab import paths
from lab.model.errors import BadInput
from lab.race import engine, recipes
from lab.race.judging import PREFIX
from lab.validate.claim_files import load, load_all, select

WHOLE = """# a claim
id = "C4"
title = "t"
class = "c"
message = "20260101.1@example.org"
source = "s"
version = "v0"
wording = "w"
property = "p"

[[decided_by]]
scenarios = ["touch"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "C4.toml"
    path.write_text(text)
    return path


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    claim = load(write(tmp_path, WHOLE + 'flavours = ["debug"]\nfails_with = "x|y"\n'))
    assert (claim.id, claim.cls, claim.message) == ("C4", "c", "20260101.1@example.org")
    [decider] = claim.deciders
    assert decider.scenarios == ("touch",) and decider.flavours == ("debug",)
    assert (decider.fails_with, decider.refutes) == ("x|y", True)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (WHOLE + "fail_with = 'x'\n", 13, "did you mean fails_with"),
        ('titel = "t"\n' + WHOLE, 1, "did you mean title"),
        (WHOLE.replace('"t"', "3"), 3, "title must be a string"),
        (WHOLE.replace('title = "t"', 'title = " "'), 3, "title is missing or empty"),
        (WHOLE.replace('"C4"', '"C5"'), 2, "id must be that of the file"),
        (WHOLE.replace('["touch"]', '"touch"'), 12, "scenarios must be a list of strings"),
        (WHOLE.replace('["touch"]', "[]"), 11, "decided_by without scenarios"),
        (WHOLE + "fails_with = '('\n", 13, "no regular expression"),
        (WHOLE + "refutes = 'no'\n", 13, "refutes must be true or false"),
        (WHOLE.replace("20260101.1@example.org", ""), 6, "where to find the remark"),
        (WHOLE.replace("[[decided_by]]", "[decided_by]"), 11, "decided_by must be [[decided_by]]"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(write(tmp_path, text))
    assert caught.value.where == f"{tmp_path / 'C4.toml'}:{line}"
    assert words in str(caught.value)


@pytest.mark.parametrize("tail", ["", '[[decided_by]]\nscenarios = ["touch"]\nrefutes = false\n'])
def test_a_claim_that_is_not_decided_whole_must_say_why(tmp_path: Path, tail: str) -> None:
    head = WHOLE.partition("[[decided_by]]")[0]
    with pytest.raises(BadInput, match="undecided does not say why"):
        load(write(tmp_path, head + tail))
    assert load(write(tmp_path, head + 'undecided = "because"\n' + tail)).undecided == "because"


def test_a_name_that_is_no_claims_is_refused() -> None:
    claims = load_all()
    assert [c.id for c in select(claims, ["C16", "C3"])] == ["C3", "C16"]
    assert select(claims, []) == claims
    with pytest.raises(BadInput, match="no such claim: 'C99'"):
        select(claims, ["C99"])


def scenarios() -> dict[str, tuple[tuple[str, ...], str]]:
    """Claims and source text of every scenario, by its name without ``test_``."""
    found = {}
    for path in sorted((paths.tests_dir() / "guest" / "scenarios").glob("test_*.py")):
        source = path.read_text()
        for node in ast.parse(source).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            for mark in node.decorator_list:
                if (
                    isinstance(mark, ast.Call)
                    and isinstance(mark.func, ast.Name)
                    and mark.func.id == "scenario"
                ):
                    named = [ast.literal_eval(k.value) for k in mark.keywords if k.arg == "claims"]
                    text = ast.get_source_segment(source, node) or ""
                    found[node.name.removeprefix("test_")] = (tuple(named[0]) if named else (), text)
    return found | races()


def races() -> dict[str, tuple[tuple[str, ...], str]]:
    """The same of recipes, by the name under which their outcome is told; proofs are worded in the code."""
    room = Path(engine.__file__).parent
    text = "".join((room / name).read_text() for name in ("held.py", "runner.py"))
    known = recipes.load_all(recipes.recipes_dir())
    return {f"{PREFIX}{recipe.id}": (recipe.claims, text) for recipe in known}


SCENARIOS = scenarios()
CLAIMS = load_all()


def test_every_claim_has_its_file() -> None:
    assert [claim.id for claim in CLAIMS] == [f"C{n}" for n in range(1, len(CLAIMS) + 1)]
    assert len(CLAIMS) >= 23


def test_every_claim_of_a_scenario_has_a_file() -> None:
    known = {claim.id for claim in CLAIMS}
    wrong = {name: set(claims) - known for name, (claims, _) in SCENARIOS.items() if set(claims) - known}
    assert len(SCENARIOS) > 50 and wrong == {}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_scenario_of_a_claim_exists_and_names_it(claim) -> None:
    for decider in claim.deciders:
        for name in decider.scenarios:
            assert name in SCENARIOS, f"{claim.id}: there is no scenario {name}"
            assert claim.id in SCENARIOS[name][0], f"{name} does not name {claim.id}"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_that_shares_a_scenario_has_a_reason_of_its_own(claim) -> None:
    """Without it a failure for one claim would reproduce the other."""
    for decider in claim.deciders:
        shared = [name for name in decider.scenarios if len(SCENARIOS.get(name, ((), ""))[0]) > 1]
        assert decider.fails_with or not shared, f"{claim.id}: {shared} without fails_with"


SPLAT = re.compile(r"KASAN|KCSAN|lockdep/|kasan/|sleeping function|invalid.wait.context|WARNING in|warning/")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_reason_is_one_that_a_scenario_can_give(claim) -> None:
    """The words of at least one alternative stand in each scenario, its fixtures, or are those of a splat: a
    scenario that was reworded would else never reproduce its claim again."""
    shared = (paths.tests_dir() / "guest" / "scenarios" / "conftest.py").read_text()
    for decider in claim.deciders:
        if not decider.fails_with or SPLAT.search(decider.fails_with):
            continue
        for name in decider.scenarios:
            text = SCENARIOS[name][1] + shared
            words = [re.sub(r"\\.|[\^$]|\[.*?\]\+?", "", w).strip() for w in decider.fails_with.split("|")]
            assert any(w and w in text for w in words), f"{claim.id}: {name} says none of {words}"
