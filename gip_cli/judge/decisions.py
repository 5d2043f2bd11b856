"""OpenAI Decisions: the same typed questions through the `openai` package's own method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gip_cli.judge.answers import REFUSED, UNPARSED, Answer, Usage, Verdict, number, on_levels
from gip_cli.judge.rubric import Attribute, Rubric

if TYPE_CHECKING:
    from openai.types.decision_create_params import QuestionQuestionParamScore

    from gip_cli.judge.http import Http


class Decisions:
    """Asks ``POST {base_url}/decisions``."""

    api = "openai"

    def __init__(self, http: Http, model: str, rubric: Rubric) -> None:
        self._http = http
        self._model = model
        self._rubric = rubric

    async def ask(self, state: str) -> Answer:
        reply = await self._http.reply(
            self._http.client.decisions.with_raw_response.create(
                model=self._model, input=state, questions=questions(self._rubric)
            )
        )
        return Answer(
            reply, verdicts(self._rubric, reply.get("answers")), Usage.of(reply.get("usage"))
        )


def questions(rubric: Rubric) -> list[QuestionQuestionParamScore]:
    """The rubric as score questions; a level's label is its number, from 1."""
    return [
        {
            "type": "score",
            "name": one.name,
            "instructions": one.instructions,
            "levels": [
                {"label": str(rank), "description": level}
                for rank, level in enumerate(one.levels, 1)
            ],
        }
        for one in rubric.attributes
    ]


def verdicts(rubric: Rubric, answers: Any) -> dict[str, Verdict]:
    """Read answers, which stand in question order; a refusal is its question's alone."""
    given = answers if isinstance(answers, list) else []
    padded = given + [None] * (len(rubric.attributes) - len(given))
    return {
        one.name: _verdict(one, answer)
        for one, answer in zip(rubric.attributes, padded, strict=False)
    }


def _verdict(attribute: Attribute, answer: Any) -> Verdict:
    # An answer that carries another question's name means that the order cannot be trusted.
    if not isinstance(answer, dict) or answer.get("name") not in (None, attribute.name):
        return Verdict(None, UNPARSED)
    if answer.get("type") != "score":
        return Verdict(None, REFUSED if answer.get("type") == "refusal" else UNPARSED)
    shares = answer.get("probabilities")
    by_label = {
        one["label"]: number(one.get("probability"))
        for one in (shares if isinstance(shares, list) else ())
        if isinstance(one, dict) and isinstance(one.get("label"), str)
    }
    by_level = [by_label.get(str(rank)) for rank in range(1, len(attribute.levels) + 1)]
    return on_levels(attribute, answer.get("score"), by_level, answer.get("confidence"))
