"""JMESPath as Kyverno evaluates it: a field that is missing is told from one that is null, and `||`, filters and projections pass over it."""

from __future__ import annotations

from typing import Any

from jmespath import exceptions
from jmespath.visitor import TreeInterpreter


def _is_false(value: Any) -> bool:
    """JMESPath's falsehood: nothing, false, and what is empty; zero is true."""
    return value is None or value is False or value in ("", [], {})


class MissingError(Exception):
    """A field that an object does not have."""


class Interpreter(TreeInterpreter):
    """The standard interpreter, with fields that can be missing."""

    def visit_field(self, node: Any, value: Any) -> Any:
        """A field of a mapping; of anything else there is none, which is null."""
        if not isinstance(value, dict):
            return None
        if node["value"] not in value:
            raise MissingError(str(node["value"]))
        return value[node["value"]]

    def _or_none(self, node: Any, value: Any) -> Any:
        try:
            return self.visit(node, value)
        except MissingError:
            return None
        except exceptions.JMESPathTypeError as error:
            if error.actual_type == "null":
                return None
            raise

    def visit_or_expression(self, node: Any, value: Any) -> Any:
        """The right side where the left one leads to nothing; null where both do."""
        left, right = node["children"]
        found = self._or_none(left, value)
        return self._or_none(right, value) if _is_false(found) else found

    def visit_and_expression(self, node: Any, value: Any) -> Any:
        """The left side where it leads to nothing."""
        left, right = node["children"]
        found = self._or_none(left, value)
        return found if _is_false(found) else self.visit(right, value)

    def visit_not_expression(self, node: Any, value: Any) -> Any:
        """What leads to nothing is false."""
        return _is_false(self._or_none(node["children"][0], value))

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """What leads to nothing is compared as null."""
        left, right = node["children"]
        values = {"type": "literal", "value": self._or_none(left, value), "children": []}
        other = {"type": "literal", "value": self._or_none(right, value), "children": []}
        made: Any = {**node, "children": [values, other]}
        return super().visit_comparator(made, value)

    def visit_projection(self, node: Any, value: Any) -> Any:
        """Elements where the rest leads to nothing are left out."""
        base = self.visit(node["children"][0], value)
        return self._collected(base, node["children"][1]) if isinstance(base, list) else None

    def visit_value_projection(self, node: Any, value: Any) -> Any:
        """The same over the values of a mapping."""
        base = self.visit(node["children"][0], value)
        return self._collected(list(base.values()), node["children"][1]) if isinstance(base, dict) else None

    def visit_filter_projection(self, node: Any, value: Any) -> Any:
        """The same over the elements that a condition holds for."""
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        condition = node["children"][2]
        return self._collected(
            [each for each in base if not _is_false(self._or_none(condition, each))], node["children"][1]
        )

    def _collected(self, values: list[Any], rest: Any) -> list[Any]:
        found = (self._or_none(rest, each) for each in values)
        return [each for each in found if each is not None]

    def visit_multi_select_list(self, node: Any, value: Any) -> Any:
        """What leads to nothing is null."""
        return None if value is None else [self._or_none(child, value) for child in node["children"]]

    def visit_key_val_pair(self, node: Any, value: Any) -> Any:
        """What leads to nothing is null."""
        return self._or_none(node["children"][0], value)
