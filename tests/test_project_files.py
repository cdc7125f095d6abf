"""The forms and workflows of the code host say what is there."""

import re
import stat
from pathlib import Path

import pytest
import yaml

from tests.documents import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
KINDS = {"markdown", "input", "textarea", "checkboxes", "dropdown"}


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_what_the_host_asks_for(form: Path) -> None:
    data = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem == "config":
        assert set(data) == {"blank_issues_enabled"}
        return
    assert {"name", "description", "body"} <= set(data)
    assert {row["type"] for row in data["body"]} <= KINDS
    asked = [row for row in data["body"] if row["type"] != "markdown"]
    assert len({row["id"] for row in asked}) == len(asked)
    assert all(row["attributes"]["label"] for row in asked)
    assert any(row.get("validations", {}).get("required") for row in asked)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_is_there(workflow: Path) -> None:
    data = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    commands = [
        step["run"] for job in data["jobs"].values() for step in job["steps"] if "run" in step
    ]
    assert commands
    for command in commands:
        program, *arguments = command.split()
        if program == "make":
            assert set(arguments) <= {*targets}
        else:
            assert (ROOT / program).stat().st_mode & stat.S_IXUSR


def test_what_lands_here_is_lint_site_and_the_readmes_test_command() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("make")] == [
        "make lint",
        "make docs",
        "make test",
    ]
