from typing import Any

class Shape:
    def __init__(
        self,
        struct: type,
        fields: tuple[tuple[tuple[type, ...], frozenset[str] | None, Shape | type | None], ...],
    ) -> None: ...
    def fits(self, value: Any) -> bool: ...
