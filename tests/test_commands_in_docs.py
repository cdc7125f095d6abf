"""What the documents tell a reader to type is understood by the real command line."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lokr_weighting.cli import app
from lokr_weighting.cli.options import read_recipe
from lokr_weighting.models.known import SHIPPED
from lokr_weighting.models.table import checkpoints
from lokr_weighting.plan.budget import largest_size
from lokr_weighting.plan.recipe import RECIPES
from tests.documents import DOCUMENTS, HISTORY, ROOT, inline, shell_lines

PROGRAM = re.compile(r"^(?:\w+=\S+ )*(?:lokr-weighting|.*-m lokr_weighting)(?= |$)")
READ = [document for document in DOCUMENTS if document != HISTORY]


def arguments_of(command: str) -> list[str] | None:
    """The arguments of a call of the command line; None where it is none, or is cut short."""
    match = PROGRAM.match(command)
    if match is None or "..." in command:
        return None
    return shlex.split(command[match.end() :])


def parsed(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What the real command line makes of the arguments: the command and its parameters."""
    group: Any = get_command(app)
    with group.make_context("lokr-weighting", [*arguments]) as context:
        name, command, rest = group.resolve_command(context, [*arguments])
        with command.make_context(name, rest, parent=context) as own:
            return name, own.params


def check_values(params: dict[str, Any]) -> None:
    """What is only looked at later: models, budgets, recipes; capitals stand for something else."""
    model = params.get("model")
    if model is not None and not model.isupper() and "/" not in model:
        assert model in {*checkpoints(), *SHIPPED}
    if (budget := params.get("budget")) and not budget.isupper():
        largest_size(budget, [])
    recipe = params.get("recipe")
    if recipe in (None, *RECIPES):
        read_recipe(recipe, params.get("settings"))


def test_there_are_documents_with_commands() -> None:
    calls = [line for each in READ for line in shell_lines(each) if arguments_of(line)]
    assert len(calls) > 30
    assert {arguments[0] for line in calls if (arguments := arguments_of(line))} > {
        *("generate", "plan", "verify", "report", "sizes", "compare")
    }


@pytest.mark.parametrize("document", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_one_that_the_command_line_takes(document: Path) -> None:
    for line in shell_lines(document):
        arguments = arguments_of(line)
        if arguments and not arguments[0].startswith("-"):
            try:
                _, params = parsed(arguments)
                check_values(params)
            except Exception as error:
                raise AssertionError(f"{line}: {error}") from error


@pytest.mark.parametrize("document", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_sentences_have_real_names_and_options(document: Path) -> None:
    """They may leave out what the sentence is not about."""
    for code in inline(document):
        arguments = arguments_of(code)
        if arguments and not arguments[0].startswith("-"):
            try:
                parsed(arguments)
            except Exception as error:
                if type(error).__name__ != "MissingParameter":
                    raise AssertionError(f"{code}: {error}") from error


@pytest.mark.parametrize("document", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_and_targets_that_are_called_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for code in (*shell_lines(document), *inline(document)):
        if script := re.match(r"(?:\w+=\S+ )*python (\w\S*\.py)\b", code):
            assert (ROOT / script[1]).is_file(), code
        if target := re.match(r"make ([a-z]+)\b", code):
            assert target[1] in targets, code


def test_a_wrong_line_would_be_seen() -> None:
    for wrong, said in (
        ("lokr-weighting plan --refrence sd3.5-large", "No such option"),
        ("lokr-weighting plans", "No such command"),
        ("OMP_NUM_THREADS=1 lokr-weighting generate --data images", "Missing"),
    ):
        arguments = arguments_of(wrong)
        assert arguments
        with pytest.raises(Exception, match=said):
            parsed(arguments)
