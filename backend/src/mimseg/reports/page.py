"""One skeleton and one style sheet for all reports: HTML files that need no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Container, Iterable, Sequence
from html import escape

from mimseg import __version__

NOTICE = "For research use only. Not a medical device; not for diagnosis or treatment."
SHOWS_CASES = f"{NOTICE} This page shows images and names of cases: handle it like the data."

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.notice { color: #92400e; font-size: .9rem; } .small { color: #6b7280; font-size: .86rem; }
.verdict { background: #eff6ff; border-left: 4px solid #2563eb; padding: .7rem 1rem; font-size: 1.05rem; }
.missing { background: #fef2f2; padding: .5rem 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e5e7eb; text-align: left; vertical-align: top; }
td:not(:first-child) { white-space: nowrap; } th { background: #f9fafb; font-weight: 600; }
.marked td { background: #f0fdf4; }
.finding { border-left: 5px solid #9ca3af; padding: .3rem 0 .3rem .9rem; margin: .9rem 0; }
.finding p { margin: .2rem 0; } .tag { font-size: .8rem; text-transform: uppercase; letter-spacing: .04em; }
.error { border-color: #dc2626; } .warning { border-color: #f59e0b; }
.error .tag { color: #b91c1c; } .warning .tag { color: #92400e; }
figure { margin: .5rem 0; } img { max-width: 100%; border-radius: 4px; }
figcaption { color: #6b7280; font-size: .86rem; } .pair figure { display: inline-block; max-width: 49%; }
code { background: #f3f4f6; padding: .1rem .3rem; overflow-wrap: anywhere; }
"""


def page(title: str, heading: str, notice: str, verdict: tuple[str, str], parts: Iterable[str], end: str = "") -> str:
    """A whole page.

    Args:
        title: Of the window.
        heading: What was asked or done.
        notice: `NOTICE`, or `SHOWS_CASES` where cases are named or shown.
        verdict: The answer in one sentence, and what else is to be said of it; plain text.
        parts: HTML of everything below; empty ones are left out.
        end: Last line, before the version that made the page; plain text.
    """
    lines = [
        f"<h1>{escape(heading)}</h1>",
        f'<p class="notice">{escape(notice)}</p>',
        f'<p class="verdict"><b>{escape(verdict[0])}</b> {escape(verdict[1])}</p>',
        *parts,
        small(f"{end} Made by mimseg {__version__}.".strip()),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(line for line in lines if line)
        + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading with what is below it (HTML)."""
    return f"<h2>{escape(title)}</h2>{''.join(parts)}"


def small(text: str) -> str:
    """A paragraph in small grey letters."""
    return f'<p class="small">{escape(text)}</p>'


def bullets(sentences: Iterable[str]) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], marked: Container[int] = ()) -> str:
    """A table of plain texts; the rows whose numbers are in `marked` stand out."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in columns)
    body = "".join(
        f"<tr{' class=marked' if number in marked else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        for number, row in enumerate(rows)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(png: bytes, caption: str, legend: str = "") -> str:
    """A picture in the page itself.

    Args:
        png: The file.
        caption: Below it, and for those who do not see it; plain text.
        legend: More below it, in HTML.
    """
    data, text = base64.b64encode(png).decode("ascii"), escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}{legend}</figcaption></figure>'
    )
