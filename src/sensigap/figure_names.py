"""The figures by name, and what is said of them, for those that must not import matplotlib."""

from typing import NamedTuple

#: name of a figure, of its module in `sensigap.figures` and of its files -> the first sentence of
#: its caption, without its full stop; in the order of the report
FIGURES: dict[str, str] = {
    "sensitivity": "Sensitivity and generalization gap (C2)",
    "effects": "Effects of the claims, the factors and the measures, data set by data set",
    "parameters": "Size, training loss and generalization gap (C0)",
    "factors": "Pairs of networks that differ in one factor (C3, C4)",
    "points": "Jacobian norm, loss and correctness at single test points (C5)",
    "ellipses": "Sensitivity along ellipses in input space (C1)",
    "slices": "Linear regions before and after training",
    "leaderboard": "Sensitivity beside complexity measures of the literature",
}

#: what a figure leaves on disk, beside one another: as wide as a page and as a column, where the
#: marks stand that are networks, the numbers drawn, and the caption
FIGURE_SUFFIXES = (
    *(".pdf", ".column.pdf", ".png", ".svg", ".column.svg"),
    *(".marks.json", ".csv", ".txt"),
)


class Caption(NamedTuple):
    """What is said of a figure; as text: three paragraphs.

    Example:
        >>> caption = Caption("A title", "What is seen. How to read it.", "n = 3.", "Up it goes.")
        >>> Caption.read(str(caption)) == caption
        True
    """

    #: of `FIGURES`
    title: str
    #: below the figure, two sentences: what the marks are, and how to read them
    text: str
    #: on demand: definitions, how many were drawn, how many left out and why
    details: str
    #: what the figure shows, for those who cannot see it
    finding: str

    def __str__(self) -> str:
        return f"{self.title}. {self.text}\n\n{self.details}\n\n{self.finding}"

    @classmethod
    def read(cls, text: str) -> "Caption":
        """The caption whose text this is.

        Raises:
            ValueError: it is none.
        """
        parts = text.strip().split("\n\n")
        title, point, rest = parts[0].partition(". ")
        if len(parts) != 3 or not point:
            raise ValueError(
                f"expected a caption of three paragraphs, found {len(parts)}: draw the figure again"
            )
        return cls(title, rest, *parts[1:])
