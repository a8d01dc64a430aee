"""Reads CAP messages with capparser and holds them to the schema of OASIS with capvalidator.

In:  a JSON array of documents on standard input.
Out: a JSON line each: {"schema": true, "said": "why not", "read": {"alert": {element: text or texts}, "infos": [...]}};
     "read" is null when capparser ends in an error.
"""
import json
import sys

import capparser
from capparser import element
from capvalidator import check_schema
from lxml import etree


#: Its infos share one list of categories by default, so that a second info meets those of the first: each gets its own.
its_own = element.Info.__init__
element.Info.__init__ = lambda info: its_own(info, category=[])


def why_not(document):
    """The schema's own words, which capvalidator keeps to itself."""
    import capvalidator
    from importlib.resources import files
    schema = etree.XMLSchema(etree.XML(files(capvalidator).joinpath("static/CAP-v1.2-schema.xsd").read_bytes()))
    try:
        root = etree.fromstring(document)
    except etree.XMLSyntaxError as error:
        return str(error)
    schema.validate(root)
    return str(schema.error_log)


def plain(thing):
    """An element of capparser as texts: it keeps each value beside its place in the order."""
    said = {}
    for name, held in vars(thing).items():
        value = held[0] if isinstance(held, tuple) else held
        if value is None or value == []:
            continue
        if isinstance(value, list):
            said[name] = [one if isinstance(one, str) or one is None else plain(one) for one in value]
        else:
            said[name] = value if isinstance(value, str) else str(value)
    return said


def read(text):
    try:
        return plain(capparser.parse(stringXML=text))
    except Exception as error:  # whatever it does not know
        print(f"capparser: {error!r}", file=sys.stderr)
        return None


for text in json.load(sys.stdin):
    document = text.encode()
    result = check_schema(document)
    said = "" if result.passed else why_not(document)
    print(json.dumps({"schema": result.passed, "said": said, "read": read(text)}, ensure_ascii=False), flush=True)
