"""How welcome a media type is to a caller: the weights of ``Accept`` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Iterator


def weight_of(media_type: str, accept: str) -> float:
    """Return the weight of a media type, from 0 (refused) to 1.

    Parameters
    ----------
    media_type : str
        Such as ``image/png``.
    accept : str
        The ``Accept`` header; where it names nothing, everything is welcome.

    Notes
    -----
    The most specific range that fits decides; of two alike, the higher weight. A weight that is
    none counts as 1, as if it were not there.

    Examples
    --------
    >>> weight_of("image/png", "image/*;q=0.5, */*;q=0.1")
    0.5
    """
    ranges = list(_ranges(accept))
    if not ranges:
        return 1.0
    specific = ("*/*", media_type.partition("/")[0] + "/*", media_type)
    fitting = [(specific.index(name), weight) for name, weight in ranges if name in specific]
    return max(fitting, default=(0, 0.0))[1]


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if name:
            yield name, _weight(parameters)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 1.0
            return weight if 0 <= weight <= 1 else 1.0
    return 1.0
