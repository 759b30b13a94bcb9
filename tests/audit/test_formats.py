"""The output formats."""

import json
import os
from importlib.resources import files

import jsonschema

from tests.audit.sarif_schema import LOG
from tests.audit.test_changes import recorded


def test_json_has_the_documented_fields(leak):
    result = leak.run("--format", "json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["version"] == 1
    [finding] = document["findings"]
    assert finding["rule"] == "SG101"
    assert finding["name"] == "shared-container"
    assert (finding["file"], finding["line"], finding["column"]) == ("app.py", 9, 5)
    assert finding["function"] == "chat"
    assert finding["severity"] == "critical"
    assert finding["confidence"] == "high"
    assert finding["defined_at"] == {"file": "app.py", "line": 4}
    assert [(w["file"], w["line"]) for w in finding["writes"]] == [("app.py", 9)]
    assert "HISTORY" in finding["message"]
    assert document["summary"]["files"] == 1


def test_json_validates_against_the_schema_that_comes_with_the_package(leak):
    schema = json.loads((files("stateguard.report.findings") / "schema.json").read_text("utf-8"))
    leak.write(
        "other.py", "import os\ndef f(token):\n    os.environ['T'] = token  # stateguard: ignore[SG101]\n"
    )
    leak.write("broken.py", "def (\n")
    leak.write("leaks.jsonl", json.dumps(recorded("lib.x", "lib.py", 4).to_dict()))
    for arguments in ((), ("--evidence", "leaks.jsonl"), ("--select", "ALL", "--min-severity", "note")):
        document = json.loads(leak.run("--format", "json", *arguments).stdout)
        jsonschema.Draft202012Validator(schema).validate(document)
        assert document["version"] == schema["properties"]["version"]["const"]
        assert {f["rule"] for f in document["findings"]} >= {"SG101", "SG113", "SG198", "SG199"}


def test_sarif_validates_against_its_schema(leak):
    leak.write("weird name ä.py", "X = []\ndef f(user):\n    X.append(user)\n")
    leak.write("broken.py", "def (\n")
    document = json.loads(leak.run("--format", "sarif").stdout)
    jsonschema.Draft7Validator(LOG).validate(document)
    results = document["runs"][0]["results"]
    assert {r["ruleId"] for r in results} == {"SG101", "SG199"}
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in results)


def test_an_empty_sarif_run_validates_too(project):
    project.write("app.py", "x = 1\n")
    result = project.run("--format", "sarif")
    assert result.exit_code == 0
    jsonschema.Draft7Validator(LOG).validate(json.loads(result.stdout))


def test_github_annotations_escape_what_they_must(leak):
    result = leak.run("--format", "github")
    [line] = result.stdout.splitlines()
    assert line.startswith(
        "::error title=SG101 shared-container,file=app.py,line=9,col=5,endLine=9,endColumn=28::"
    )
    assert "%0A" in line


def test_github_is_the_default_in_a_workflow(leak, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert leak.run().stdout.startswith("::error ")


def test_concise_is_one_line_per_finding(leak):
    [line] = leak.run("--format", "concise", "-q").stdout.splitlines()
    assert line.startswith(
        "app.py:9:5: SG101 critical `HISTORY` is one list for all requests; `chat` appends to it"
    )
    assert line.endswith("[reachable from POST /chat]")


def test_full_shows_the_line_the_definition_the_way_and_the_repair(leak):
    text = leak.run().stdout
    assert "SG101 shared-container  critical" in text
    assert "--> app.py:9:5" in text
    assert "9 │     HISTORY.append(message)" in text
    assert "━━━━━━━━━━━━━━━━━━━━━━━" in text
    assert "app.py:4  `HISTORY = []`" in text
    assert "from POST /chat" in text
    assert "HISTORY = scoped(list)" in text
    assert "1 finding: 1 critical" in text


def test_many_findings_get_tables_by_rule_and_by_file(project):
    for letter in "abcdefgh":
        project.write(f"{letter}.py", "X = []\ndef f(user):\n    X.append(user)\n")
    text = project.run().stdout
    assert "By rule" in text
    assert "By file" in text
    assert "3 more files" in text


def test_output_goes_to_a_file(leak):
    result = leak.run("--format", "json", "--output", "out.json")
    assert result.exit_code == 1
    assert json.loads((leak.root / "out.json").read_text())["findings"]
    leak.run("--output", "out.txt")
    assert "\x1b" not in (leak.root / "out.txt").read_text()


def test_source_with_markup_is_printed_as_it_is(project):
    project.write("app.py", "X = []\ndef f(user):\n    X.append('[red]' + user + '[/red]')\n")
    assert "X.append('[red]' + user + '[/red]')" in project.run().stdout


def test_a_file_name_that_is_not_text_is_printed_in_every_format(leak):
    (leak.root / os.fsdecode(b"\xff.py")).write_text("X = []\ndef f(user):\n    X.append(user)\n")
    for style in ("full", "concise", "github", "json", "sarif"):
        assert leak.run("--format", style, "--output", f"out.{style}").exit_code == 1
        assert (leak.root / f"out.{style}").stat().st_size > 100
    jsonschema.Draft7Validator(LOG).validate(json.loads((leak.root / "out.sarif").read_text()))
    assert leak.run("--write-baseline", "base.json").exit_code == 0
    leak.run(cache=True)
    assert leak.run(cache=True).exit_code == 1


def test_json_places_what_the_program_does_not_define_at_the_write(project):
    project.write("app.py", "import os\n\n\ndef f(token):\n    os.environ['TOKEN'] = token\n")
    [finding] = json.loads(project.run("--format", "json").stdout)["findings"]
    assert finding["defined_at"] == {"file": "app.py", "line": 5}
