"""The learning rate as a function of the position in the run: nothing has a state that would have to be saved."""

from __future__ import annotations

import math
from typing import Final, Literal

Schedule = Literal["steps", "cosine", "one-cycle"]

START: Final = 25.0
"""One cycle begins at the learning rate / 25 and ends at that / 10^4 (the defaults of torch's `OneCycleLR`)."""
END: Final = 1e4


def learning_rate_at(
    step: int,
    steps: int,
    *,
    rate: float,
    schedule: Schedule,
    warmup: float = 0.0,
    decay_every: float = math.inf,
    decay_factor: float = 1.0,
) -> float:
    """Learning rate of one step.

    - ``"steps"``: times `decay_factor` after every `decay_every` steps (P1, section 3.1.5), after a linear rise
      over `warmup` steps.
    - ``"cosine"``: the same rise, then half a cosine down to 0 at the end (Loshchilov and Hutter 2017).
    - ``"one-cycle"``: half a cosine up from rate / 25 over `warmup` steps, half a cosine down to
      rate / 250 000 at the last step (Smith and Topin 2018, as torch's `OneCycleLR` computes it; the momentum
      stays).

    Parameters
    ----------
    step
        Counted from 0 over the whole run.
    steps
        Of the whole run.
    rate
        The highest learning rate.
    schedule
        See above.
    warmup
        Steps of the rise; fractions count.
    decay_every, decay_factor
        Of ``"steps"``.

    Returns
    -------
    float
    """
    if schedule == "one-cycle":
        low = rate / START
        top = max(warmup - 1, 0.0)  # the step at which the rate is highest
        last = steps - 1
        if step < top:
            return _half_cosine(low, rate, step / top)
        return _half_cosine(rate, low / END, (step - top) / (last - top)) if last > top else rate
    if schedule == "cosine":
        rest = max(steps - warmup, 1e-9)
        value = rate * (1 + math.cos(math.pi * min(max(step - warmup, 0.0) / rest, 1.0))) / 2
    elif schedule == "steps":
        value = rate * decay_factor ** math.floor(step / decay_every)
    else:
        raise ValueError(f"schedule: found {schedule!r}, expected 'steps', 'cosine' or 'one-cycle'")
    if step < warmup:
        value *= min(1.0, (step + 1) / warmup)
    return value


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
