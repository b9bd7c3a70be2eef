"""What a training step costs beside the same network written plainly, and where its time goes.

    python -m benchmarks.training_profile --threads 2

Both steps take turns in one run (the ratio), then ours is profiled: the shares of the log activation, forwards and
backwards, and of making the batch (drawing, copying, changing the images). On a machine doing nothing else.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import threads, timing
from benchmarks.bench_training import our_step, plain_step
from cdifast.report import describe_machine
from cdifast.train.step import TrainStep

BATCH_PREPARATION = "batch preparation"
LOG_ACTIVATION = ("cdifast::log_activation", "cdifast::log_activation_backward")
STEP = "step"


class MarkedStep(TrainStep):
    """A step whose batch preparation is marked in the profile."""

    def batch(self, rows: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """As `TrainStep.batch`."""
        with record_function(BATCH_PREPARATION):
            return super().batch(rows, epoch, step)


def shares(rounds: int) -> dict[str, float]:
    """Share of a step that each part takes, by torch's profiler."""
    run = our_step(kind=MarkedStep)
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(rounds):
            with record_function(STEP):
                run()
    times = {event.key: event.cpu_time_total for event in profiler.key_averages()}
    missing = {STEP, BATCH_PREPARATION, *LOG_ACTIVATION} - times.keys()
    if missing:
        raise RuntimeError(f"the profile has no {', '.join(sorted(missing))}")
    return {
        "log activation": sum(times[name] for name in LOG_ACTIVATION) / times[STEP],
        BATCH_PREPARATION: times[BATCH_PREPARATION] / times[STEP],
    }


def ratio(rounds: int) -> dict[str, Any]:
    """Time of the plain step / time of ours, from rounds in turn."""
    turns = timing.Turns({"ours": our_step(), "plain": plain_step()})
    ours = []
    for _ in range(rounds):
        turns.others()
        ours.append(timing.seconds_of(turns.runs["ours"]))
    found = timing.summary([plain / own for plain, own in zip(turns.seconds["plain"], ours, strict=True)])
    return {
        "ours, seconds": timing.summary(ours),
        "plain, seconds": timing.summary(turns.seconds["plain"]),
        "ratio": found,
    }


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=threads.COUNTS[-1])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with threads.limit_threads(arguments.threads):
        result = {
            "machine": describe_machine(),
            "threads": arguments.threads,
            **ratio(arguments.rounds),
            "shares of a step": shares(arguments.rounds),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
