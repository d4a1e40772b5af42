"""The bench of admission measures what it says: so many policies about Pods, and one question in ten that is refused."""

from __future__ import annotations

import random

from bench import admission, policies

from taut.admission.reviews import read
from taut.policy.engines import build
from taut.policy.review import Given


async def test_the_policies_and_the_questions_are_what_they_are_said_to_be() -> None:
    given = admission.documents(100, 20)
    assert len({d["metadata"]["name"] for d in given}) == 100
    about = [p for p in build([Given(d) for d in given]).policies if p.concerns("v1", "Pod")]
    assert len(about) == 20
    judging = admission.InWorkers(given)
    await judging.ready()
    generator = random.Random(7)
    found = [await judging.review("bench", read(admission.question(n, generator)).review) for n in range(20)]
    await judging.close()
    assert [bool(d.denied) for d in found] == [n % 10 == 9 for n in range(20)]
    assert {v.policy.partition("-")[0] for d in found for v in d.denied} == {"tag"}


def test_the_policies_of_the_fleet_can_all_be_used() -> None:
    built = build([Given(d) for d in policies.documents()])
    assert not built.troubles
    assert len(built.policies) == 20
    assert sum(p.mutates for p in built.policies) == 2


def test_a_table_for_people() -> None:
    numbers = dict.fromkeys(admission.Result.__dataclass_fields__, 1.0)
    lines = admission.table(admission.Result(**numbers))  # pyright: ignore[reportArgumentType]
    assert any("p99" in line and "1.0 ms" in line for line in lines)
