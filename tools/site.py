"""Hooks of the documentation site: pages made of other files, all pages in the navigation, block titles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
OTHERS = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}
"""Pages that are files of the repository."""

_INCLUDE = re.compile(r'<!-- include: (\S+) from "(.+?)" to "(.+?)" -->')
_FENCE = re.compile(r"^```(python|toml|yaml) (\S+)$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, and to the navigation what it does not name."""
    for name, source in OTHERS.items():
        text = (ROOT / source).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=_inside(text)))
    _complete(config.nav, sorted(file.src_uri for file in files.documentation_pages()))
    return files


def _inside(text: str) -> str:
    """Links to files of the repository that are pages here."""
    for name, source in OTHERS.items():
        text = text.replace(f"]({source})", f"]({name})")
    return re.sub(
        r"\[([^\]]+)\]\((?:\.\./)*(?:README\.md|examples/|LICENSE|src/[^)]*|changes/[^)]*)\)", r"\1", text
    )


def _complete(nav: Any, pages: list[str]) -> None:
    named = set(_pages(nav))
    rest = [page for page in pages if page not in named]
    sections = {title: entries for section in nav for title, entries in section.items()}
    for entry in sections["Reference"]:
        if isinstance(entry, dict) and "Rules" in entry:
            entry["Rules"] = [page for page in rest if page == "rules/index.md"] + [
                page for page in rest if page.startswith("rules/") and page != "rules/index.md"
            ]
    sections["How-to"] += [page for page in rest if not page.startswith("rules/")]


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in _pages(entry)]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Parts of other files; commands; and the names of code blocks, which tests know them by, as titles."""
    markdown = _INCLUDE.sub(_include, markdown).replace("<!-- commands -->", commands())
    return _FENCE.sub(_fence, markdown)


def _include(match: re.Match[str]) -> str:
    file, start, end = match.groups()
    text = (ROOT / file).read_text("utf-8")
    part = text[text.index(start) : text.index(end)]
    return _inside(part.replace("](docs/", "](").replace("](../", "](").strip())


def _fence(match: re.Match[str]) -> str:
    language, name = match.groups()
    return f'```{language} title="{name}"' if "." in name else f"```{language}"


def commands() -> str:
    """The help of every command, as the terminal shows it."""
    from stateguard.commands import stateguard

    parts = []
    for name, command in sorted(stateguard.commands.items()):
        context = click.Context(command, info_name=f"stateguard {name}", max_content_width=100)
        parts.append(f"## stateguard {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)
