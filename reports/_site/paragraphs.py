"""Text of several lines for a page."""

from html import escape as escape_html


class Paragraphs(str):
    """Text of several lines that is already harmless; as text of an element, its quotes stay."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the text with its HTML escaped."""
        return escape_html(self, quote=False)
