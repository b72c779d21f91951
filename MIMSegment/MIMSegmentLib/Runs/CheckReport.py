"""The pictures in the report of `mimseg check`, by finding. Plain Python."""

import base64
import binascii
from html.parser import HTMLParser

PNG = "data:image/png;base64,"


def picturesOf(path):
    """`{(case, message): [(caption, bytes of a PNG file)]}`; empty if the report cannot be read.

    :param path: of the HTML file; findings on the whole data set have the case "".
    """
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError):
        return {}
    parser = _Findings()
    parser.feed(text)
    return parser.found


class _Findings(HTMLParser):
    """Walks through headings (cases) and, below them, blocks of the class `finding` (a message, then figures)."""

    def __init__(self):
        super().__init__()
        self.found = {}
        self._case = self._heading = self._message = None
        self._texts = None

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        classes = (values.get("class") or "").split()
        if tag == "h2":
            self._heading = ""
        elif tag == "div" and "finding" in classes:
            self._message = ""
        elif tag == "p" and self._message == "":
            self._texts = []
        elif tag == "span" and "tag" in classes and self._texts is not None:
            # The severity stands before the message.
            self._texts = None
        elif tag == "img" and self._message and (values.get("src") or "").startswith(PNG):
            self._keep(values)

    def handle_endtag(self, tag):
        if tag == "h2" and self._heading is not None:
            self._case, self._heading = self._heading, None
        elif tag == "span" and self._message == "":
            self._texts = []
        elif tag == "p" and self._message == "" and self._texts is not None:
            self._message, self._texts = "".join(self._texts).strip(), None
        elif tag == "div":
            self._message = None

    def handle_data(self, data):
        if self._heading is not None:
            self._heading += data
        elif self._texts is not None:
            self._texts.append(data)

    def _keep(self, values):
        try:
            picture = base64.b64decode(values["src"][len(PNG) :], validate=True)
        except binascii.Error:
            return
        case = "" if self._case == "The whole data set" else self._case or ""
        self.found.setdefault((case, self._message), []).append((values.get("alt") or "", picture))
