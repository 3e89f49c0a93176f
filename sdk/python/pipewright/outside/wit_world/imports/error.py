"""The interface `error` of wasi:io outside of a component."""


class Error:
    def __init__(self, text: str) -> None:
        self._text = text

    def to_debug_string(self) -> str:
        return self._text
