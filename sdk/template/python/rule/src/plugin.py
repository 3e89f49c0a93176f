"""Passes at certain hours.

It runs where a pipeline of type V2 has it among the `rules` of a stage's `beforeEntry`, `onSuccess` or `onFailure`:

    { "name": "Hours", "ruleTypeId": {"category": "Rule", "owner": "Custom", "provider": "{{provider}}", "version": "1"} }
"""

import time
from dataclasses import dataclass

import pipewright
from pipewright import Action, Verdict, rule, setting

HOUR_SECONDS = 60 * 60


@dataclass
class Settings:
    start: int = setting("The first hour of the day (UTC) in which the rule passes.", default=8, name="From")
    end: int = setting("The first hour after it in which it passes no more.", default=17, name="To")


@rule("{{provider}}")
def hours(action: Action, settings: Settings) -> Verdict:
    """Passes at certain hours of the day."""
    # Without the grant of a clock, time stands still at the start of the call, which is all that is wanted here.
    hour = int(time.time()) // HOUR_SECONDS % 24
    if settings.start <= hour < settings.end:
        return Verdict(passed=True)
    when = f"from {settings.start} to {settings.end} is the time"
    return Verdict(passed=False, reason=f"it is {hour} o'clock UTC; {when}")


Plugin, Rule = pipewright.plugin("{{plugin}}", "0.1.0", [hours], documentation="{{description}}")
