"""The bench of admission measures what it says: so many policies about Pods, and one question in ten that is refused."""

from __future__ import annotations

import random

from bench import admission

from taut.admission.reviews import read


async def test_the_policies_and_the_questions_are_what_they_are_said_to_be() -> None:
    given = admission.documents(100, 20)
    assert len({d["metadata"]["name"] for d in given}) == 100
    judging = admission.InProcess(given)
    about = [p for p in admission.build([admission.Given(d) for d in given]).policies if p.concerns("v1", "Pod")]
    assert len(about) == 20
    generator = random.Random(7)
    found = [await judging.review("bench", read(admission.question(n, generator)).review) for n in range(20)]
    assert [bool(d.denied) for d in found] == [n % 10 == 9 for n in range(20)]
    assert {v.policy.partition("-")[0] for d in found for v in d.denied} == {"tag"}


def test_a_table_for_people() -> None:
    numbers = dict.fromkeys(admission.Result.__dataclass_fields__, 1.0)
    lines = admission.table(admission.Result(**numbers))  # pyright: ignore[reportArgumentType]
    assert any("p99" in line and "1.0 ms" in line for line in lines)
