"""Asks for a reason."""

from dataclasses import dataclass

import pipewright
from pipewright import Action, Decision, Wait, approval, setting


@dataclass
class Settings:
    question: str = setting("What the reviewer is asked.", default="May this go out?")


@approval("{{provider}}")
def approve(action: Action, settings: Settings) -> Decision | Wait:
    """Waits until a person approves, and wants to know why."""
    # Called a first time, it waits, which costs the host nothing; the signal calls it again.
    if action.resumed is None or action.resumed.signal is None:
        return Wait(signal="approval", summary=settings.question)
    answer = action.resumed.signal.json()
    if not answer.get("summary"):
        return Decision(approved=False, summary=f"{answer.get('by')} does not say why")
    return Decision(approved=answer["status"] == "Approved", summary=answer["summary"])


Plugin, Approval = pipewright.plugin("{{plugin}}", "0.1.0", [approve], documentation="{{description}}")
