from pathlib import Path

from taut.server.reference import FILE, content

DOCS = Path(__file__).parents[3] / "docs"


def test_the_description_in_the_docs_is_up_to_date() -> None:
    assert (DOCS / FILE).read_text() == content(), "run: python -m docs"
