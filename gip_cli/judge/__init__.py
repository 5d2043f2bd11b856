"""An LLM's judgment of every row: typed questions to a server or a local model, resumable."""

from gip_cli.judge.answers import Usage, Verdict
from gip_cli.judge.estimate import Estimate, estimate
from gip_cli.judge.item import JudgeItem
from gip_cli.judge.journal import Journal
from gip_cli.judge.rubric import Attribute, Rubric
from gip_cli.judge.run import Outcome, Tally, judge
from gip_cli.judge.server import Api, Server

__all__ = [
    "Api",
    "Attribute",
    "Estimate",
    "Journal",
    "JudgeItem",
    "Outcome",
    "Rubric",
    "Server",
    "Tally",
    "Usage",
    "Verdict",
    "estimate",
    "judge",
]
