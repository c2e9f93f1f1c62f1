from hanlin.corpus.config import FilesSource
from hanlin.corpus.html import html_text
from hanlin.corpus.intake import Intake
from hanlin.corpus.text_files import read_html

PARAGRAPH = "The academy gathered the best readers of the land and examined them for years. "
PAGE = f"""<!doctype html><html><head><title>Hanlin &amp; its readers</title>
<style>p {{ color: red }}</style><script>var secret = "do not keep";</script></head>
<body><nav><a href="/">Home</a><a href="/login">Log in</a></nav>
<article><h1>The academy</h1>
<p>{PARAGRAPH * 3}</p><p>Nested <b>bold <i>and italic</i></b> text; 5 &lt; 6 &amp;&amp; caf&eacute; &#20320;&#22909;.</p>
<pre>def f(x):
    return x</pre></article>
<script>more("script")</script><!-- a comment --></body></html>"""


def test_main_content_with_title_entities_and_nested_tags():
    text, is_main = html_text(PAGE)
    assert is_main
    assert text.startswith("Hanlin & its readers\n\n")
    assert "Nested bold and italic text; 5 < 6 && café 你好." in text
    assert "def f(x):\n    return x" in text
    for gone in ("secret", "script", "color", "comment", "Log in"):
        assert gone not in text


def test_page_without_main_content_gives_all_its_text_and_is_counted(tmp_path):
    (tmp_path / "a.html").write_text(
        "<html><body><nav><a href='/'>Only a menu</a></nav></body></html>", "utf-8"
    )
    intake = Intake("a")
    (text,) = read_html(tmp_path / "a.html", FilesSource(path="a"), intake)
    assert "Only a menu" in text
    assert intake.counts["pages without main content, all text taken"] == 1
