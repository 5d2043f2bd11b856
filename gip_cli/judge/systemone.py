"""System One decisions: typed questions in, a probability for every level out, no text.

``POST {base_url}/systemone``, as TypeSafe's Jev defined it and vLLM, llama.cpp, Ollama,
OpenRouter, Fireworks and `transformers serve` answer it. All attributes go in one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gip_cli.judge.answers import REFUSED, UNPARSED, Answer, Usage, Verdict, on_levels
from gip_cli.judge.rubric import Attribute, Rubric

if TYPE_CHECKING:
    from gip_cli.judge.http import Http


class SystemOne:
    """Asks a System One server."""

    api = "systemone"

    def __init__(self, http: Http, model: str, rubric: Rubric) -> None:
        self._http = http
        self._model = model
        self._rubric = rubric

    async def ask(self, state: str) -> Answer:
        body = {"model": self._model, "state": state, "questions": questions(self._rubric)}
        reply = await self._http.post("/systemone", body)
        answers = reply.get("answers")
        return Answer(
            {**reply, "answers": without_legend(answers)},
            verdicts(self._rubric, answers),
            Usage.of(reply.get("usage")),
        )


def questions(rubric: Rubric) -> dict[str, Any]:
    """The rubric as System One questions, by name."""
    return {
        one.name: {"type": "score", "instructions": one.instructions, "criteria": list(one.levels)}
        for one in rubric.attributes
    }


def verdicts(rubric: Rubric, answers: Any) -> dict[str, Verdict]:
    """Read ``{name: {"score": index, "probabilities": {"0": p, ...}, "confidence": c}}``."""
    given = answers if isinstance(answers, Mapping) else {}
    return {one.name: _verdict(one, given.get(one.name)) for one in rubric.attributes}


def _verdict(attribute: Attribute, answer: Any) -> Verdict:
    if not isinstance(answer, Mapping):
        return Verdict(None, UNPARSED)
    kind = answer.get("type", "score")
    if kind != "score":
        return Verdict(None, REFUSED if kind == "refusal" else UNPARSED)
    shares = answer.get("probabilities")
    by_level = (
        [shares.get(str(level)) for level in range(len(attribute.levels))]
        if isinstance(shares, Mapping)
        else []
    )
    return on_levels(attribute, answer.get("score"), by_level, answer.get("confidence"))


def without_legend(answers: Any) -> Any:
    """The answers less their legend, which only repeats the levels that were sent."""
    if not isinstance(answers, Mapping):
        return answers
    return {
        name: {key: part for key, part in one.items() if key != "legend"}
        if isinstance(one, Mapping)
        else one
        for name, one in answers.items()
    }
