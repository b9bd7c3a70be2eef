"""The tables in Markdown: the ratios of the README, and everything else of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .results import Entry, RatioRow, Results, Timing
from .rows import ROWS, Row

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
OURS = ("ours, out=", "ours")  # what the other entries of a table are set against


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first two are numbers."""
    align = ["---" if column < 2 else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *lines))


def duration(seconds: float) -> str:
    """Three digits, in the unit that suits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        value = seconds * factor
        if value >= 1:
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def times(ratio: float) -> str:
    """A ratio: two digits below ten, whole numbers with separators above."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def error(timing: Timing) -> str:
    """Relative error against float64; a dash for what computes nothing."""
    return "–" if timing.error is None else f"{timing.error:.0e}"


def machine_line(results: Results) -> str:
    """The machine, the versions, the commit: one sentence."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items() if version)
    memory = f", {machine['memory_gb']:.0f} GB" if machine["memory_gb"] else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores{memory}, instruction set {machine['instruction_set']}; "
        f"{versions}; {results.date}, commit {results.commit}."
    )


# --- the ratios


def readme_block(results: Results, slug: str) -> str:
    """What stands between the markers of the README."""
    note = f"[every entry](benchmarks/results/{slug}.md), [roofline](docs/roofline.md)."
    return f"{BEGIN}\n{ratio_table(results)}\n\n{machine_line(results)} {note}\n{END}"


def ratio_table(results: Results) -> str:
    """Every row of :data:`benchmarks.rows.ROWS`; one that was not measured says why."""
    head = ("work", "against", "ratio", "asked for", "ours", "theirs", "error", "their error")
    return table(head, [_ratio_line(results, row) for row in ROWS])


def _ratio_line(results: Results, row: Row) -> list[str]:
    ratio = results.ratio(row)
    measured = results.row(row.published_of or row.id)
    asked = f"{times(row.target)}x"
    if ratio is None or measured is None or measured.ours is None:
        return [row.work, row.against, _why_missing(measured), asked, *("–",) * 4]
    found = f"**{times(ratio)}x**" if ratio >= row.target else f"{times(ratio)}x (below)"
    ours = measured.ours
    if row.published_of is not None:
        a_map = duration(ours.item_seconds)
        return [row.work, row.against, found, asked, f"{a_map} a map", "6.5 s a map", error(ours), "–"]
    theirs = measured.peers[str(measured.fastest)]
    return [
        row.work,
        row.against,
        found,
        asked,
        duration(ours.median),
        duration(theirs.median),
        error(ours),
        error(theirs),
    ]


def _why_missing(measured: RatioRow | None) -> str:
    if measured is None or not measured.missing:
        return "not measured"
    return "missing: " + "; ".join(measured.missing.values())


def replace_block(text: str, block: str, first: str = BEGIN, last: str = END) -> str:
    """``text`` with ``block`` in the place of what stands between two markers, they included."""
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"README.md lacks the markers {first} and {last}")
    return before + block + after


# --- everything


def full_page(results: Results) -> str:
    """The results page: ratios with their spread and every peer, then every entry."""
    parts = [
        "# Benchmarks",
        f"Written by `make bench`. {machine_line(results)}",
        "## Ratios",
        "Time of the fastest peer / our time, an item, with the quartiles of the rounds, in which all took turns.",
        _all_peers(results),
    ]
    if results.missing:
        lines = sorted({(item["family"], item["name"], item["reason"]) for item in results.missing})
        parts += ["## Missing peers", table(("family", "call", "reason"), lines)]
    parts += [
        "## Every entry",
        "Median time of an item (an image, a map, an element), in brackets as a multiple of ours. The error is the "
        "largest of the sizes, relative, against float64; a dash for what does not compute the same.",
    ]
    for family in dict.fromkeys(entry.family for entry in results.entries):
        entries = [entry for entry in results.entries if entry.family == family]
        for work in dict.fromkeys(entry.work for entry in entries):
            parts.append(f"### {family.capitalize()}: {work}")
            parts.append(_table_of(family, [entry for entry in entries if entry.work == work]))
    return "\n\n".join(parts) + "\n"


def _all_peers(results: Results) -> str:
    lines = []
    for row in results.rows:
        title = next(known.work for known in ROWS if known.id == row.id)
        if row.ours is not None:
            lines.append([title, "ours", duration(row.ours.median), "", "", error(row.ours)])
            for name, peer in row.peers.items():
                ratio = f"{times(peer.item_seconds / row.ours.item_seconds)}x"
                spread = " – ".join(map(times, row.spread)) if row.spread and name == row.fastest else ""
                lines.append([title, name, duration(peer.median), ratio, spread, error(peer)])
        lines += [[title, name, f"missing: {why}", "", "", "–"] for name, why in row.missing.items()]
    return table(("work", "call", "time", "ratio", "quartiles", "error"), lines)


def _table_of(family: str, entries: list[Entry]) -> str:
    if family == "limits":
        return _limits_table(entries)
    if family == "heap":
        return _heap_table(entries)
    sizes = sorted({entry.size for entry in entries})
    found = {(entry.name, entry.dtype, entry.threads, entry.size): entry for entry in entries}
    lines = []
    for name, dtype, threads in dict.fromkeys((entry.name, entry.dtype, entry.threads) for entry in entries):
        cells = []
        errors = []
        for size in sizes:
            entry = found.get((name, dtype, threads, size))
            ours = next((found[key] for own in OURS if (key := (own, dtype, threads, size)) in found), None)
            cells.append("–" if entry is None else _cell(entry, ours))
            if entry is not None and entry.timing.error is not None:
                errors.append(entry.timing.error)
        lines.append([name, f"{dtype}, {threads}", *cells, f"{max(errors):.0e}" if errors else "–"])
    return table(("call", "type, threads", *map(str, sizes), "error"), lines)


def _cell(entry: Entry, ours: Entry | None) -> str:
    text = duration(entry.timing.item_seconds)
    if ours is None or ours is entry:
        return text
    return f"{text} ({times(entry.timing.item_seconds / ours.timing.item_seconds)}x)"


def _limits_table(entries: list[Entry]) -> str:
    sizes = sorted({entry.size for entry in entries})
    rates = {(entry.name, entry.threads, entry.size): 1e-9 / entry.timing.item_seconds for entry in entries}
    head = [f"{size >> 20} MB" if size >> 20 else str(size) for size in sizes]
    lines = [
        [
            name,
            str(threads),
            *(f"{rates[name, threads, size]:.4g}" if (name, threads, size) in rates else "–" for size in sizes),
        ]
        for name, threads in dict.fromkeys((entry.name, entry.threads) for entry in entries)
    ]
    unit = "GB/s" if entries[0].work == "bytes" else "10⁹ operations/s"
    return f"{unit}, by working set or side of the matrices.\n\n" + table(("call", "threads", *head), lines)


def _heap_table(entries: list[Entry]) -> str:
    found = {(entry.name, entry.threads, entry.heap): entry.timing.median for entry in entries}
    lines = [
        [
            name,
            str(threads),
            *(duration(found[key]) if (key := (name, threads, heap)) in found else "–" for heap in ("warm", "cold")),
        ]
        for name, threads in dict.fromkeys((entry.name, entry.threads) for entry in entries)
    ]
    text = (
        "One call on 12.8 million float32. Warm: freed blocks keep their pages, as everywhere else on this page. Cold: "
        "the C library's default, that returns a block of this size to the system at once, so that each new result "
        "meets a page fault every 4 kB."
    )
    return f"{text}\n\n" + table(("call", "threads", "warm heap", "cold pages"), lines)
