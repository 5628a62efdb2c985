"""What a session holds: copies of it, and whether one of them has changed since."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeAlias

_SCALARS = (str, int, float, bool, bytes, type(None))
_PLAIN = frozenset(_SCALARS)

#: The pairs that are being compared, so that a value that contains itself is compared once.  They are kept alive, since
#: the number that :func:`id` gives is free for another object afterwards.
_Met: TypeAlias = dict[tuple[int, int], tuple[Any, Any]]


def copy_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing that can change."""
    return {
        # PERF: most values are of such a type itself
        key: value if type(value) in _PLAIN or isinstance(value, _SCALARS) else copy.deepcopy(value)
        for key, value in data.items()
    }


def same(one: Any, other: Any, met: _Met | None = None) -> bool:
    """Whether nothing tells two values apart, at any depth.

    Equality would not do: 1 equals True and 1.0, which other readers of a session can tell apart.  And NaN, or an
    object whose class has no ``__eq__``, does not equal its own copy.  So an object is taken apart as :mod:`copy` does.
    """
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _SCALARS:
        return repr(one) == repr(other) if kind is float else bool(one == other)
    met = {} if met is None else met
    if (id(one), id(other)) in met:
        return True
    met[id(one), id(other)] = one, other
    if kind is dict:
        return _same_dicts(one, other, met)
    if kind in (list, tuple):
        return len(one) == len(other) and all(same(*pair, met) for pair in zip(one, other, strict=True))
    if kind in (set, frozenset):
        return _same_sets(list(one - other), list(other - one), met)
    return _same_objects(one, other, met)


def _same_dicts(one: dict[Any, Any], other: dict[Any, Any], met: _Met) -> bool:
    if one.keys() == other.keys():
        return all(same(one[key], other[key], met) for key in one)
    return same([*one.items()], [*other.items()], met)  # the keys may be objects that equal themselves alone


def _same_sets(ours: list[Any], theirs: list[Any], met: _Met) -> bool:
    """The same for what each of two sets has and the other one has not, so that only such objects are left."""
    if len(ours) != len(theirs) or any(isinstance(item, _SCALARS) for item in ours):
        return False
    for item in ours:
        found = next((at for at, candidate in enumerate(theirs) if same(item, candidate, dict(met))), None)
        if found is None:
            return False
        del theirs[found]
    return True


def _same_objects(one: Any, other: Any, met: _Met) -> bool:
    try:
        ours, theirs = _parts(one), _parts(other)
    except Exception:  # it cannot be taken apart, so what it says of itself has to do
        return bool(one == other)
    return same(ours, theirs, met)


def _parts(value: Any) -> list[Any]:
    """What pickling would keep of an object: how it is made, its state, and its items."""
    reduced: str | tuple[Any, ...] = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return [reduced]
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    return [function, arguments, state, list(items or ()), list(pairs or ())]
