"""The readable text of an HTML page, by resiliparse (the extractor of the DCLM corpus, arXiv 2406.11794 §4.2)."""

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text


def html_text(markup: str) -> tuple[str, bool]:
    """Return (title and text of the page, whether its main content was found).

    Scripts, styles, navigation and comments go; entities are resolved; lists, tables and preformatted text
    keep their lines. Where no main content is found, all visible text is returned.
    """
    try:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.html import HTMLTree
    except ImportError as error:
        raise MissingExtra(Text("Reading HTML", "读取 HTML"), "data") from error
    tree = HTMLTree.parse(markup)
    text = extract_plain_text(tree, main_content=True, alt_texts=False, comments=False).strip()
    is_main = bool(text)
    if not is_main:
        text = extract_plain_text(tree, main_content=False, alt_texts=False).strip()
    title = " ".join((tree.title or "").split())
    if title and not text.startswith(title):
        text = f"{title}\n\n{text}" if text else title
    return text, is_main
