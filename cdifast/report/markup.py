"""The few pieces of HTML that the report is made of; every text is escaped here and nowhere else."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence


def inline(text: str) -> str:
    """Text as HTML; what stands between backticks is set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def paragraphs(*texts: str) -> str:
    """One paragraph a text."""
    return "\n".join(f"<p>{inline(text)}</p>" for text in texts)


def commands(*lines: str) -> str:
    """Commands to copy and paste, each with its explanation as a shell comment."""
    return f"<pre><code>{html.escape(chr(10).join(lines))}</code></pre>"


def figure(png: bytes, alternative: str, caption: str) -> str:
    """A picture inside the page itself.

    Parameters
    ----------
    png
        The file's bytes.
    alternative
        For readers who do not see it.
    caption
        Below it.
    """
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(alternative)}">'
        f"<figcaption>{inline(caption)}</figcaption></figure>"
    )


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A table whose first column names the rows, with notes below.

    A second line in a cell (after a line break) is set small: an interval below its value.

    Raises
    ------
    ValueError
        A row longer or shorter than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"table {caption!r}: found a row of {len(row)} cells, expected {len(header)}: {row}")
    head = "".join(f'<th scope="col">{inline(cell)}</th>' for cell in header)
    body = "\n".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    foot = "".join(f'<p class="note">{inline(note)}</p>' for note in notes)
    return (
        f'<div class="table"><table><caption>{inline(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table>{foot}</div>"
    )


def pairs(caption: str, values: Mapping[str, object]) -> str:
    """A table of names and what they stand for."""
    body = "\n".join(
        f'<tr><th scope="row">{inline(name)}</th><td>{inline(str(value))}</td></tr>' for name, value in values.items()
    )
    return (
        f'<div class="table"><table class="pairs"><caption>{inline(caption)}</caption>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def section(title: str, *content: str) -> str:
    """A part of the page with its heading."""
    return f"<section><h2>{inline(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def _cell(text: str) -> str:
    first, _, second = text.partition("\n")
    return inline(first) + (f"<br><small>{inline(second)}</small>" if second else "")
