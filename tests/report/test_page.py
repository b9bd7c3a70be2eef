"""The page: well-formed, self-contained, escaped, and with the numbers that were measured."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from cdifast.evaluate import rule_violations
from cdifast.report import Report, compare, describe_machine, describe_versions, markup, render
from cdifast.report.similarity import Similarity

CLASSES = ("Round", "<script>alert('x')</script>", "Q & A")
VOID = {"meta", "br", "img"}
PNG = b"\x89PNG not really"


class Checker(HTMLParser):
    """Follows the tags; collects tables, attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "br" and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += "\n"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def report() -> Report:
    rng = np.random.default_rng(0)
    truth = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    guess = np.where(rng.random((40, 3)) < 0.1, 1 - truth, truth)
    guess[:, 2] = 0
    baselines = {"all-negative": np.zeros_like(truth), "majority": np.tile([1, 0, 0], (40, 1))}
    return Report(
        size=64,
        input_size=32,
        epochs=2,
        classes=CLASSES,
        train_counts=np.array([50, 60, 70]),
        held_out_counts=truth.sum(axis=0, dtype=np.int64),
        train_images=200,
        comparison=compare(truth, guess, baselines, CLASSES, resamples=100),
        similarity=Similarity(np.zeros((40, 13), np.int64), 0.423, 0.217, "0123"),
        label_violations=rule_violations(truth, CLASSES),
        wrong_images=7,
        pictures={name: (PNG, f'a "{name}"', "<b>") for name in ("examples", "counts", "curves", "views", "wrong")},
        settings={"seed": 0},
        fingerprints={"weights": "ab" * 32},
        versions=describe_versions(),
        machine=describe_machine(),
        seconds={"simulation": 1.25, "training": 2.5},
        files={"maps.h5": "maps"},
        next_steps=["cdifast info 'a&b.cxi'"],
    )


def test_page_is_well_formed_and_loads_nothing(report: Report) -> None:
    page = render(report)
    checker = parsed(page)
    assert {"html", "title", "h1", "table", "img"} <= checker.seen
    assert not {"script", "link", "iframe", "object"} & checker.seen
    for tag, name, value in checker.attributes:
        if name in ("src", "href", "srcset", "data"):
            assert value.startswith("data:image/png;base64,"), (tag, value[:60])
            assert base64.b64decode(value.split(",")[1]) == PNG
    assert not re.search(r"https?:|@import|url\(", page)
    assert all(value for tag, name, value in checker.attributes if (tag, name) == ("img", "alt"))


def test_names_are_shown_and_not_obeyed(report: Report) -> None:
    page = render(report)
    assert "<script" not in page
    checker = parsed(page)
    assert [row[0] for row in checker.rows if row[0] in CLASSES] == list(CLASSES)
    assert "cdifast info 'a&b.cxi'" in checker.text


def test_tables_hold_what_scikit_learn_measures(report: Report) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    guess = np.where(rng.random((40, 3)) < 0.1, 1 - truth, truth)
    guess[:, 2] = 0
    precision = metrics.precision_score(truth, guess, average="micro")
    recall = metrics.recall_score(truth, guess, average="micro")
    rows = {row[0]: row[1:] for row in parsed(render(report)).rows}
    assert [cell.partition("\n")[0] for cell in rows["network"]] == [
        f"{(truth == guess).mean():.3f}",
        f"{precision:.3f}",
        f"{recall:.3f}",
    ]
    majority = truth[:, 0].mean()
    assert rows["network minus majority"][1].startswith(f"{100 * (precision - majority):+.1f}\n")
    assert rows["network minus all-negative"][2].startswith(f"{100 * recall:+.1f}\n")
    each = (
        metrics.precision_score(truth, guess, average=None, zero_division=0),
        metrics.recall_score(truth, guess, average=None),
    )
    support = truth.sum(axis=0)
    assert rows["Round"] == [
        str(support[0]),
        f"{each[0][0]:.3f}",
        "–",
        f"{majority:.3f}",
        f"{each[1][0]:.3f}",
        "0.000",
        "1.000",
    ]


def test_undefined_precision_is_a_dash_with_a_footnote(report: Report) -> None:
    checker = parsed(render(report))
    rows = {row[0]: row[1:] for row in checker.rows}
    assert rows["all-negative"][1] == "–"
    assert rows["network minus all-negative"][1] == "–"
    assert rows["Q & A"][1:4] == ["–", "–", "–"]  # nobody predicts it
    assert "undefined, because nothing was predicted" in checker.text
    precision = report.comparison.network.pooled["precision"].value
    assert f"would be {100 * precision:.1f} points ahead" in checker.text


def test_stage_times_add_up(report: Report) -> None:
    rows = {row[0]: row[1:] for row in parsed(render(report)).rows}
    assert (rows["simulation"], rows["training"], rows["all"]) == (["1.2"], ["2.5"], ["3.8"])


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells, expected 2"):
        markup.table("t", ["a", "b"], [["only"]])
