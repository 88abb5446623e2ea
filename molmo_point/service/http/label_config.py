"""What a Label Studio labelling configuration asks for: the labels of key points, and numbers to be counted."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from molmo_point.errors import UsageError


@dataclass(frozen=True)
class Label:
    """One label: what to point to, and how the points are labelled.

    Attributes:
        query: The attribute `predicted_values` of the label; else its value.
        value: The label's name in the project.
        from_name: Of the tag it belongs to.
        to_name: Of the image.
    """

    query: str
    value: str
    from_name: str
    to_name: str


@dataclass(frozen=True)
class Count:
    """One `<Number>` tag: how many things there are.

    Attributes:
        query: The attribute `predicted_values` of the tag; None to count the points of all labels.
    """

    query: str | None
    from_name: str
    to_name: str


@dataclass(frozen=True)
class LabelConfig:
    """A configuration of which key points and numbers can be predicted.

    Attributes:
        image: The key of a task's data under which the image stands.
    """

    image: str
    labels: tuple[Label, ...]
    counts: tuple[Count, ...]

    @property
    def queries(self) -> list[str]:
        """What is to be asked, each once."""
        counted = [count.query for count in self.counts if count.query is not None]
        return list(dict.fromkeys([*(label.query for label in self.labels), *counted]))

    @classmethod
    def of(cls, text: str) -> LabelConfig:
        """Read the XML of a project.

        Raises:
            UsageError: It is no XML, has no image, or nothing in it can be pointed to.
        """
        if "<!" in text.replace("<!--", ""):
            raise UsageError("label_config: document types and entities are not read")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise UsageError(f"label_config is not XML: {error}") from None
        images = {
            tag.get("name", ""): tag.get("value", "").removeprefix("$")
            for tag in root.iter("Image")
        }
        if len(images) != 1:
            raise UsageError(f"label_config: expected one <Image> tag, got {len(images)}")
        ((name, value),) = images.items()
        labels = tuple(
            _label(label, tag.get("name", ""), name)
            for tag in root.iter("KeyPointLabels")
            if tag.get("toName") == name
            for label in tag.iter("Label")
        )
        counts = tuple(
            Count(_query(tag), tag.get("name", ""), name)
            for tag in root.iter("Number")
            if tag.get("toName") == name
        )
        config = cls(value, labels, counts)
        if not config.queries:
            raise UsageError(
                "label_config: expected <KeyPointLabels> with a <Label>, or a <Number predicted_values=...>, for the image"
            )
        return config


def _label(tag: ElementTree.Element, from_name: str, to_name: str) -> Label:
    value = tag.get("value", "")
    return Label(_query(tag) or value, value, from_name, to_name)


def _query(tag: ElementTree.Element) -> str | None:
    """Return what a tag says that it is predicted from; of several, separated by commas, the first."""
    return tag.get("predicted_values", "").partition(",")[0].strip() or None
